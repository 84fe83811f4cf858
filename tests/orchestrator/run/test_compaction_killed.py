"""Kill -9 at every record of a run whose histories are summarised: resumed, it ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.events import ContextSummarised, HistorySummarised
from tests.orchestrator.crashes import Counting
from tests.orchestrator.killed import Whole, check, difference_in_replay, kill_at


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole("compacted", tmp_path_factory.mktemp("compacted"))


def test_killed_once_it_ends_as_if_nothing_had_happened(tmp_path: Path, whole: Whole) -> None:
    made = [event for event in whole.events if isinstance(event.data, HistorySummarised)]
    assert len(made) > 3
    assert {event.data.failed for event in made} == {""}
    assert sum(isinstance(event.data, ContextSummarised) for event in whole.events) == 3
    with Counting().serving() as provider:
        kill_at(20, "compacted", tmp_path, provider)
    check(tmp_path, whole, provider)
    assert difference_in_replay(tmp_path) is None


@pytest.mark.long
def test_killed_at_every_record_it_ends_as_if_nothing_had_happened(tmp_path: Path, whole: Whole) -> None:
    for commits in range(1, 1000):
        folder = tmp_path / str(commits)
        folder.mkdir()
        with Counting().serving() as provider:
            over = kill_at(commits, "compacted", folder, provider, backend=("asyncio", "trio")[commits % 2])
        check(folder, whole, provider)
        assert difference_in_replay(folder) is None
        if over:
            break
    assert commits > 30, "every claim, intent, result and end is a record"
