"""A connection to PostgreSQL that breaks at the moment of a commit: before the server has it, or before its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from tests.postgres import PASSWORD, PostgresServer

COMMIT = b"COMMIT\0"
Moment = Literal["", "before", "after"]


class CuttingProxy:
    """Passes on what comes. With `cut` set the next commit that passes breaks its connection, once."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.cut: Moment = ""
        self.cuts = 0
        self._server = server
        self.database = database
        self._port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self._port}/{self.database}?sslmode=disable"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[CuttingProxy]:
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            above, below = await asyncio.open_connection("127.0.0.1", self._server.port)
            held = asyncio.Event()
            answers = asyncio.create_task(_answer(above, writer, held))
            try:
                while data := await reader.read(65536):
                    if COMMIT in data and self.cut:
                        moment, self.cut = self.cut, ""
                        self.cuts += 1
                        if moment == "before":
                            break
                        held.set()
                    below.write(data)
                    await below.drain()
            finally:
                answers.cancel()
                below.close()
                writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: asyncio.Event) -> None:
    """Pass on what the server says; once `held`, nothing more, and break the connection when it says that it has
    committed."""
    withheld = b""
    with suppress(OSError):
        while data := await reader.read(65536):
            if held.is_set():
                withheld += data
                if COMMIT in withheld:
                    break
            else:
                writer.write(data)
                await writer.drain()
    writer.close()
