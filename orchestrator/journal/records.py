"""What of a record every store on a disk keeps alike: how large a text may be, and what a row says beside it. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from agents.events import TurnStarted
from orchestrator.events import Event, RunEdited, RunFinished, RunForked, RunResumed, RunStarted
from orchestrator.journal.codec import Bodies, Packed, pack, recorded_name
from orchestrator.journal.protocols import JournalError, JournalUnusable
from orchestrator.journal.spent import BilledEvent, billed
from providers.messages import Response

FAST = 1
"""The level of compression: half the bytes of prose for some microseconds a kilobyte."""
LARGEST = 64 * 1024 * 1024
"""Bytes of one text: none that is larger is recorded, nor read."""
LONGEST_ID = 200


class EventRow(NamedTuple):
    """An event ready to be written."""

    path: str
    turn: int
    number: int
    at: float
    data: bytes
    bodies: Bodies
    status: str | None
    cost: int | None
    bill: BilledEvent | None
    is_fork: bool
    """Whether another run paid for all before it."""
    kind: str
    """The name of its class as it is recorded."""
    agent: str | None
    """Who has the turn that it begins."""


def rows_of(events: Sequence[Event]) -> list[EventRow]:
    rows = []
    for event in events:
        data, bodies = packed(event.data)
        status, cost = _status(event.data)
        bill, is_fork = billed(event.data), isinstance(event.data, RunForked)
        kind, agent = recorded_name(type(event.data)), event.data.agent if isinstance(event.data, TurnStarted) else None
        place = (event.path, event.turn, event.seq, event.at)
        rows.append(EventRow(*place, data, bodies, status, cost, bill, is_fork, kind, agent))
    return rows


def texts_of(rows: Iterable[EventRow]) -> list[Bodies]:
    """Return the texts of the events: most have none."""
    return [row.bodies for row in rows if row.bodies]


def _status(payload: Any) -> tuple[str | None, int | None]:
    if isinstance(payload, RunFinished):
        return payload.status, payload.cost
    return ("running", None) if isinstance(payload, RunStarted | RunEdited | RunResumed) else (None, None)


def spent_in(result: Any) -> tuple[int | None, int | None]:
    """Return the tokens and the micro-USD that a step took; None where it is no model's answer."""
    return (result.usage.total, result.cost) if isinstance(result, Response) else (None, None)


def packed(value: Any) -> Packed:
    """Return the value as a record. Raise `JournalError` for what none can hold."""
    try:
        found = pack(value)
    except TypeError as error:
        raise JournalError(f"this cannot be kept in a journal: {error}") from error
    if (largest := max(map(len, found.bodies.values()), default=0)) > LARGEST:
        raise JournalError(f"this cannot be kept in a journal: a text of {largest:,} bytes, more than {LARGEST:,}")
    return found


def inflated(data: bytes) -> bytes:
    """Return a compressed text. Raise `zlib.error`, and `JournalUnusable` for one that would be above `LARGEST`."""
    decompressor = zlib.decompressobj()
    body = decompressor.decompress(data, LARGEST)
    if decompressor.unconsumed_tail:
        raise JournalUnusable(f"a text in it is larger than {LARGEST // 1024**2} MiB")
    if not decompressor.eof:
        raise zlib.error("it is cut off")
    return body


def is_good_id(run: str) -> bool:
    """Return whether the id can name a file."""
    names_a_file = run not in (".", "..") and run.isprintable() and "/" not in run and "\\" not in run
    return 0 < len(run) <= LONGEST_ID and names_a_file


def refuse_bad_id(run: str) -> None:
    """Raise `JournalUnusable` for an id that names no file: locks, folders and exports are called by it."""
    if not is_good_id(run):
        raise JournalUnusable(
            f"{run[:60]!r} is not the id of a run: up to {LONGEST_ID} letters, digits, '.', '_' and '-'"
        )
