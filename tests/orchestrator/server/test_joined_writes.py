"""What is written in one turn of the event loop goes out at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from orchestrator.server.joined_writes import MOST_HELD, JoinedWrites


class Socket(asyncio.Transport):
    """Keeps what a socket would be given."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.sent.append(b"closed")


def joined() -> tuple[Socket, JoinedWrites, list[Callable[[], None]]]:
    socket, later = Socket(), list[Callable[[], None]]()
    return socket, JoinedWrites(socket, later.append), later


def test_the_head_and_the_body_go_out_together_when_the_turn_ends() -> None:
    socket, connection, later = joined()
    connection.write(b"head ")
    connection.write(bytearray(b"body"))
    assert (socket.sent, len(later)) == ([], 1)
    later[0]()
    later[0]()  # nothing is held any more
    assert socket.sent == [b"head body"]


def test_much_goes_out_at_once_so_that_a_slow_reader_is_felt() -> None:
    socket, connection, _ = joined()
    connection.write(b"x" * (MOST_HELD + 1))
    assert len(socket.sent) == 1


def test_what_is_held_goes_out_before_the_connection_closes() -> None:
    socket, connection, _ = joined()
    connection.write(b"last")
    connection.close()
    assert socket.sent == [b"last", b"closed"]
