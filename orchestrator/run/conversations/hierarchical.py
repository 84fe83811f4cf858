"""A manager delegates, those at work hear their own tasks alone, and the manager hears what they made."""

from __future__ import annotations

from collections.abc import Generator

from orchestrator.run import prompts
from orchestrator.run.conversations.speakers import with_turns_left
from orchestrator.run.conversations.speech import (
    Assigned,
    Conclusion,
    Heard,
    Pattern,
    Speak,
    SpeakTogether,
    Speech,
    Utterance,
    conclusion,
    step_of,
)
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import most_turns


def hierarchical(plan: ConversationPlan) -> Pattern:
    """Hold at most `rounds` rounds: the manager, its moderator, says who does what; these work at the same time.

    A manager that delegates nothing concludes: it is over. One whose delegations could not be followed is told, and
    asked again in the next round.
    """
    manager = plan.moderator
    assert manager is not None, "a plan names who delegates"
    rounds, misread = plan.rounds or 1, ""
    said: list[Utterance] = []
    for number in range(1, rounds + 1):
        workers = tuple(with_turns_left(plan, plan.participants, said))
        prompt = prompts.delegate(workers, plan, number, misread)
        heard = yield Speak(manager, prompt, number, step_of(plan, "manager"), to=(), workers=workers)
        if not heard:
            return conclusion(plan, said)
        said += heard
        tasks, misread = said[-1].tasks, said[-1].misread
        if not tasks and not misread:
            return Conclusion(conclusion(plan, said), f"{manager} concluded")
        heard = yield from _work(plan, manager, tasks[: _room(plan, said)], number)
        if tasks and not heard:
            return conclusion(plan, said)
        said += heard
    return Conclusion(conclusion(plan, said), f"{rounds} rounds")


def _work(
    plan: ConversationPlan, manager: str, tasks: tuple[tuple[str, str], ...], number: int
) -> Generator[Speech, Heard, Heard]:
    """Let all to whom something was delegated work at the same time."""
    speeches = [
        Speak(name, prompts.assigned(name, task, plan), number, name, to=(manager,), told=Assigned(manager, task))
        for name, task in tasks
    ]
    return (yield SpeakTogether(tuple(speeches))) if speeches else ()


def _room(plan: ConversationPlan, said: list[Utterance]) -> int | None:
    """Return how many may speak now, as far as a number of turns says so."""
    most = most_turns(plan.terminate)
    return None if most is None else max(1, most - len(said))
