"""Pages that are kept up to date: made once for all who look at them, whoever comes when, and what cannot be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.server.pages.live import BEHIND, LivePages, live_pages
from tests.event_loops import VIRTUAL

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)]


class Clock:
    """A page that tells how often it was made, and takes some seconds; from `fails` on it cannot be made."""

    def __init__(self, takes: float = 0.0, fails: int = 99, error: type[Exception] = OrchestratorError) -> None:
        self.made, self._takes, self._fails, self._error = 0, takes, fails, error

    async def __call__(self) -> Mapping[str, str]:
        self.made += 1
        await anyio.sleep(self._takes)
        if self.made >= self._fails:
            raise self._error("the record cannot be read")
        return {"count": str(self.made), "same": "same"}


async def look(live: LivePages, clock: Clock, seconds: float, told: list[bytes]) -> None:
    with anyio.move_on_after(seconds):
        async for piece in live.changes("now", clock):
            told.append(piece)  # noqa: PERF401  # what was told counts also where it is cut short


def parts_in(told: Sequence[bytes]) -> int:
    """Return how many parts were told."""
    return b"".join(told).count(b"event: part\n")


async def test_who_comes_at_once_gets_one_page_that_is_made_once_for_all() -> None:
    clock, heard = Clock(takes=0.01), [list[bytes]() for _ in range(50)]
    async with live_pages() as live:
        async with anyio.create_task_group() as viewers:
            for told in heard:
                viewers.start_soon(look, live, clock, 3.5, told)
        assert clock.made == 4  # at once, and after each second
        await anyio.sleep(2)
        assert clock.made == 4  # nobody looks any more
    assert {parts_in(told) for told in heard} == {2 + 3}  # both parts, then the one that changed


async def test_a_page_that_takes_long_is_made_less_often() -> None:
    clock = Clock(takes=0.2)
    async with live_pages() as live:
        await look(live, clock, 10, [])
    assert clock.made == 4  # 0, 1.2, 5.4 and 9.6


@pytest.mark.parametrize("error", [OrchestratorError, ZeroDivisionError])
async def test_a_page_that_cannot_be_made_any_more_ends_its_streams_and_nothing_else(error: type[Exception]) -> None:
    clock, told = Clock(fails=2, error=error), list[bytes]()
    async with live_pages() as live:
        await look(live, clock, 60, told)
        assert (parts_in(told), clock.made) == (2, 2)
        with pytest.raises(error):
            await look(live, clock, 60, told)
        await look(live, Clock(), 1.5, told)
        assert parts_in(told) == 2 + 3


async def test_all_that_changed_at_once_is_told_at_once() -> None:
    class Both(Clock):
        async def __call__(self) -> Mapping[str, str]:
            count = (await super().__call__())["count"]
            return {"count": count, "again": count}

    told = list[bytes]()
    async with live_pages() as live:
        await look(live, Both(), 2.5, told)
    assert [parts_in([piece]) for piece in told] == [2, 2, 2]


async def test_a_client_that_reads_nothing_is_told_to_come_again() -> None:
    async with live_pages() as live:
        pieces = live.changes("now", Clock())
        first = await anext(pieces)
        await anyio.sleep(BEHIND + 5)
        left = [piece async for piece in pieces]
    assert (parts_in([first]), parts_in(left)) == (2, BEHIND)
