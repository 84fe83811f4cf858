"""Everybody speaks in the order of the plan, round after round."""

from __future__ import annotations

from itertools import count

from orchestrator.run.conversations.speech import Pattern, Utterance, conclusion, round_of
from orchestrator.squad.plan import ConversationPlan


def round_robin(plan: ConversationPlan) -> Pattern:
    """Hold a conversation in which each participant speaks once a round."""
    said: list[Utterance] = []
    for number in count(1):
        for speech in round_of(plan, plan.participants, number):
            heard = yield speech
            if not heard:
                return conclusion(plan, said)
            said += heard
    raise AssertionError("rounds do not run out")
