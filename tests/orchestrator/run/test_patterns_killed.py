"""Kill -9 at every record of a conversation of each pattern: resumed, it ends as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from orchestrator.events import ControlUnread, ConversationEnded
from tests.orchestrator.crashes import PATTERNS, Counting
from tests.orchestrator.killed import Whole, at_records, check, difference_in_replay, kill_at, records

WholeOf = Callable[[str], Whole]


@pytest.fixture(scope="module")
def whole_of(tmp_path_factory: pytest.TempPathFactory) -> WholeOf:
    return cache(lambda pattern: Whole(pattern, tmp_path_factory.mktemp(pattern)))


@pytest.mark.parametrize("pattern", [*PATTERNS, "aside"])
@pytest.mark.few(2)
def test_killed_once_it_ends_as_if_nothing_had_happened(tmp_path: Path, whole_of: WholeOf, pattern: str) -> None:
    whole = whole_of(pattern)
    with Counting().serving() as provider:
        kill_at(random.Random(pattern).randrange(6, 16), pattern, tmp_path, provider)
    check(tmp_path, whole, provider)
    assert difference_in_replay(tmp_path) is None


@pytest.mark.long
@at_records
@pytest.mark.parametrize("pattern", [*PATTERNS, "aside"])
def test_killed_at_every_record_it_ends_as_if_nothing_had_happened(
    tmp_path: Path, whole_of: WholeOf, pattern: str, step: int
) -> None:
    whole = whole_of(pattern)
    for commits in records(step):
        folder = tmp_path / str(commits)
        folder.mkdir()
        with Counting().serving() as provider:
            over = kill_at(commits, pattern, folder, provider, backend=("asyncio", "trio")[commits % 2])
        check(folder, whole, provider)
        assert difference_in_replay(folder) is None
        if over:
            break
    assert commits > 12, "every claim, intent, result and end is a record"


@pytest.mark.long
def test_the_runs_that_are_killed_hold_lines_that_cannot_be_followed(whole_of: WholeOf) -> None:
    events = [event.data for pattern in PATTERNS for event in whole_of(pattern).events]
    assert any(isinstance(event, ControlUnread) for event in events)
    assert sum(isinstance(event, ConversationEnded) for event in events) == len(PATTERNS)
