"""What is remembered when a case begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.memory.records import MemoryRecord, made_record
from agents.memory.store import MemoryStore
from orchestrator.evals.spec import SuiteCase
from orchestrator.squad.plan import Plan


def given_records(case: SuiteCase, plan: Plan, now: float) -> list[MemoryRecord]:
    """Return the records that a case gives: each in its agent's memory, else in that of each squad that has one."""
    uses = {name: agent.memory for name, agent in plan.agents.items() if agent.memory is not None}
    squads = dict.fromkeys(use.squad for use in uses.values())
    given = [] if case.with_ is None else case.with_.memory or []
    return [
        made_record(one.text, scope, one.trust, now)
        for one in given
        for scope in (squads if one.agent is None else [uses[one.agent].written])
    ]


def remember(records: Sequence[MemoryRecord], file: Path, now: float) -> None:
    """Put records into a new store."""
    if records:
        with MemoryStore.open(file) as store:
            store.remember(records, now)
