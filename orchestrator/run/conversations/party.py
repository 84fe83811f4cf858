"""Some speak in each round; then the moderator sums up and names who speaks next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from orchestrator.run import prompts
from orchestrator.run.conversations.speech import Pattern, Speak, Utterance, conclusion, round_of
from orchestrator.squad.plan import ConversationPlan


def party(plan: ConversationPlan) -> Pattern:
    """Hold a conversation of `speakers_per_round` participants at a time, and of the moderator after each round."""
    said: list[Utterance] = []
    speakers: Sequence[str] = plan.participants[: plan.speakers_per_round]
    for number in count(1):
        for speech in [*round_of(plan, speakers, number), *_moderation(plan, number)]:
            heard = yield speech
            if not heard:
                return conclusion(plan, said)
            said += heard
        words = said[-1].text if plan.moderator else ""
        speakers = next_speakers(words, plan, [one.speaker for one in said])
    raise AssertionError("rounds do not run out")


def _moderation(plan: ConversationPlan, number: int) -> list[Speak]:
    if not plan.moderator:
        return []
    # A step's name must be its own: a participant may be called moderator.
    step = "as-moderator" if "moderator" in plan.participants else "moderator"
    return [Speak(plan.moderator, prompts.moderate(plan), number, step)]


def next_speakers(text: str, plan: ConversationPlan, spoken: Sequence[str]) -> list[str]:
    """Return who speaks next: those on the moderator's `NEXT:` line, else those who have been silent longest.

    `spoken` are the speakers so far, oldest first. Always at least one, at most `speakers_per_round`.
    """
    line = next((part for part in reversed(text.splitlines()) if part.strip().upper().startswith("NEXT:")), "")
    words = {word.strip(" \t.,;:*`'\"").casefold() for word in line.partition(":")[2].replace(",", " ").split()}
    named = [name for name in plan.participants if name.casefold() in words]
    last = {name: index for index, name in enumerate(spoken)}
    silent_first = sorted(plan.participants, key=lambda name: last.get(name, -1))
    return (named or silent_first)[: plan.speakers_per_round]
