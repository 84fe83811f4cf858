"""Whole answers that are kept: by the request that they answer and whose it is, for a while, so many of them.

Pure, but for its SQL.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any

from orchestrator.journal.codec import Bodies, Unreadable, pack, unpack
from providers.messages import FinishReason, Request, Response, ToolResult

EDITION = 1
"""Of what an answer is kept under: another one finds none of the old."""
MOST_ANSWERS = 10_000
MOST_BYTES = 256 << 20
MOST_OF_ONE = 1 << 20
"""Bytes of an answer that is kept."""
LONGEST_S = 30 * 86400.0
TABLE = """
CREATE TABLE answers (digest BLOB PRIMARY KEY, until REAL, used REAL, size INTEGER, answer BLOB);
CREATE INDEX answers_by_use ON answers (used);
"""


def digest_of(request: Request, model: str, whose: str, more: Any = ()) -> bytes:
    """Return under what the answer to a request is kept: all of it that changes the answer, and the key that asks."""
    asked = (
        request.messages,
        request.tools,
        request.tool_choice,
        request.output_schema,
        request.max_output_tokens,
        request.temperature,
        request.stop,
        request.seed,
        request.effort,
    )
    return hashlib.sha256(pack((EDITION, whose, model, more, asked)).data).digest()


def may_be_kept(request: Request, response: Response) -> bool:
    """Return whether an answer may be given again: it is whole, calls tools with arguments that can be read, and is of
    no transcript in which a tool failed."""
    if response.finish not in (FinishReason.STOP, FinishReason.TOOL_CALLS):
        return False
    results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
    return not any(result.is_error for result in results) and all(map(_is_sound, response.tool_calls))


def _is_sound(call: Any) -> bool:
    try:
        call.parse()
    except ValueError:
        return False
    return True


def packed(response: Response) -> bytes:
    """Return an answer as bytes."""
    made = pack(response)
    parts = [made.data, *(part for digest, body in made.bodies.items() for part in (digest, body))]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def unpacked(kept: bytes) -> Response | None:
    """Return the answer that bytes are of; None where this release cannot read it."""
    parts, at = [], 0
    while at < len(kept):
        end = at + 4 + int.from_bytes(kept[at : at + 4], "big")
        parts.append(kept[at + 4 : end])
        at = end
    bodies: Bodies = dict(zip(parts[1::2], parts[2::2], strict=False))
    try:
        found = unpack(parts[0], bodies.__getitem__)
    except (Unreadable, IndexError):
        return None
    return found if isinstance(found, Response) else None


def write_answers(
    db: sqlite3.Connection,
    answers: Mapping[bytes, tuple[float, bytes]],
    used: Mapping[bytes, float],
    now: float,
    most: tuple[int, int] = (MOST_ANSWERS, MOST_BYTES),
) -> None:
    """Keep answers, each until an instant, note which were `used` when, and forget what is too old, or more than the
    `most` answers and bytes: those first that were asked for longest ago."""
    db.executemany(
        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
        [(digest, until, now, len(answer), answer) for digest, (until, answer) in answers.items()],
    )
    db.executemany("UPDATE answers SET used = ? WHERE digest = ?", [(at, digest) for digest, at in used.items()])
    if not answers:
        return
    db.execute("DELETE FROM answers WHERE until <= ?", (now,))
    [(count, size)] = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM answers")
    while count > most[0] or size > most[1]:
        query = "DELETE FROM answers WHERE digest = (SELECT digest FROM answers ORDER BY used LIMIT 1) RETURNING size"
        [(each,)] = db.execute(query).fetchall()
        count, size = count - 1, size - each


def read_answer(db: sqlite3.Connection, digest: bytes, now: float) -> tuple[float, bytes] | None:
    """Return an answer that is kept, and until when; None: none is."""
    found = db.execute("SELECT until, answer FROM answers WHERE digest = ? AND until > ?", (digest, now)).fetchone()
    return None if found is None else (found[0], found[1])
