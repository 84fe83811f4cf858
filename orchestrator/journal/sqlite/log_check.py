"""Whether commits in SQLite's write-ahead log can still be read.

SQLite reads the log up to the first frame whose checksum is wrong and leaves out the rest without a word. That is right
for the end of a log that a crash cut off, and wrong for a log that was damaged later: commits that were on disk vanish.

The two can be told apart. A commit is on disk before the next one is begun, and before the index of the log (`-shm`)
counts it. So a frame that does not fit, with anything of this log after the end of its transaction or with an index
that counts it, was whole once. Frames of an earlier use of the same file bear other salts.
"""

from __future__ import annotations

import struct
import sys
import time
from array import array
from pathlib import Path
from typing import NamedTuple

from orchestrator.journal.sqlite.holder import is_open_here

HEADER, FRAME = 32, 24
MAGIC = 0x377F0682
"""The last bit says whether checksums are made of big-endian words."""
MOST_SUMMED = 64 * 1024 * 1024
"""Bytes of a log whose checksums are computed: about a second. Of a larger one only the ends are compared."""
AGAIN, AGAIN_S = 1, 0.03
"""Another process may be writing while the log is read: what looks damaged is read again."""


class LogIndex(NamedTuple):
    """What the index says: how many frames are committed, and the salts of their log."""

    frames: int
    salts: bytes


def damage_of(path: Path) -> str | None:
    """Return what is wrong with the log of the database at `path`; None where no commit is lost."""
    seen = _look(path)
    for _ in range(AGAIN):
        if seen is None or seen[0] is None:
            return None
        time.sleep(AGAIN_S)
        again = _look(path)
        if again is None or again[1] != seen[1]:
            return None  # it is in use: whoever uses it has read it
        seen = again
    return None if seen is None else seen[0]


def _look(path: Path) -> tuple[str | None, bytes] | None:
    """Return what is wrong, and the log's header."""
    index = _index_of(path)  # before the log, which only grows meanwhile
    try:
        with Path(f"{path}-wal").open("rb") as file:
            log = file.read(MOST_SUMMED + HEADER)
    except OSError:
        return None
    return log_damage(log, index), log[:HEADER]


def _index_of(path: Path) -> LogIndex | None:
    index = Path(f"{path}-shm")
    if is_open_here(index):  # SQLite goes by it already, and its locks are on this file
        return None
    try:
        with index.open("rb") as file:
            return read_index(file.read(96))
    except OSError:
        return None


def read_index(data: bytes) -> LogIndex | None:
    """Return what the first 96 bytes of an index say: two equal copies, else it was being written."""
    if len(data) < 96 or data[:48] != data[48:96] or not data[12]:
        return None
    return LogIndex(struct.unpack_from("=I", data, 16)[0], data[32:40])


def log_damage(log: bytes, index: LogIndex | None) -> str | None:
    """Return what is wrong with a log, None where at most its end was cut off by a crash. Pure."""
    if len(log) < HEADER + FRAME:
        lost = index is not None and len(log) >= HEADER and index.salts == log[16:24] and index.frames > 0
        return "commits are missing from its log" if lost else None
    magic, _, size = struct.unpack_from(">III", log)
    order = "big" if magic & 1 else "little"
    start = _sums(log[: HEADER - 8], (0, 0), order)
    if magic & ~1 != MAGIC or start != struct.unpack_from(">II", log, HEADER - 8):
        return _header_damage(log)
    if not 512 <= size <= 65536:
        return None
    salts, whole, end, is_whole, was_committed = log[16:24], 0, start, True, False
    for number, place in enumerate(range(HEADER, len(log) - FRAME - size + 1, FRAME + size), 1):
        commits = struct.unpack_from(">I", log, place + 4)[0] != 0
        if log[place + 8 : place + 16] != salts:
            is_whole = False
            continue
        if was_committed:
            return "commits in its log are not what was written"
        if is_whole:
            end = _sums(log[place : place + 8], end, order)
            end = _sums(log[place + FRAME : place + FRAME + size], end, order)
            is_whole = end == struct.unpack_from(">II", log, place + 16)
        if is_whole:
            whole = number if commits else whole
        else:
            was_committed = commits
    if index is not None and index.salts == salts and index.frames > whole and len(log) < MOST_SUMMED:
        return "commits in its log are not what was written, or missing"
    return None


def _header_damage(log: bytes) -> str | None:
    """Return what is wrong with a log whose header does not fit. One that was being renewed has lost nothing."""
    ours, theirs = struct.unpack_from(">II", log, 16), struct.unpack_from(">II", log, HEADER + 8)
    if not any(theirs):
        return None
    is_renewed = ours[0] == (theirs[0] + 1) & 0xFFFFFFFF and ours[1] != theirs[1]
    return None if is_renewed else "the header of its log is not what was written"


def _sums(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    """Return the checksum of SQLite's log over `data`, whose length is a multiple of 8, after what came before."""
    words = array("I", data)
    if order != sys.byteorder:
        words.byteswap()
    one, two = before
    pairs = iter(words)
    for first, second in zip(pairs, pairs, strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
