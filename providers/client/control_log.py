"""What operators have changed, as a file that processes share: a line for each change, the last of which holds.

A change is one line that is added, so it is there or it is not; a line that a killed process left unfinished counts as
none. Nothing is ever taken out: the file is the audit as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from providers.limits.ledger.private import make_private_file, make_private_folder
from providers.routing.control import NOTHING_SET, RoutingControl

FILE = "provider-changes.jsonl"
TAIL_BYTES = 1 << 16
MOST_BYTES = 1 << 20
"""Of one line: what all is set fits many times."""
FileStamp = tuple[int, int, int]


class StaleVersion(Exception):  # as `RunBusy`
    """Somebody else has changed something since: what is set now is `present`."""

    def __init__(self, expected: int, present: RoutingControl) -> None:
        super().__init__(f"this was changed meanwhile: it is at version {present.version}, not at {expected}")
        self.present = present


class ControlDamaged(Exception):
    """The file cannot be read, so nobody knows what is set."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file} cannot be read: {why}")


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """One change: who made it, when (epoch seconds), why, and what was set before and after.

    `restores` is the version that it went back to; None: it is no undo. Its own number is `after.version`.
    """

    at: float
    by: str
    reason: str
    before: RoutingControl
    after: RoutingControl
    restores: int | None = None


class ControlLog:
    """The changes of one state folder. Every method may block for as long as another process writes a line."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE

    def stamp(self) -> FileStamp | None:
        """Return what differs after each change; None: nothing was ever changed."""
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns, found.st_ino

    def present(self) -> RoutingControl:
        """Return what is set now. Raise `ControlDamaged`."""
        try:
            with self.file.open("rb") as file:
                return self._latest(file)
        except FileNotFoundError:
            return NOTHING_SET
        except OSError as error:
            raise ControlDamaged(self.file, error.strerror or str(error)) from error

    def entries(self, most: int | None = None) -> list[ControlEntry]:
        """Return the changes, the latest first. Raise `ControlDamaged`."""
        try:
            lines = self.file.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ControlDamaged(self.file, error.strerror or str(error)) from error
        return [self._read(line) for line in reversed(lines[-most:] if most else lines)]

    def change(
        self, expected: int, make: Callable[[RoutingControl], RoutingControl], *, by: str, reason: str, now: float
    ) -> ControlEntry:
        """Record what `make` makes of what is set. Raise `StaleVersion` where that is another version, and
        `ControlDamaged`; what `make` raises comes through, with nothing changed."""
        return self._add(expected, lambda before: ControlEntry(now, by, reason, before, make(before)))

    def restore(self, expected: int, version: int, *, by: str, reason: str, now: float) -> ControlEntry:
        """Record a change back to what was set at `version`. Raise `LookupError` where there is none, and as `change`
        does."""

        def restored(before: RoutingControl) -> ControlEntry:
            was = self.at(version)
            return ControlEntry(now, by, reason, before, replace(was, version=before.version + 1), version)

        return self._add(expected, restored)

    def at(self, version: int) -> RoutingControl:
        """Return what was set at a version. Raise `LookupError` where there was none."""
        if version == 0:
            return NOTHING_SET
        found = (entry.after for entry in self.entries() if entry.after.version == version)
        if (was := next(found, None)) is None:
            raise LookupError(f"there is no version {version}")
        return was

    def _add(self, expected: int, make: Callable[[RoutingControl], ControlEntry]) -> ControlEntry:
        make_private_folder(self.file.parent)
        make_private_file(self.file)
        try:
            with self.file.open("r+b") as file, _locked(file):
                before = self._latest(file)
                if before.version != expected:
                    raise StaleVersion(expected, before)
                entry = make(before)
                file.truncate(_whole(file))  # what a killed process left of a line
                file.seek(0, os.SEEK_END)
                file.write(_line(entry))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ControlDamaged(self.file, error.strerror or str(error)) from error
        return entry

    def _latest(self, file: BinaryIO) -> RoutingControl:
        end = _whole(file)
        if end == 0:
            return NOTHING_SET
        size = TAIL_BYTES
        while True:
            start = max(0, end - size)
            file.seek(start)
            lines = file.read(end - start).split(b"\n")[:-1]
            if start == 0 or len(lines) > 1:
                return self._read(lines[-1]).after
            if size > MOST_BYTES:
                raise ControlDamaged(self.file, "its last line is too long")
            size *= 4

    def _read(self, line: bytes) -> ControlEntry:
        try:
            record: Mapping[str, Any] = json.loads(line)
            before, after = RoutingControl.read(record["before"]), RoutingControl.read(record["after"])
            return ControlEntry(record["at"], record["by"], record["reason"], before, after, record["restores"])
        except (ValueError, KeyError, TypeError) as error:
            raise ControlDamaged(self.file, f"a line of it is not a change ({error!r})") from error


class ControlFollower:
    """Tells what is set where that has changed since it was asked last: one look at a file, before each turn."""

    __slots__ = ("_log", "_seen")

    def __init__(self, log: ControlLog) -> None:
        self._log = log
        self._seen: FileStamp | None = None

    def news(self) -> RoutingControl | None:
        """Return what is set, None where nothing is new. A file that cannot be read changes nothing."""
        stamp = self._log.stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            return self._log.present()
        except ControlDamaged:
            return None


def _line(entry: ControlEntry) -> bytes:
    record = {
        "at": entry.at,
        "by": entry.by,
        "reason": entry.reason,
        "restores": entry.restores,
        "before": entry.before.to_json(),
        "after": entry.after.to_json(),
    }
    return json.dumps(record).encode() + b"\n"


def _whole(file: BinaryIO) -> int:
    """Return how many bytes of the file are whole lines."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - TAIL_BYTES)
        file.seek(start)
        if (at := file.read(end - start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0


@contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    """Let one process at a time write. Where the system has no such lock, two at once may take one version."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
