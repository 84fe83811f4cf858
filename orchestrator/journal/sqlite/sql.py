"""The rows of the SQLite journal: how a record is sealed and read back, and what the writing connection knows of them.

Only the writer's thread touches `Rows`, inside its transaction. What it remembers of the database saves most of the
questions it would ask; whatever another connection commits makes it forget.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from orchestrator.journal.codec import Bodies, Packed
from orchestrator.journal.protocols import Fence, Fenced, RunManifest, StepRecord
from orchestrator.journal.records import FAST, EventRow, packed, spent_in
from orchestrator.journal.sqlite.bills import forget_bills, insert_bill, number_in
from orchestrator.journal.sqlite.bodies import JournalConnection
from orchestrator.journal.sqlite.sealing import seal, unpacked
from orchestrator.units import Unit, text_of

MOST_REMEMBERED = 20_000
"""Entries of each kind: a few MB."""
MOST_READ_AHEAD = 1000
"""Results of one unit that are read when it is claimed again."""


class DoneStep(NamedTuple):
    """A step that has its result."""

    request_hash: bytes
    result: Any


class StepRow(NamedTuple):
    """An ended step of another run, or of another unit, ready to be written."""

    path: str
    key: str
    request_hash: bytes
    packed: Packed
    tokens: int | None
    cost: int | None

    @classmethod
    def of(cls, step: StepRecord) -> StepRow:
        return cls(
            step.unit.path, text_of(step.unit, step.key), step.request_hash, packed(step.result), *spent_in(step.result)
        )


class ClaimState(NamedTuple):
    """Who holds a unit, and whether it has ended."""

    fence: Fence
    ended: bool


class Rows:
    """Writes rows. `places` and `runs` are the ids of names, `_bodies` digests of texts that are stored."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._runs: dict[str, int] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._claims: dict[int, ClaimState] = {}
        self._last: dict[int, int] = {}
        """The sequence number of each run's last event."""
        self._names: dict[str, int] = {}
        self._bodies: set[bytes] = set()
        self._ready: dict[bytes, bytes] = {}

    def make_ready(self, texts: Iterable[Bodies]) -> None:
        """Compress what the next transaction is to keep. That takes time, in which others may write."""
        self._ready.clear()
        for bodies in texts:
            for digest, body in bodies.items():
                if digest not in self._bodies and digest not in self._ready:
                    self._ready[digest] = zlib.compress(body, FAST)

    def begin(self, db: sqlite3.Connection) -> None:
        """Start a transaction: what was remembered holds only where no other connection has written since."""
        (version,) = db.execute("PRAGMA data_version").fetchone()
        if isinstance(db, JournalConnection):
            db.inflated = 0
        if version != self._version:
            self.forget()
            self._version = version
        for kind in (self._runs, self._places, self._claims, self._last, self._names, self._bodies):
            if len(kind) > MOST_REMEMBERED:
                kind.clear()

    def forget(self) -> None:
        """Remember nothing: the transaction that made it was undone, or rows were taken away."""
        self._version = None
        for kind in (self._runs, self._places, self._claims, self._last, self._names, self._bodies):
            kind.clear()

    def insert_run(self, db: sqlite3.Connection, run: str, manifest: RunManifest, data: bytes) -> int:
        row = (run, manifest.squad, manifest.created_at, data, seal(data, run), "running")
        query = "INSERT INTO runs (run, squad, created_at, about, seal, status) VALUES (?, ?, ?, ?, ?, ?)"
        found = db.execute(query, row).lastrowid
        assert found is not None, "an inserted row has an id"
        return found

    def edit_run(self, db: sqlite3.Connection, run: str, manifest: RunManifest, data: bytes) -> None:
        """Write what a run is made of from now on."""
        of = self.run(db, run)
        query = "INSERT INTO edits SELECT :run, coalesce(max(number), 0) + 1, :about, :seal FROM edits WHERE run = :run"
        db.execute(query, {"run": of, "about": data, "seal": seal(data, run)})
        db.execute("UPDATE runs SET squad = ? WHERE id = ?", (manifest.squad, of))

    def take_over(self, db: sqlite3.Connection, run: str, steps: Sequence[StepRow]) -> None:
        """Write steps as if they had ended in their units. A result that is there stays."""
        for step in steps:
            place, (data, bodies) = self.place(db, run, step.path), step.packed
            self.keep(db, bodies)
            row = (place, step.key, data, seal(data, step.key), step.tokens, step.cost)
            if db.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?)", row).rowcount:
                # The latest attempt's request is the step's: one that was begun here may have asked something else.
                query = "INSERT INTO intents SELECT :unit, :key, coalesce(max(attempt), 0) + 1, :hash FROM intents "
                query += "WHERE unit = :unit AND key = :key"
                db.execute(query, {"unit": place, "key": step.key, "hash": step.request_hash})

    def make_final(self, db: sqlite3.Connection, run: str, units: Collection[Unit]) -> None:
        """Let no later claim get these units, however they stand."""
        for unit in units:
            place = self.place(db, run, unit.path)
            db.execute("INSERT OR IGNORE INTO ends VALUES (?)", (place,))
            self._claims[place] = ClaimState(self.claim_state(db, place).fence, True)

    def run(self, db: sqlite3.Connection, run: str) -> int:
        if (found := self._runs.get(run)) is None:
            row = db.execute("SELECT id FROM runs WHERE run = ?", (run,)).fetchone()
            found = row[0] if row else self.insert_run(db, run, RunManifest(""), packed(RunManifest("")).data)
            self._runs[run] = found
        return found

    def place(self, db: sqlite3.Connection, run: str, path: str) -> int:
        """Return the id of a place in a run."""
        if (found := self._places.get((run, path))) is None:
            of = self.run(db, run)
            made = db.execute("INSERT OR IGNORE INTO places (run, path) VALUES (?, ?)", (of, path))
            if made.rowcount:
                assert made.lastrowid is not None, "an inserted row has an id"
                found = made.lastrowid
            else:
                (found,) = db.execute("SELECT id FROM places WHERE run = ? AND path = ?", (of, path)).fetchone()
            self._places[run, path] = found
        return found

    def claim_state(self, db: sqlite3.Connection, place: int) -> ClaimState:
        if (found := self._claims.get(place)) is None:
            query = """
                SELECT (SELECT coalesce(max(fence), 0) FROM claims WHERE unit = :unit),
                EXISTS (SELECT 1 FROM ends WHERE unit = :unit)
                """
            fence, ended = db.execute(query, {"unit": place}).fetchone()
            found = self._claims[place] = ClaimState(fence, bool(ended))
        return found

    def claim(self, db: sqlite3.Connection, run: str, path: str, owner: str) -> Fence | None:
        place = self.place(db, run, path)
        held = self.claim_state(db, place)
        if held.ended:
            return None
        db.execute("INSERT INTO claims VALUES (?, ?, ?)", (place, held.fence + 1, owner))
        self._claims[place] = ClaimState(held.fence + 1, False)
        return held.fence + 1

    def done(self, db: sqlite3.Connection, run: str, path: str) -> dict[str, DoneStep]:
        """Return the steps that earlier owners of the unit finished, by key; not all of a unit that has very many."""
        place = self.place(db, run, path)
        if not self.claim_state(db, place).fence:
            return {}
        query = """
            SELECT key, (
                SELECT hash FROM intents i WHERE i.unit = r.unit AND i.key = r.key ORDER BY attempt DESC LIMIT 1
            ), data, seal FROM results r WHERE unit = ? LIMIT ?
            """
        found = db.execute(query, (place, MOST_READ_AHEAD)).fetchall()
        return {key: DoneStep(hash_, unpacked(db, sealed, key)) for key, hash_, *sealed in found}

    def held(self, db: sqlite3.Connection, run: str, path: str, fence: Fence) -> int:
        """Return the unit's place. Raise `Fenced` where `fence` no longer holds it."""
        place = self.place(db, run, path)
        if fence < 1 or self.claim_state(db, place) != (fence, False):
            raise Fenced(f"{path} is no longer held under fence {fence}")
        return place

    def end(self, db: sqlite3.Connection, run: str, path: str, fence: Fence) -> None:
        place = self.held(db, run, path, fence)
        db.execute("INSERT INTO ends VALUES (?)", (place,))
        self._claims[place] = ClaimState(fence, True)

    def record(self, db: sqlite3.Connection, run: str, rows: Sequence[EventRow]) -> None:
        """Write the events after those of the run so far. One whose id is recorded is ignored."""
        if not rows:
            return
        of = self.run(db, run)
        if (seq := self._last.get(of)) is None:
            (seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM events WHERE run = ?", (of,)).fetchone()
        for row in rows:
            place = self.place(db, run, row.path)
            sealed = seal(row.data, seq + 1, row.path, row.turn, row.number, row.at)
            given = (of, seq + 1, place, row.turn, row.number, row.at, row.data, sealed)
            new = db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", given).rowcount
            if new:
                seq += 1
                self.keep(db, row.bodies)
                if row.status is not None:
                    db.execute("UPDATE runs SET status = ?, cost = ? WHERE id = ?", (row.status, row.cost, of))
                if row.bill is not None:
                    number_of = partial(self.number, db)
                    insert_bill(db, number_of, of, place, row.path, seq, row.at, row.bill)
                elif row.is_fork:
                    forget_bills(db, of)
        self._last[of] = seq

    def number(self, db: sqlite3.Connection, name: str) -> int:
        """Return the number of a name of `bills`."""
        if (found := self._names.get(name)) is None:
            found = self._names[name] = number_in(db, name)
        return found

    def keep(self, db: sqlite3.Connection, bodies: Bodies) -> None:
        """Write the texts that are not there yet."""
        for digest, body in bodies.items():
            if digest in self._bodies:
                continue
            if db.execute("SELECT 1 FROM bodies WHERE digest = ?", (digest,)).fetchone() is None:
                # One is not ready if it was there, as far as was known, and another process has removed it.
                data = self._ready.get(digest) or zlib.compress(body, FAST)
                db.execute("INSERT INTO bodies VALUES (?, ?)", (digest, data))
            self._bodies.add(digest)
