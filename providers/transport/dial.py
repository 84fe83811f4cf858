"""Connects a socket on asyncio: to the addresses of a name in turn, each a little after the one before.

`loop.create_connection` does that too, but loses the socket where it is cancelled in the step in which it is connected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

HAPPY_EYEBALLS_S = 0.25
_Address = tuple[Any, ...]
_Info = tuple[int, int, int, str, _Address]


async def dial(host: str, port: int) -> socket.socket:
    """Return a connected socket. Raise `OSError`; nothing stays open then."""
    loop = asyncio.get_running_loop()
    infos = _alternating(await _addresses(loop, host, port))
    if len(infos) == 1:
        return await _connected(loop, infos[0])
    calls: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        for info in infos:
            calls.append(asyncio.ensure_future(_connected(loop, info)))
            if (winner := await _first(calls, HAPPY_EYEBALLS_S)) is not None:
                return winner.result()
        if (winner := await _first(calls)) is not None:
            return winner.result()
        error = calls[0].exception()
        assert error is not None, "what has no result and no error was cancelled"
        raise error
    finally:
        for call in calls:
            if call is not winner:
                call.cancel()
                call.add_done_callback(_close)


async def _first(
    calls: Sequence[asyncio.Task[socket.socket]], within: float | None = None
) -> asyncio.Task[socket.socket] | None:
    """Return the first that is connected; None: none is in time, or all have failed."""
    left = {call for call in calls if not call.done()}
    while True:
        found = next((call for call in calls if call.done() and call.exception() is None), None)
        if found is not None or not left:
            return found
        done, left = await asyncio.wait(left, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return None


async def _addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> Sequence[_Info]:
    try:  # what is an address already needs no thread
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _alternating(infos: Sequence[_Info]) -> list[_Info]:
    """Return the addresses, the families in turn: where one of them leads nowhere, the other comes second."""
    families = dict.fromkeys(info[0] for info in infos)
    by_family = ([info for info in infos if info[0] == family] for family in families)
    return [info for info in chain.from_iterable(zip_longest(*by_family)) if info is not None]


async def _connected(loop: asyncio.AbstractEventLoop, info: _Info) -> socket.socket:
    family, kind, protocol, _, address = info
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        await loop.sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _close(call: asyncio.Task[socket.socket]) -> None:
    if not call.cancelled() and call.exception() is None:
        call.result().close()
