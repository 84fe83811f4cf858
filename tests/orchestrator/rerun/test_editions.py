"""Runs that an earlier release began go on, and replay, by the rules that they began with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import Squad
from orchestrator.events import RunFinished
from orchestrator.fork import edit_of_run
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import resume_run
from tests.orchestrator.samples.talks import HERE, TEXT, Manager

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(HERE / "talks-2.db", tmp_path / "journal.db"))


async def test_what_an_earlier_release_recorded_replays(file: Path) -> None:
    async with SqliteJournal(file) as journal:
        assert (await journal.manifest("ended")).edition == 1
        for run in ("ended", "cut"):
            ended = await replay(journal, run)
            assert (ended.difference, ended.has_end) == (None, run == "ended")


async def test_a_killed_run_of_an_earlier_release_goes_on_as_that_release_would_have(file: Path) -> None:
    manager = Manager(since=3)
    async with SqliteJournal(file) as journal:
        async with resume_run(Squad.from_text(TEXT, "talks.yaml"), "cut", journal=journal, manager=manager) as run:
            async for _ in run:
                pass
        assert run.result.status == "done", run.result.errors
        done = [event.data for event in await journal.events("ended") if isinstance(event.data, RunFinished)]
        assert run.result.outputs == done[0].outputs
        first, *later = await journal.manifests("cut")
        assert [replace(one, since=first.since, home=first.home) for one in later] == [first] * len(later)
        assert (await replay(journal, "cut")).difference is None
    assert [request.needs.agent for request in manager.asked[:2]] == ["con", "pro"], "no moderator closes the debate"


async def test_nothing_is_done_again_because_the_rules_are_others_now(file: Path) -> None:
    async with SqliteJournal(file) as journal:
        edit = await edit_of_run(Squad.from_text(TEXT, "talks.yaml"), "ended", journal=journal)
        assert (edit.again, edit.parts) == ({}, ())
