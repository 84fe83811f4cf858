"""The sides argue, round after round; then a judge decides."""

from __future__ import annotations

from orchestrator.run import prompts
from orchestrator.run.conversations.speakers import NOBODY_LEFT, with_turns_left
from orchestrator.run.conversations.speech import Conclusion, Pattern, Utterance, conclusion, round_of
from orchestrator.squad.plan import ConversationPlan


def debate(plan: ConversationPlan) -> Pattern:
    """Hold a conversation of `rounds` rounds in which each side speaks once. The judge, its moderator, has heard all
    of it when it gives the verdict, which is the conclusion.
    """
    said: list[Utterance] = []
    rounds = plan.rounds or 1
    for number in range(1, rounds + 1):
        sides = with_turns_left(plan, plan.participants, said)
        if not sides:
            return Conclusion(conclusion(plan, said), NOBODY_LEFT)
        for speech in round_of(plan, sides, number, ask=prompts.argue):
            heard = yield speech
            if not heard:
                return conclusion(plan, said)
            said += heard
    return Conclusion(conclusion(plan, said), f"{rounds} rounds")
