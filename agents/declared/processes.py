"""A command, bounded: no shell, no stdin, a small environment, capped output, and an end for all that it started."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, Process

LINGER_S = 1.0
"""So long the output of a command that has ended is waited for: what it left in the background may hold it open."""
OWN = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "TMPDIR", "SYSTEMROOT")
"""The variables that every command has; all others it has where its tool names them."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `exit_code` None: it was stopped, at its time limit or as it wrote too much (`is_cut`)."""

    exit_code: int | None
    out: bytes
    err: bytes
    is_cut: bool = False


@dataclass(slots=True)
class _Output:
    """What was written, to a stream or two, up to so many bytes in all."""

    room: int
    parts: dict[str, bytearray] = field(default_factory=lambda: {"out": bytearray(), "err": bytearray()})
    is_cut: bool = False

    async def read(self, name: str, stream: ByteReceiveStream | None, full: anyio.CancelScope) -> None:
        if stream is None:
            return
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            async for chunk in stream:
                kept = chunk[: self.room]
                self.parts[name] += kept
                self.room -= len(kept)
                if len(kept) < len(chunk):
                    self.is_cut = True
                    full.cancel()
                    return


def scrubbed(environ: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the variables that a command gets: a few that programs need, and those of these names."""
    return {name: environ[name] for name in (*OWN, *names) if name in environ}


async def run_process(
    argv: Sequence[str], folder: Path, environ: Mapping[str, str], *, timeout_s: float, max_bytes: int
) -> CommandResult:
    """Run a command to its end, or stop it with all that it started. Raise `OSError` where it cannot be started.

    It is stopped after `timeout_s`, once it has written more than `max_bytes`, and when this is cancelled.
    """
    from subprocess import DEVNULL, PIPE  # only a command needs it

    output, ended = _Output(max_bytes), False
    async with await anyio.open_process(
        list(argv), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd=folder, env=dict(environ), start_new_session=True
    ) as process:
        try:
            with anyio.move_on_after(timeout_s):
                await _heard(process, output)
                ended = not output.is_cut
        finally:
            _kill(process)
    out, err = bytes(output.parts["out"]), bytes(output.parts["err"])
    return CommandResult(process.returncode if ended else None, out, err, output.is_cut)


async def _heard(process: Process, output: _Output) -> None:
    """Read what the process writes until it has ended, and a moment longer."""

    async def end(reading: anyio.CancelScope) -> None:
        await process.wait()
        reading.deadline = anyio.current_time() + LINGER_S

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as reading:
            tasks.start_soon(end, reading)
            async with anyio.create_task_group() as readers:
                readers.start_soon(output.read, "out", process.stdout, reading)
                readers.start_soon(output.read, "err", process.stderr, reading)
        if output.is_cut:
            _kill(process)


def _kill(process: Process) -> None:
    """End the process and its group, where any of it is left."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.returncode is None:
        process.kill()
