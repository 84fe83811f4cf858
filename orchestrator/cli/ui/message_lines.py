"""What a person types in a chat, as messages: a line each, more of them where the person says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.to_thread

from orchestrator.cli.ui.arguments import as_text
from orchestrator.cli.ui.gates import read_line

FENCE = '"""'
"""A line of its own that begins and ends a message of several lines."""
PIECE = 1 << 16
TERMINAL_LINE = 4095
"""Bytes of a line that a terminal hands over at most; it drops what is behind them."""
CUT_LINE = f"a terminal hands over {TERMINAL_LINE:,} bytes of a line: break longer ones, or pipe the text into the chat"

ReadPrompted = Callable[[str], Awaitable[str | None]]
"""Returns the next line without its end, None at the end of the input. It is given what to prompt with."""


async def next_message(read: ReadPrompted, prompt: str) -> str | None:
    """Return the next message, None at the end of the input.

    It is a line; a backslash at its end goes on in the next one, and lines between two lines of `\"\"\"` are one.
    """
    line = await read(prompt)
    if line is None:
        return None
    if line.strip() == FENCE:
        return await _fenced(read)
    lines = [line]
    while lines[-1].endswith("\\") and (more := await read("... ")) is not None:
        lines[-1] = lines[-1][:-1]
        lines.append(more)
    return "\n".join(lines)


async def _fenced(read: ReadPrompted) -> str:
    lines: list[str] = []
    while (line := await read("... ")) is not None and line.strip() != FENCE:
        lines.append(line)
    return "\n".join(lines)


async def typed(prompt: str) -> str | None:
    """Return the terminal's next line."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = await read_line()
    if line is not None and os.name != "nt" and len(line.encode("utf-8", "replace")) >= TERMINAL_LINE:
        sys.stderr.write(f"{CUT_LINE}\n")
    return line


class PipedLines:
    """The lines of an input that is no terminal. Cancelling a wait leaves no thread behind."""

    def __init__(self) -> None:
        self._held = b""
        self._is_over = False

    async def read(self, prompt: str) -> str | None:  # noqa: ARG002  # nobody sees it
        """Return the next line without its end, None at the end of the input."""
        while b"\n" not in self._held and not self._is_over:
            piece = await self._piece()
            self._held, self._is_over = self._held + piece, not piece
        if not self._held:
            return None
        line, _, rest = self._held.partition(b"\n")
        self._held = rest
        return as_text(line.removesuffix(b"\r"), sys.stdin.encoding or "utf-8")

    async def _piece(self) -> bytes:
        if os.name == "nt":
            return await anyio.to_thread.run_sync(os.read, sys.stdin.fileno(), PIECE, abandon_on_cancel=True)
        with suppress(OSError):  # a file is always readable, and cannot be waited for
            await anyio.wait_readable(sys.stdin.fileno())
        return os.read(sys.stdin.fileno(), PIECE)
