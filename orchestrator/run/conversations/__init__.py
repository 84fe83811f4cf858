"""Conversation patterns: each a file, a pure generator that the driver and the forecast both run."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.run.conversations.debate import debate
from orchestrator.run.conversations.handoff import handoff
from orchestrator.run.conversations.hierarchical import hierarchical
from orchestrator.run.conversations.party import party
from orchestrator.run.conversations.round_robin import round_robin
from orchestrator.run.conversations.selector import selector
from orchestrator.run.conversations.speech import MakePattern, Pattern, closed
from orchestrator.squad.plan import ConversationPlan, PatternName

PATTERNS: Mapping[PatternName, MakePattern] = {
    "round_robin": round_robin,
    "party": party,
    "selector": selector,
    "handoff": handoff,
    "debate": debate,
    "hierarchical": hierarchical,
}


def pattern_of(plan: ConversationPlan) -> Pattern:
    """Return the pattern by which a conversation is held, its moderator's last turn included."""
    pattern = PATTERNS[plan.pattern](plan)
    return pattern if plan.edition == 1 else closed(plan, pattern)
