"""Conversation patterns: each a file, a pure generator that the driver and the forecast both run."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.run.conversations.party import party
from orchestrator.run.conversations.round_robin import round_robin
from orchestrator.run.conversations.speech import MakePattern
from orchestrator.squad.plan import PatternName

PATTERNS: Mapping[PatternName, MakePattern] = {"round_robin": round_robin, "party": party}
