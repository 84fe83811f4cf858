"""The one door to the journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.opening import open_journal, place_of_journal
from orchestrator.journal.protocols import JournalMissing, JournalUnusable, RunManifest

pytestmark = pytest.mark.anyio
OTHERS = "a journal is at sqlite:///PATH, or at postgresql://USER@HOST/DATABASE"


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
        ("postgresql:x", OTHERS),
        ("redis://x", OTHERS),
        ("sqlite:///", OTHERS),
        ("sqlite:x", OTHERS),
        ("", OTHERS),
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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me@db/runs", None),
        ("postgres://db:5432/runs?sslmode=require", None),
        ("postgresql://me:canary@db/runs", "postgresql://me:***@db/runs"),
        ("postgresql://me:canary@a:1,b:2/runs", "postgresql://me:***@a:1,b:2/runs"),
        ("postgresql://db/runs?user=me&password=canary", "postgresql://db/runs?user=me&password=***"),
        ("postgresql://db/runs?sslpassword=canary&a=b", "postgresql://db/runs?sslpassword=***&a=b"),
        ("postgresql://me:can@ary@db/runs", "postgresql://***"),
        ("postgresql://me:can/canary@db/runs", "postgresql://***"),
        ("postgresql://me:can?canary@db/runs", "postgresql://***"),
        ("postgresql://db/runs?password=can@canary", "postgresql://***"),
        ("postgresql://me:can#canary@db/runs", "postgresql://***"),
    ],
)
async def test_a_database_is_shown_without_its_password(url: str, shown: str | None) -> None:
    place = place_of_journal(url)
    assert place.url == url
    assert str(place) == (shown or url)
    assert "canary" not in f"{place!r}{place}"


async def test_a_journal_in_memory_needs_no_disk() -> None:
    async with open_journal("memory:") as journal:
        assert isinstance(journal, MemoryJournal)
        assert await journal.room() == 0
