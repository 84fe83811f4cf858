"""The list of the runs in the journal of this machine: apart from all else about runs, as it is asked for most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cli.journals import RecordedRuns
from orchestrator.journal.protocols import RunLine
from orchestrator.run.standing import OVER, RECORDED_AS, state_in


@dataclass(frozen=True, slots=True)
class LocalList:
    """A `RunList` over a journal."""

    records: RecordedRuns

    async def latest(self, limit: int, states: Sequence[str], squad: str | None) -> Sequence[tuple[RunLine, str]]:
        recorded = {status for state in states for status in RECORDED_AS.get(state, (state,))}
        # Only a lock tells a run at work from one that was killed: locks are asked of as few runs as possible.
        is_exact = recorded <= {*OVER}
        journal = self.records.journal
        found: list[tuple[RunLine, str]] = []
        for line in await journal.runs(limit if is_exact else None, statuses=recorded, squad=squad):
            state = await state_in(journal, line.run, line.status)
            if not states or state in states:
                found.append((line, state))
            if len(found) == limit:
                break
        return found
