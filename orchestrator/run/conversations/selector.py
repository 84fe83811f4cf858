"""One turn after the other: a selector picks who has it."""

from __future__ import annotations

from itertools import count

from orchestrator.run import prompts
from orchestrator.run.conversations.mentions import mentioned
from orchestrator.run.conversations.speakers import NOBODY_LEFT, eligible
from orchestrator.run.conversations.speech import Conclusion, Pattern, Speak, Utterance, conclusion, step_of
from orchestrator.squad.plan import ConversationPlan


def selector(plan: ConversationPlan) -> Pattern:
    """Hold a conversation in which each round is one utterance, of whom the selector picked.

    Where only one may speak, no pick is paid for. A pick that names none of those who may speak goes to the one of
    them that has been silent longest. With `mentions` one that was mentioned speaks next, and no pick is paid for.
    """
    picker = plan.selector or plan.moderator
    assert picker is not None, "a plan names who picks"
    said: list[Utterance] = []
    may_call = False
    for number in count(1):
        among = eligible(plan, said)
        if not among:
            return Conclusion(conclusion(plan, said), NOBODY_LEFT)
        speaker = among[0]
        called = next((name for name in mentioned(said[-1].text, plan) if name in among), None) if may_call else None
        may_call = bool(plan.mentions) and called is None  # two that call each other do not keep the others out
        if called is not None:
            speaker = called
        elif len(among) > 1:
            step = step_of(plan, "pick")
            picked = yield Speak(picker, prompts.pick(among, plan), number, step, among=tuple(among))
            if not picked:
                return conclusion(plan, said)
            speaker = next(iter(picked[0].next), speaker)
        heard = yield Speak(speaker, prompts.your_turn(speaker, plan), number, speaker)
        if not heard:
            return conclusion(plan, said)
        said += heard
    raise AssertionError("rounds do not run out")
