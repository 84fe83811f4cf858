"""`runs ls` and `runs rm`: finding runs among many, and taking them out for good."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from orchestrator.events import Event, RunFinished, RunStarted
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.sqlite.journal import SqliteJournal
from providers.messages import Usage

DAY_S = 86_400


@pytest.fixture
def journal_of(folder):
    """Return a function that records runs: name -> (days ago, state, squad)."""

    def record(runs: Mapping[str, tuple[float, str, str]]) -> Path:
        anyio.run(_record, folder / ".orchestrator" / "journal.db", runs)
        return folder / ".orchestrator" / "journal.db"

    return record


async def _record(file: Path, runs: Mapping[str, tuple[float, str, str]]) -> None:
    import time

    async with SqliteJournal(file) as journal:
        for run, (days, status, squad) in runs.items():
            began = time.time() - days * DAY_S
            events = [Event(run, None, (), 0, 1, began, RunStarted(squad, (), False, None))]
            if status != "unfinished":
                ended = RunFinished(run, status, {}, {}, Usage(1), 10, {}, False)
                events.append(Event(run, None, (), 0, 2, began + 1, ended))
            await journal.create(run, RunManifest(squad, created_at=began), events)


RUNS = {
    "old-done": (50, "done", "tea"),
    "old-failed": (40, "failed", "tea"),
    "old-waiting": (40, "waiting", "tea"),
    "old-unfinished": (40, "unfinished", "coffee"),
    "new-done": (2, "done", "coffee"),
    "new-stopped": (1, "stopped", "tea"),
}


def listed(call, *arguments):
    return [line["run"] for line in json.loads(call("runs", "ls", "--json", *arguments).out)]


def test_runs_are_found_by_state_and_squad(call, journal_of):
    journal_of(RUNS)
    assert listed(call) == [*RUNS][::-1]
    assert listed(call, "--limit", "2") == ["new-stopped", "new-done"]
    assert listed(call, "--status", "done,failed") == ["new-done", "old-failed", "old-done"]
    assert listed(call, "--status", "unfinished") == ["old-unfinished"]
    assert listed(call, "--status", "running") == []
    assert listed(call, "--squad", "coffee") == ["new-done", "old-unfinished"]
    assert listed(call, "--squad", "tea", "--status", "done", "--limit", "1") == ["old-done"]
    done = call("runs", "ls", "--status", "don")
    assert (done.code, "there is no such state" in done.err, "unfinished" in done.err) == (2, True, True)


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["old-done", "new-done"], {"old-done", "new-done"}),
        (["--older-than", "30d"], {"old-done", "old-failed"}),
        (["--older-than", "30d", "--status", "unfinished,waiting"], {"old-unfinished", "old-waiting"}),
        (["--status", "done"], {"old-done", "new-done"}),
        (["--keep", "2"], {"old-done", "old-failed"}),
        (["--keep", "1", "--status", "done,waiting", "--older-than", "1h"], {"old-done", "old-waiting", "new-done"}),
        (["--keep", "9"], set()),
    ],
)
def test_what_is_chosen_goes_and_nothing_else(call, journal_of, arguments, gone):
    journal_of(RUNS)
    shown = call("runs", "rm", *arguments, "--dry-run")
    assert {line.split()[0] for line in shown.out.splitlines()[1:]} == gone
    assert set(listed(call)) == set(RUNS), "a dry run removes nothing"
    done = call("runs", "rm", *arguments, "--yes")
    assert done.code == 0
    assert set(listed(call)) == set(RUNS) - gone
    if gone:
        assert set(done.out.split()) == gone
        assert f"{len(gone)} runs removed" in done.err


def test_nothing_goes_without_a_word_and_no_run_of_an_unknown_name(call, journal_of):
    journal_of(RUNS)
    asked = call("runs", "rm", "old-done")
    assert (asked.code, "give --yes" in asked.err, "old-done" in asked.err) == (2, True, True)
    assert call("runs", "rm").code == 2
    assert call("runs", "rm", "old-done", "--keep", "2").code == 2
    assert call("runs", "rm", "old-done", "none", "--yes").code == 5
    assert set(listed(call)) == set(RUNS)


def test_a_run_at_work_is_left_alone(call, journal_of):
    file = journal_of(RUNS)

    async def rm():
        async with SqliteJournal(file) as journal, journal.driving("old-unfinished"):
            return await anyio.to_thread.run_sync(call, "runs", "rm", "old-unfinished", "old-done", "--yes")

    done = anyio.run(rm)
    assert (done.code, done.out) == (0, "old-done\n")
    assert "old-unfinished is at work: it is left alone" in done.err
    assert "given back by the next `runs rm`" in done.err
    assert "old-unfinished" in listed(call)


def test_artifacts_go_only_when_asked_for_and_only_as_they_were_written(call, folder):
    for run in ("r-1", "r-2"):
        assert call("run", "squad.yaml", "--run-id", run, "--out", "there/" + run).code == 0
    assert call("runs", "rm", "r-1", "--yes").code == 0
    assert (folder / "there" / "r-1" / "brief.md").exists()
    (folder / "there" / "r-2" / "notes.txt").write_text("mine")
    assert call("runs", "rm", "r-2", "--yes", "--artifacts").code == 0
    assert [file.name for file in (folder / "there" / "r-2").iterdir()] == ["notes.txt"]
    call("run", "squad.yaml", "--run-id", "r-3", "--out", "there/r-3")
    (folder / "there" / "r-3" / "brief.md").write_text("changed by hand")
    call("runs", "rm", "r-3", "--yes", "--artifacts")
    assert (folder / "there" / "r-3" / "brief.md").read_text() == "changed by hand"
    call("run", "squad.yaml", "--run-id", "r-4", "--out", "there/r-4")
    call("runs", "rm", "r-4", "--yes", "--artifacts")
    assert not (folder / "there" / "r-4").exists()
