"""Whatever is done in whatever order, the journal on disk answers as the one in memory does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents.run_context import StepKey
from orchestrator.events import Event, RunEdited, RunFinished, RunResumed, TaskStarted
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import JournalError, RunManifest, StepRecord
from orchestrator.units import Unit
from providers.messages import Usage
from tests.postgres import PostgresServer

A, B, C = Unit("a"), Unit("b", "1"), Unit("c")
RUNS, UNITS = ("r", "s"), (("r", A), ("r", B), ("r", C), ("s", A))
KEYS = (StepKey((), 1, "model"), StepKey(("try-1",), 0, "said"))
PAYLOADS = (
    TaskStarted("a", 1, "🦊" * 300),
    RunFinished("r", "done", {"x": [1]}, {}, Usage(1), 3, {}, False),
    RunResumed((), ()),
    RunEdited(("a",), ("task a",)),
)
EVENTS = st.lists(
    st.tuples(st.sampled_from([A, None]), st.integers(0, 1), st.integers(1, 4), st.sampled_from(PAYLOADS)), max_size=3
)
TAKEN = st.tuples(st.sampled_from([A, B, C]), st.sampled_from(KEYS), st.sampled_from([b"h", b"i"]))
"""Unit, key and request of a step that a fork or an edit takes over."""
RunUnit = tuple[str, Unit]
SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk is needed to compare answers


def events(run: str, given: Sequence[tuple[Unit | None, int, int, Any]]) -> list[Event]:
    return [Event(run, unit, (), turn, seq, 1.5, payload) for unit, turn, seq, payload in given]


class Journals(RuleBasedStateMachine):
    """Each rule does the same to both, and compares what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryJournal()
        self.place = self.new_place()
        self.portals = start_blocking_portal()
        self.portal = self.portals.__enter__()
        self.open_kept()
        self.fences: dict[RunUnit, int] = {}
        self.begun: set[tuple[RunUnit, StepKey]] = set()

    def new_place(self) -> str:
        """Return the URL of a new journal."""
        return f"sqlite:///{tempfile.mkdtemp(dir=SHM)}/journal.db"

    def remove_place(self) -> None:
        shutil.rmtree(Path(self.place.removeprefix("sqlite:///")).parent)

    def open_kept(self) -> None:
        self.opened = self.portal.wrap_async_context_manager(open_journal(self.place))
        self.kept = self.opened.__enter__()

    def teardown(self) -> None:
        self.opened.__exit__(None, None, None)
        self.portals.__exit__(None, None, None)
        self.remove_place()

    def both(self, name: str, *args: Any) -> Any:
        return self.portal.call(self._both, name, *args)

    async def _both(self, name: str, *args: Any) -> Any:
        said = [await self._ask(journal, name, args) for journal in (self.memory, self.kept)]
        assert said[0] == said[1], name
        return said[0]

    async def _ask(self, journal: Any, name: str, args: tuple[Any, ...]) -> Any:
        try:
            return await getattr(journal, name)(*args)
        except JournalError as error:
            return type(error)

    @initialize()
    def known(self) -> None:
        for run in RUNS:
            self.both("create", run, RunManifest(run, text="x" * 500))

    @rule(run=st.sampled_from([*RUNS, "t"]), told=EVENTS, step=TAKEN, result=st.sampled_from([*"xy"]))
    def fork(self, run: str, told: Any, step: tuple[Unit, StepKey, bytes], result: str) -> None:
        steps = [StepRecord(*step, True, result * 300, False)]
        self.both("create", run, RunManifest("forked", text="y" * 500), events(run, told), steps)

    @rule(run=st.sampled_from(RUNS), told=EVENTS, step=TAKEN, over=st.sets(st.sampled_from(UNITS)))
    def edit(self, run: str, told: Any, step: tuple[Unit, StepKey, bytes], over: set[RunUnit]) -> None:
        steps = [StepRecord(*step, True, {"z": 1}, False)]
        final = {unit for of, unit in over if of == run}
        self.both("edit", run, RunManifest("edited", text="z" * 500), events(run, told), steps, final)

    @rule(run=st.sampled_from(RUNS))
    def remove(self, run: str) -> None:
        self.both("remove", run)
        self.both("create", run, RunManifest(run))
        self.fences = {whose: fence for whose, fence in self.fences.items() if whose[0] != run}
        self.begun = {step for step in self.begun if step[0][0] != run}

    @rule(whose=st.sampled_from(UNITS))
    def claim(self, whose: RunUnit) -> None:
        fence = self.both("claim", *whose, "me")
        if fence is not None:
            self.fences[whose] = fence

    @rule(
        whose=st.sampled_from(UNITS),
        key=st.sampled_from(KEYS),
        seal=st.sampled_from([b"h", b"h", b"i"]),
        told=EVENTS,
        old=st.booleans(),
    )
    def begin(self, whose: RunUnit, key: StepKey, seal: bytes, told: Any, old: bool) -> None:
        fence = self.fences.get(whose, 0) - old
        said = self.both("begin", *whose, key, seal, fence, events(whose[0], told))
        if not isinstance(said, type):
            self.begun.add((whose, key))

    @precondition(lambda self: self.begun)
    @rule(data=st.data(), result=st.sampled_from(["x" * 300, {"a": [1]}, None]), told=EVENTS, old=st.booleans())
    def finish(self, data: Any, result: Any, told: Any, old: bool) -> None:
        whose, key = data.draw(st.sampled_from(sorted(self.begun, key=repr)))
        self.both("finish", *whose, key, self.fences[whose] - old, result, events(whose[0], told))

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def give_up(self, data: Any) -> None:
        whose, key = data.draw(st.sampled_from(sorted(self.begun, key=repr)))
        self.both("give_up", *whose, key, self.fences[whose])

    @rule(whose=st.sampled_from(UNITS), told=EVENTS)
    def end(self, whose: RunUnit, told: Any) -> None:
        self.both("end", *whose, self.fences.get(whose, 0), events(whose[0], told))

    @rule(whose=st.sampled_from(UNITS), told=EVENTS)
    def park(self, whose: RunUnit, told: Any) -> None:
        self.both("park", *whose, self.fences.get(whose, 0), events(whose[0], told))

    @rule(whose=st.sampled_from(UNITS), told=EVENTS, old=st.booleans())
    def record(self, whose: RunUnit, told: Any, old: bool) -> None:
        self.both("record", *whose, self.fences.get(whose, 0) - old, events(whose[0], told))

    @rule(run=st.sampled_from(RUNS), told=EVENTS)
    def append(self, run: str, told: Any) -> None:
        self.both("append", run, events(run, told))

    @rule(run=st.sampled_from(RUNS), name=st.sampled_from("xy"), value=st.integers(), key=st.sampled_from("kl"))
    def signal(self, run: str, name: str, value: int, key: str) -> None:
        self.both("signal", run, name, value, key)

    @rule(run=st.sampled_from(RUNS))
    def request_cancel(self, run: str) -> None:
        self.both("request_cancel", run)

    @rule()
    def another_process(self) -> None:
        self.opened.__exit__(None, None, None)
        self.open_kept()

    @invariant()
    def read_the_same(self) -> None:
        self.portal.call(self._read_the_same)  # in one: to reach its thread takes longer than to read

    async def _read_the_same(self) -> None:
        await self._both("runs")
        for run in RUNS:
            await self._both("remove", "nobody")
            for name in ("manifest", "manifests", "events", "steps", "signals", "cut_short", "cancel_requested"):
                await self._both(name, run)
            await self._both("events_of_kinds", run, (RunFinished, RunEdited))
        for whose in UNITS:
            await self._both("events_of_unit", *whose)
            await self._both("cut_short", *whose)


