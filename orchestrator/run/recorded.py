"""A recorded run as it is told to who asks for all of it: what happened, how it stands, what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.events import GateOpened, to_json
from orchestrator.journal.protocols import EventLog, Runs, Signals, StepLog
from orchestrator.run.approvals import questions_of
from orchestrator.run.history import history_of
from orchestrator.run.open_calls import cut_short_cost
from orchestrator.run.standing import UNFINISHED, state_in
from orchestrator.run.tool_calls import ShownCall, tool_calls


class RecordParts(Runs, EventLog, StepLog, Signals, Protocol):
    """The parts of a journal that tell it."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """`events` are documents, in order. `in_flight` are the steps that were at work when it was cut short; `cut_short`
    is micro-USD that calls may have cost besides whose end is not known. `priority` is that of a run of a cluster."""

    run: str
    squad: str
    file: str
    is_chat: bool
    state: str
    events: Sequence[Mapping[str, Any]]
    in_flight: Sequence[str]
    cut_short: int
    questions: Sequence[GateOpened]
    calls: Sequence[ShownCall]
    priority: int = 0


async def recorded_run(journal: RecordParts, run: str) -> RecordedRun:
    """Return what is recorded of a run. Raise `RunNotFound`."""
    manifest, events = await journal.manifest(run), await journal.events(run)
    past = history_of(events)
    state = await state_in(journal, run, past.status or "running")
    return RecordedRun(
        run=run,
        squad=manifest.squad,
        file=manifest.file,
        is_chat=bool(manifest.options.get("chat")),
        state=state,
        events=[to_json(event) for event in events],
        in_flight=[step.path for step in await journal.cut_short(run)] if state == UNFINISHED else [],
        cut_short=cut_short_cost(events, is_driven=past.status is not None or state == "running"),
        questions=(await questions_of(journal, run)).open,
        calls=list(tool_calls(await journal.steps(run))),
        priority=manifest.priority,
    )
