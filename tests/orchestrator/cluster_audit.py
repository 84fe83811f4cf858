"""What a cluster's run must come to, whatever was done to its workers: what the same squad comes to in one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.cluster.opening import ClusterDatabase
from orchestrator.events import ArtifactWritten, CallRepeated, Event, RunFinished
from orchestrator.events.bills import bill_of
from orchestrator.runtime import open_run
from tests.orchestrator.crashes import Counting, OverSocket
from tests.orchestrator.killed import told

MOST_TOLD = 1000
"""Characters of what differs."""
Ask = Callable[[GateOpened], Awaitable[GateAnswered | None]]


@dataclass(frozen=True)
class ClusterRecord:
    """What is left of a run in its cluster's database, once nobody works on it."""

    events: Sequence[Event]
    seqs: Sequence[int]
    unended: Sequence[str] = ()
    """The units that are not final."""
    jobs: int = 0
    reports: int = 0
    leases: int = 0


@dataclass(frozen=True)
class AloneRun:
    """What the squad comes to in one process that nothing happens to."""

    events: Sequence[Event]
    answered: Counter[str]
    tools: Counter[str]


@dataclass
class AuditTable:
    """`figures` are for people; `violations` say what must not be."""

    figures: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        wide = max(map(len, self.figures), default=0)
        rows = [f"{name:<{wide}}  {value}" for name, value in self.figures.items()]
        return "\n".join([*rows, *(f"VIOLATED: {text}" for text in self.violations)])


def audit(record: ClusterRecord, alone: AloneRun, answered: Counter[str], tools: Counter[str]) -> AuditTable:
    """Compare a run that has ended with what it comes to in one process; `answered` and `tools` are what the provider
    counted. Pure."""
    events = list(record.events)
    finished, whole = _finished(events), _finished(alone.events)
    repeated = [event for event in events if isinstance(event.data, CallRepeated)]
    paid_again = (answered - alone.answered).total() + (tools - alone.tools).total()
    bills = [bill for event in events if (bill := bill_of(event.data)) is not None]
    cost = sum(bill.cost or 0 for bill in bills)
    turns = Counter((event.path, event.turn) for event in events if event.type == "turn.ended")
    table = AuditTable(
        {
            "events": len(events),
            "turns recorded": len(turns),
            "answers paid": answered.total(),
            "paid again": paid_again,
            "reported as repeated": len(repeated),
            "cost (micro-USD)": cost,
        }
    )

    def must(holds: bool, what: str) -> None:
        if not holds:
            table.violations.append(what)

    must(len({event.id for event in events}) == len(events), "an event is recorded twice")
    must(list(record.seqs) == list(range(1, len(events) + 1)), "the record has gaps")
    must(all(count == 1 for count in turns.values()), "a turn is recorded twice")
    must(paid_again <= len(repeated), f"{paid_again} calls were paid again, {len(repeated)} reported")
    must(set(answered) == set(alone.answered), "other requests were made than in one process")
    must(set(tools) == set(alone.tools), "other tools were called than in one process")
    must(not record.unended, f"units are not final: {record.unended}")
    must(record.jobs == 0, f"{record.jobs} jobs are left")
    must(record.reports == 0, f"{record.reports} reports were not taken")
    must(record.leases == 0, f"{record.leases} leases are held")
    must(finished.cost == cost, f"the run says that it cost {finished.cost}, its bills {cost}")
    for part in ("status", "outputs", "usage", "cost", "tasks", "truncated"):
        must(getattr(finished, part) == getattr(whole, part), f"{part} are not those of one process")
    must(finished.artifacts.keys() == whole.artifacts.keys(), "artifacts are not those of one process")
    must(_files(events) == _files(alone.events), "the artifacts' texts are not those of one process")
    here, there = Counter(told(events)), Counter(told(list(alone.events)))
    must(
        here == there, f"other things happened than in one process: {_first(here - there)}, not {_first(there - here)}"
    )
    return table


def _first(told: Counter[tuple[str, str]]) -> str:
    return str(next(iter(sorted(told)), "nothing"))[:MOST_TOLD]


def _finished(events: Sequence[Event]) -> RunFinished:
    last = events[-1].data
    assert isinstance(last, RunFinished), "it has ended"
    return last


def _files(events: Sequence[Event]) -> dict[str, str]:
    return {event.data.path: event.data.text for event in events if isinstance(event.data, ArtifactWritten)}


async def record_of(database: ClusterDatabase, run: str = "r") -> ClusterRecord:
    """Read what is left of a run."""
    journal = database.journal
    events = await journal.events(run)
    async with journal.transaction() as transaction:

        async def rows(query: bytes) -> list[tuple[Any, ...]]:
            return list(await (await transaction.connection.execute(query, (run,))).fetchall())

        of_run = b"JOIN orchestrator.runs r ON r.id = x.run WHERE r.run = %s"
        seqs = await rows(b"SELECT x.seq FROM orchestrator.events x " + of_run + b" ORDER BY x.seq")
        unended = await rows(b"SELECT x.path FROM orchestrator.units x " + of_run + b" AND NOT x.ended")
        leases = await rows(b"SELECT run FROM orchestrator.drives WHERE run = %s")
    return ClusterRecord(
        events,
        [seq for (seq,) in seqs],
        [bytes(path).decode() for (path,) in unended],
        len(await database.queue.live(run)),
        len(await journal.reports(run)),
        len(leases),
    )


async def alone(squad: Callable[[int], Squad], ask: Ask | None = None) -> AloneRun:
    """Run a squad, made for a provider at a port, in this process. `ask` answers its questions."""
    with Counting().serving() as provider:
        manager: Any = OverSocket(provider.port)
        async with open_run(squad(provider.port), run_id="r", manager=manager, ask=ask) as run:
            events = [event async for event in run]
    return AloneRun(events, provider.answered, provider.tools)
