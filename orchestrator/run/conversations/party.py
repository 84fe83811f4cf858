"""Some speak in each round; then the moderator sums up and names who speaks next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

from orchestrator.run import prompts
from orchestrator.run.conversations.mentions import mentioned
from orchestrator.run.conversations.rounds import hold_round
from orchestrator.run.conversations.speakers import NOBODY_LEFT, silent_first, with_turns_left
from orchestrator.run.conversations.speech import Conclusion, Pattern, Speak, Utterance, conclusion, step_of
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import most_turns


def party(plan: ConversationPlan) -> Pattern:
    """Hold a conversation of `speakers_per_round` participants at a time, and of the moderator after each round."""
    said: list[Utterance] = []
    speakers: Sequence[str] = plan.participants[: plan.speakers_per_round]
    for number in count(1):
        if not (yield from hold_round(plan, speakers, number, said, 0)):
            return conclusion(plan, said)
        named: Sequence[str] = ()
        if plan.moderator:
            heard = yield _moderation(plan, plan.moderator, number, len(said))
            if not heard:
                return conclusion(plan, said)
            said += heard
            named = said[-1].next or (mentioned(said[-1].text, plan) if plan.mentions else ())
        left = with_turns_left(plan, plan.participants, said)
        if not left:
            return Conclusion(conclusion(plan, said), NOBODY_LEFT)
        speakers = next_speakers([name for name in named if name in left], plan, [one.speaker for one in said], left)
    raise AssertionError("rounds do not run out")


def _moderation(plan: ConversationPlan, moderator: str, number: int, spoken: int) -> Speak:
    """Return the moderator's turn after a round. Where `max_turns` makes it the last of all, it is the conclusion."""
    step = step_of(plan, "moderator")
    if plan.edition > 1 and spoken + 1 >= (most_turns(plan.terminate) or math.inf):
        return Speak(moderator, prompts.conclude(plan), number, step, 0)
    return Speak(moderator, prompts.moderate(plan), number, step, plan.speakers_per_round)


def next_speakers(
    named: Sequence[str], plan: ConversationPlan, spoken: Sequence[str], left: Sequence[str] | None = None
) -> list[str]:
    """Return who speaks next: those whom the moderator `named`, else those of `left` (default: of all) who have been
    silent longest.

    `spoken` are the speakers so far, oldest first. Always at least one, at most `speakers_per_round`.
    """
    return list(named or silent_first(plan.participants if left is None else left, spoken))[: plan.speakers_per_round]
