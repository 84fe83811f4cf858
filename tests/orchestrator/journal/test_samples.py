"""Journals of earlier releases in which everything stands that a run can record. `samples/whole.py` makes them."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.events import Event, to_json
from orchestrator.fork import fork_run
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import resume_run
from tests.orchestrator.samples.whole import HERE, TEXT, Clock, Manager, answering

pytestmark = pytest.mark.anyio
SAMPLES = sorted(file.stem for file in HERE.glob("whole-*.db"))
RUNS = ("ended", "waiting", "revised", "cut")


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(sample: str, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(HERE / f"{sample}.db", tmp_path / "journal.db"))


async def go(opening: Any) -> tuple[Any, list[Event]]:
    async with opening as run:
        events = [event async for event in run]
    return run.result, events


async def test_its_events_read_as_the_release_that_wrote_them_showed_them(sample: str, file: Path) -> None:
    shown = json.loads(gzip.decompress((HERE / f"{sample}.json.gz").read_bytes()))
    async with SqliteJournal(file) as journal:
        for run in RUNS:
            events = [json.loads(json.dumps(to_json(event))) for event in await journal.events(run)]
            assert [{**event, **was} for event, was in zip(events, shown[run], strict=True)] == events


@pytest.mark.parametrize("run", RUNS)
async def test_its_runs_replay(run: str, file: Path) -> None:
    async with SqliteJournal(file) as journal:
        ended = await replay(journal, run)
        assert (ended.difference, ended.has_end) == (None, run != "cut")


async def test_its_killed_run_goes_on_and_pays_nothing_twice(file: Path) -> None:
    async with SqliteJournal(file) as journal:
        manifest = await journal.manifest("cut")
        in_flight = [step.path for step in await journal.cut_short("cut")]
        paid = [event.type for event in await journal.events("cut")].count("turn.ended")
        manager = Manager()
        squad = Squad.from_text(manifest.text, manifest.file)
        given = resume_run(squad, "cut", journal=journal, manager=manager, ask=answering(), clock=Clock(6000.0))
        result, events = await go(given)
        whole = await replay(journal, "cut")
    assert result.status == "done"
    assert sorted(event.data.step for event in events if event.type == "call.repeated") == in_flight
    assert len(in_flight) == 2
    assert paid + len(manager.asked) == result.cost // 9, "each turn is paid once, with the attempt that was cancelled"
    assert whole.difference is None


async def test_its_open_approval_is_answered_and_its_run_goes_on(file: Path) -> None:
    async with SqliteJournal(file) as journal:
        squad = Squad.from_text(TEXT, "whole.yaml")
        ask = answering("approve")
        result, events = await go(resume_run(squad, "waiting", journal=journal, manager=Manager(), ask=ask))
        whole = await replay(journal, "waiting")
    assert result.status == "done"
    assert [event.type for event in events][:2] == ["run.resumed", "gate.answered"]
    assert whole.difference is None


@pytest.mark.parametrize(
    ("run", "start", "asked"), [("ended", "docs", 1), ("revised", "docs", 1), ("ended", "closing", 2)]
)
async def test_its_runs_are_forked(run: str, start: str, asked: int, file: Path) -> None:
    manager = Manager()
    async with SqliteJournal(file) as journal:
        manifest = await journal.manifest(run)
        squad = Squad.from_text(manifest.text, manifest.file)
        forked = fork_run(
            squad, run, journal=journal, start=start, run_id="fork", manager=manager, ask=answering("approve")
        )
        result, _ = await go(forked)
        whole = await replay(journal, "fork")
    assert (result.status, len(manager.asked)) == ("done", asked)
    assert whole.difference is None
