"""Kill -9 at every record of a run: resumed, it ends as if nothing had happened, and no recorded turn is paid twice."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from orchestrator.events import CallRepeated, Event
from orchestrator.journal.sqlite.journal import SqliteJournal
from tests.orchestrator.crashes import Counting, Order, run_to_its_end, seeds, start
from tests.orchestrator.killed import Whole, at_records, began, check, kill_at, recorded, records
from tests.patience import PATIENCE_S

EXPERIMENT = str(Path(__file__).parents[3] / "examples" / "kill_and_resume.py")


@pytest.fixture
def provider() -> Iterator[Counting]:
    with Counting().serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole("small", tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole("large", tmp_path_factory.mktemp("large"))


@pytest.mark.long
@at_records
@pytest.mark.parametrize(
    ("name", "least"), [("small", 12), ("nested", 30), ("helped", 30), ("elements", 30), ("repeated", 30)]
)
def test_kill_at_every_record_of_a_small_sprint(tmp_path: Path, name: str, least: int, step: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = Whole(name, tmp_path / "whole")
    for commits in records(step):
        folder = tmp_path / str(commits)
        folder.mkdir()
        with Counting().serving() as provider:
            over = kill_at(commits, name, folder, provider, backend=("asyncio", "trio")[commits % 2])
        check(folder, whole, provider)
        if over:
            break
    assert commits > least, "every claim, intent, result and end is a record"


@pytest.mark.parametrize("seed", seeds(1, 8))
def test_kill_a_large_sprint_again_and_again(tmp_path: Path, large: Whole, provider: Counting, seed: int) -> None:
    """Parallel branches, a party, a fan-out with tools and repeats, a gate that revises: killed until it is through."""
    dice = random.Random(seed)
    order, kills = Order("large", str(tmp_path), provider.port, commits=dice.randrange(1, 60)), 0
    while run_to_its_end(order) != 0:
        kills += 1
        order = replace(order, commits=dice.randrange(5, 60), resume=began(tmp_path))
    assert kills > 0
    check(tmp_path, large, provider)


@pytest.mark.parametrize("seed", seeds(2, 8))
def test_kill_a_large_sprint_around_an_answer(tmp_path: Path, large: Whole, provider: Counting, seed: int) -> None:
    """Killed by the provider: just before it answers, or just after, when nobody can have recorded it yet."""
    dice = random.Random(seed)
    number = dice.randrange(1, large.answered.total())
    order = Order("large", str(tmp_path), provider.port)

    def strike(answer: int) -> None:
        if answer == number:
            process.kill()

    if dice.random() < 0.5:
        provider.before = strike
    else:
        provider.after = strike
    process = start(order)
    process.join(PATIENCE_S)
    assert run_to_its_end(replace(order, resume=True)) == 0 if process.exitcode else True
    check(tmp_path, large, provider)


def test_each_repetition_of_a_call_is_told_though_none_of_them_ends(
    tmp_path: Path, small: Whole, provider: Counting
) -> None:
    """Killed while the first call is at work, and again while the very same call is made once more."""
    order, times = Order("small", str(tmp_path), provider.port), 3
    provider.before = lambda answer: process.kill() if answer <= times else None
    for resume in (False, *[True] * (times - 1)):
        process = start(replace(order, resume=resume))
        process.join(PATIENCE_S)
        assert process.exitcode == -9
    assert run_to_its_end(replace(order, resume=True)) == 0
    check(tmp_path, small, provider)
    assert sum(isinstance(event.data, CallRepeated) for event in recorded(tmp_path)) == times


@pytest.mark.parametrize("seed", seeds(2, 40))
@pytest.mark.few(1)
def test_kill_a_large_sprint_at_any_instant(tmp_path: Path, large: Whole, provider: Counting, seed: int) -> None:
    """Up to five times each, some two hundred kills in all."""
    dice, kills = random.Random(seed), 0
    order = Order("large", str(tmp_path), provider.port, backend=("asyncio", "trio")[seed % 2])
    while kills < 5:
        process = start(order)
        process.join(dice.random() * 0.6 * large.seconds)
        process.kill()
        process.join()
        kills += 1
        if (tmp_path / "result.json").exists():
            break
        order = replace(order, resume=began(tmp_path))
    else:
        assert run_to_its_end(order) == 0
    check(tmp_path, large, provider)


def test_a_watcher_sees_every_event_once_over_a_kill(tmp_path: Path, provider: Counting) -> None:
    order = Order("small", str(tmp_path), provider.port, commits=7)
    assert run_to_its_end(order) == -9

    async def watch() -> list[Event]:
        seen: list[Event] = []
        async with SqliteJournal(tmp_path / "journal.db") as journal, aclosing(journal.watch("r")) as events:
            async for _, event in events:
                seen.append(event)
                if len(seen) == 1:
                    start(replace(order, commits=0, resume=True))
                if event.type == "run.finished":
                    break
        return seen

    seen = anyio.run(watch)
    assert seen == recorded(tmp_path)


@pytest.mark.long
def test_the_experiment_that_anyone_can_run() -> None:
    done = subprocess.run([sys.executable, EXPERIMENT, "0.1"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    *_, report, _, counted = done.stdout.splitlines()
    answers, questions = map(int, re.findall(r"\d+", counted)[:2])
    assert (report, questions) == ("Done: Report.", 5)
    assert (
        answers - 5
        <= done.stderr.count("it may have been paid twice")
        == done.stderr.count("\nin flight when the run was cut short")
    )
