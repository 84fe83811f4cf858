"""The one door to the journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.opening import open_journal, place_of_journal
from orchestrator.journal.protocols import JournalMissing, JournalUnusable, RunManifest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("memory:", None),
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite:////var/runs.db", "/var/runs.db"),
        ("state/journal.db", "state/journal.db"),
        (Path("/a/b.db"), "/a/b.db"),
    ],
)
async def test_a_url_or_a_path_names_a_journal(url: str | Path, file: str | None) -> None:
    assert place_of_journal(url).file == (None if file is None else Path(file))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://me@db/runs", "PostgreSQL is not built yet"),
        ("redis://x", "reads sqlite:///PATH only"),
        ("sqlite:///", "reads sqlite:///PATH only"),
        ("sqlite:x", "reads sqlite:///PATH only"),
        ("", "reads sqlite:///PATH only"),
    ],
)
async def test_another_url_says_what_can_be_read(url: str, why: str) -> None:
    with pytest.raises(JournalUnusable, match=why):
        async with open_journal(url):
            raise AssertionError("it was opened")


async def test_what_is_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with pytest.raises(JournalMissing, match=r"runs\.db"):
        async with open_journal(url, create=False):
            raise AssertionError("it was opened")
    async with open_journal(url) as journal:
        await journal.create("r", RunManifest("pair"))
    async with open_journal(tmp_path / "runs.db", create=False) as journal:
        assert (await journal.manifest("r")).squad == "pair"
        assert await journal.room() > 0


async def test_a_journal_in_memory_needs_no_disk() -> None:
    async with open_journal("memory:") as journal:
        assert isinstance(journal, MemoryJournal)
        assert await journal.room() == 0