Journals.TestCase.settings = settings(max_examples=settings().max_examples // 4, stateful_step_count=25)
TestJournals = Journals.TestCase


class PostgresJournals(Journals):
    """The same, with a journal in a database."""

    server: ClassVar[PostgresServer]

    def new_place(self) -> str:
        self.database = self.server.database()
        return self.database.__enter__()

    def remove_place(self) -> None:
        self.database.__exit__(None, None, None)


@pytest.fixture(scope="module")
def machine_server(shared_postgres: PostgresServer) -> None:
    PostgresJournals.server = shared_postgres


PostgresJournals.TestCase.settings = Journals.TestCase.settings
TestPostgresJournals = pytest.mark.usefixtures("machine_server")(PostgresJournals.TestCase)


@pytest.mark.parametrize("kind", [Journals, PostgresJournals])
def test_an_edit_ends_a_step_that_another_process_began(kind: type[Journals], request: pytest.FixtureRequest) -> None:
    """A sequence that rules met once, kept: no seed is needed to meet it again."""
    if kind is PostgresJournals:
        request.getfixturevalue("machine_server")
    both = kind()
    try:
        both.known()
        both.claim(("r", C))
        both.begin(("r", C), KEYS[0], b"h", [], False)
        both.another_process()
        both.claim(("r", A))
        both.edit("r", [], (C, KEYS[0], b"h"), set())
        both.read_the_same()
    finally:
        both.teardown()
