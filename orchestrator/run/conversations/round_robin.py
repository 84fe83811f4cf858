"""Everybody speaks in the order of the plan, round after round."""

from __future__ import annotations

from itertools import count

from orchestrator.run.conversations.rounds import hold_round
from orchestrator.run.conversations.speakers import NOBODY_LEFT, with_turns_left
from orchestrator.run.conversations.speech import Conclusion, Pattern, Utterance, conclusion
from orchestrator.squad.plan import ConversationPlan


def round_robin(plan: ConversationPlan) -> Pattern:
    """Hold a conversation in which each participant speaks once a round."""
    said: list[Utterance] = []
    for number in count(1):
        speakers = with_turns_left(plan, plan.participants, said)
        if not speakers:
            return Conclusion(conclusion(plan, said), NOBODY_LEFT)
        if not (yield from hold_round(plan, speakers, number, said)):
            return conclusion(plan, said)
    raise AssertionError("rounds do not run out")
