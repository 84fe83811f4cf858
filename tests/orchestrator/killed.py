"""What a killed and resumed run must come to: what an unkilled one does, and nothing paid twice in silence."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.errors import RunNotFound
from orchestrator.events import CallRepeated, Event
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.record import Difference
from orchestrator.rerun.replay import replay
from tests.orchestrator.crashes import Counting, Order, made, run_to_its_end

at_records = pytest.mark.parametrize(
    "step", [pytest.param(5, id="each-fifth"), pytest.param(1, id="each", marks=pytest.mark.sweep)]
)
"""`.ci/run` kills at each fifth record, from another one on each time; the marker `sweep` has all of them."""


def records(step: int, last: int = 1000) -> range:
    """Return the numbers of the records at which a run is killed, one run for each."""
    return range(random.randint(1, step), last + 1, step)


def recorded(folder: Path) -> list[Event]:
    async def read() -> list[Event]:
        async with SqliteJournal(folder / "journal.db") as journal:
            return list(await journal.events("r"))

    return anyio.run(read)


def began(folder: Path) -> bool:
    """Return whether the run was recorded at all: killed before, it is begun anew."""

    async def ask() -> bool:
        async with SqliteJournal(folder / "journal.db") as journal:
            try:
                await journal.manifest("r")
            except RunNotFound:
                return False
            return True

    return anyio.run(ask)


class Whole:
    """What an unkilled run of a squad comes to."""

    def __init__(self, squad: str, folder: Path) -> None:
        with Counting().serving() as provider:
            began = time.monotonic()
            assert run_to_its_end(Order(squad, str(folder), provider.port)) == 0
            self.seconds = time.monotonic() - began
        self.result = json.loads((folder / "result.json").read_text())
        self.files = made(folder)
        self.answered = provider.answered
        self.tools = provider.tools
        self.events = recorded(folder)


def check(folder: Path, whole: Whole, provider: Counting) -> None:
    """Whatever was done to the run, it ended like the whole one; only what was reported was asked twice."""
    if (folder / "result.json").exists():  # killed right after its last record, it could not say how it ended
        assert json.loads((folder / "result.json").read_text()) == whole.result, "outputs, artifacts, usage and cost"
    assert made(folder) == whole.files
    assert set(provider.answered) == set(whole.answered), "the same requests, no other"
    assert set(provider.tools) == set(whole.tools)
    events = recorded(folder)
    assert len({event.id for event in events}) == len(events)
    reported = sum(isinstance(event.data, CallRepeated) for event in events)
    twice = (provider.answered - whole.answered).total() + (provider.tools - whole.tools).total()
    assert twice <= reported, "a call was paid twice, and nobody was told"
    assert told(events) == told(whole.events)


def told(events: list[Event]) -> list[tuple[str, str]]:
    """Return what happened once, whatever was repeated on the way."""
    once = ("task.started", "task.ended", "element.ended", "turn.ended", "message.spoken", "artifact.written")
    return sorted((event.type, repr(event.data)) for event in events if event.type in once)


def kill_at(commits: int, squad: str, folder: Path, provider: Counting, **more: Any) -> bool:
    """Return whether the run was over before it recorded so much. If not, it is killed there, and resumed."""
    order = Order(squad, str(folder), provider.port, commits=commits, **more)
    if run_to_its_end(order) == 0:
        return True
    if recorded(folder)[-1:] and recorded(folder)[-1].type == "run.finished":
        return True
    assert run_to_its_end(replace(order, commits=0, resume=True)) == 0
    return False


def difference_in_replay(folder: Path) -> Difference | None:
    """Return where a replay of the run differs from its record, None where it says the same to the end."""

    async def compare() -> Difference | None:
        async with SqliteJournal(folder / "journal.db") as journal:
            replayed = await replay(journal, "r")
        assert replayed.has_end or replayed.difference is not None
        return replayed.difference

    return anyio.run(compare)
