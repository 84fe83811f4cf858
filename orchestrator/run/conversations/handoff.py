"""One turn after the other: who speaks hands over to who goes on, or answers, which ends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count

from orchestrator.run import prompts
from orchestrator.run.conversations.speakers import NOBODY_LEFT, with_turns_left
from orchestrator.run.conversations.speech import Conclusion, Pattern, Speak, Utterance, conclusion
from orchestrator.squad.plan import HUMAN, ConversationPlan

MOST_HANDOVERS = 3
"""How often one agent hands over to the same other one: two that send a matter to and fro end up answering it."""


def handoff(plan: ConversationPlan) -> Pattern:
    """Hold a conversation that the first participant begins, and in which each round is one utterance.

    An utterance that hands over to nobody is the answer: the conversation is over. A handover that could not be
    followed leaves the word where it is, once. After a person it is the turn of who asked that person, unless the
    person says otherwise.
    """
    said: list[Utterance] = []
    handed: Counter[tuple[str, str]] = Counter()
    speaker, asking, misread = plan.participants[0], _first_agent(plan), ""
    for number in count(1):
        if not with_turns_left(plan, [speaker], said):
            return Conclusion(conclusion(plan, said), NOBODY_LEFT)
        to = successors(plan, speaker, said, handed)
        prompt = prompts.hand_over(speaker, to, plan, misread)
        heard = yield Speak(speaker, prompt, number, speaker, successors=tuple(to))
        if not heard:
            return conclusion(plan, said)
        said += heard
        following, was_misread = next(iter(said[-1].next), None), bool(misread)
        misread = said[-1].misread if following is None else ""
        if following is not None:
            handed[speaker, following] += 1
            speaker, asking = following, speaker if following == HUMAN else asking
        elif speaker == HUMAN:
            speaker = asking
        elif not misread or was_misread:
            return Conclusion(conclusion(plan, said), f"{speaker} answered")
    raise AssertionError("rounds do not run out")


def successors(
    plan: ConversationPlan, speaker: str, said: Sequence[Utterance], handed: Mapping[tuple[str, str], int]
) -> list[str]:
    """Return to whom a speaker may hand over, in the order of the plan. `handed` counts what was handed over so far."""
    allowed = (plan.transitions or {}).get(speaker, plan.participants)
    names = [name for name in plan.participants if name in allowed and name != speaker]
    if speaker != HUMAN:
        names = [name for name in names if name == HUMAN or handed.get((speaker, name), 0) < MOST_HANDOVERS]
    return with_turns_left(plan, names, said)


def _first_agent(plan: ConversationPlan) -> str:
    return next(name for name in plan.participants if name != HUMAN)
