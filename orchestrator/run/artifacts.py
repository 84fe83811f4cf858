"""The files that a run's tasks write: whose each one is, and what happens where the disk refuses it.

What a file holds is recorded with the turns that made it. So a fault of the disk costs nothing: the file is tried again
a few times, then its unit is suspended, and a resume writes it from the record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from agents.errors import AgentError, PathRefused
from agents.file_origins import OF_RUN
from agents.run_folder import FileTaken, RunFolder
from orchestrator.errors import CannotWrite
from orchestrator.events import ArtifactWritten, FileKept
from orchestrator.squad.schemas import path_fault, same_file
from orchestrator.units import Unit
from providers.documents.unicode import clean
from providers.emit import Emit, ignore

RETRIES_S = (0.02, 0.06, 0.2)
"""Waits before a file is tried once more: most faults of a disk are over by then, or stay until a person acts."""


class FileRefused(Exception):
    """A file cannot be written now. The message says which and why, and what helps."""


@dataclass(slots=True)
class Artifacts:
    """The files of one run. `folder` None: they stay in memory."""

    folder: RunFolder | None = None
    pause: Callable[[float], Awaitable[None]] = anyio.sleep
    note: Emit = ignore
    """Is told which files of others were put aside or left alone."""
    written: dict[str, str] = field(default_factory=dict)
    """Path in the run's folder -> SHA-256 of what was written there."""
    texts: dict[str, str] = field(default_factory=dict)
    """The files themselves, where there is no folder, or the disk refused them."""
    _owners: dict[str, Unit] = field(default_factory=dict)
    """File -> the unit that writes it."""
    _there: dict[str, str] = field(default_factory=dict)
    """Path -> SHA-256 of what this process saw to."""

    def claim(self, path: str, unit: Unit) -> None:
        """Raise `CannotWrite` where `path` is no path in the run's folder, or the file is another unit's."""
        unit = unit._replace(attempt=1)  # a revision writes the same file
        owner = self._owners.setdefault(same_file(path), unit)
        fault = path_fault(path) or (f"it is the file of {owner.path}" if owner != unit else "")
        if not fault and self.folder is not None:
            fault = self.folder.fault(path)
        if fault:
            raise CannotWrite(f"output_file {path!r}", fault)

    async def look(self, path: str) -> None:
        """Raise `FileRefused` where somebody else's file stands at `path`, and `PathEscapes` where a link lies on the
        way: known before anything is paid for."""
        if self.folder is None:
            return
        try:
            await anyio.to_thread.run_sync(self.folder.check, path)
        except FileTaken as taken:
            if not taken.is_edited:
                raise FileRefused(_told(self.folder, path, taken)) from taken
        except (OSError, PathRefused):
            return  # whether it can be written is seen when it is

    async def write(self, path: str, text: str, emit: Emit, untrusted: tuple[str, ...] = ()) -> None:
        """Write a file and say so; `untrusted` are the sources of what others wrote in it. Raises `FileRefused`."""
        text = clean(text)
        data = text.encode()
        made = ArtifactWritten(path, hashlib.sha256(data).hexdigest(), len(data), text)
        await self._put(made, data)
        emit(made)
        if self.folder is not None:
            self.folder.origins.note(OF_RUN, path, untrusted)

    async def take_over(
        self, unit: Unit, made: ArtifactWritten, *, is_at_work: bool = False, retries: Sequence[float] = RETRIES_S
    ) -> None:
        """Count a file that an earlier process wrote, and write it again where it is gone. Raises `FileRefused`.

        One that somebody changed meanwhile is left as it is. A unit `is_at_work` writes its file itself.
        """
        self._owners.setdefault(same_file(made.path), unit._replace(attempt=1))
        if not is_at_work and not await self._is_kept(made):
            await self._put(made, made.text.encode(), retries)
        self.written[made.path] = made.sha256

    def hear(self, happened: Iterable[object]) -> None:
        """Count the files that units wrote in other processes."""
        for made in happened:
            if isinstance(made, ArtifactWritten):
                self.written[made.path] = made.sha256
                if self.folder is None:
                    self.texts[made.path] = made.text

    async def _is_kept(self, made: ArtifactWritten) -> bool:
        """Return whether what stands there is a person's own by now."""
        if self.folder is None:
            return False
        try:
            await anyio.to_thread.run_sync(self.folder.check, made.path, made.sha256)
        except AgentError:
            self.note(FileKept(made.path))
            return True
        except OSError:
            return False  # seen when it is written
        return False

    async def _put(self, made: ArtifactWritten, data: bytes, retries: Sequence[float] = RETRIES_S) -> None:
        """Let the file stand in the run's folder, where there is one. What is there already is left alone."""
        if self.folder is None:
            self.texts[made.path] = made.text
        elif self._there.get(made.path) != made.sha256:
            self.texts[made.path] = made.text  # for who embeds the run: a refused file is not lost with it
            await self._try(self.folder, made.path, data, retries)
            del self.texts[made.path]
            self._there[made.path] = made.sha256
        self.written[made.path] = made.sha256

    async def _try(self, folder: RunFolder, path: str, data: bytes, retries: Sequence[float]) -> None:
        for wait in (*retries, None):
            try:
                aside = await anyio.to_thread.run_sync(_written, folder, path, data)
            except AgentError as error:
                raise FileRefused(_told(folder, path, error)) from error
            except OSError as error:
                if wait is None:
                    raise FileRefused(_told(folder, path, error)) from error
                await self.pause(wait)
            else:
                if aside is not None:
                    self.note(FileKept(path, aside))
                return


def _written(folder: RunFolder, path: str, data: bytes) -> str | None:
    """Write a file of the run. One that somebody changed is put aside first: return its new name."""
    aside = None
    try:
        folder.write(path, data)
    except FileTaken as taken:
        if not taken.is_edited:
            raise
        aside = folder.put_aside(path)
        folder.write(path, data)
    return aside


def _told(folder: RunFolder, path: str, error: AgentError | OSError) -> str:
    """Return which file cannot be written, why, and what helps."""
    match error:
        case FileTaken():
            why = "it exists, and this run did not write it: move it away, or resume with --overwrite or another --out"
        case AgentError():
            why = getattr(error, "reason", str(error))
        case _:
            why = error.strerror or str(error) or type(error).__name__
    return f"{folder.root / path} cannot be written: {why}"
