"""The second half of a writing transaction: all changes, a statement a table, in the commit's round trip."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.journal.postgres.connecting import PostgresConnection
from orchestrator.journal.postgres.deciding import Loaded, RowChanges, RowKey
from orchestrator.journal.postgres.loading import asked, columns
from orchestrator.journal.records import FAST

_BODIES = "INSERT INTO orchestrator.bodies SELECT * FROM unnest(%b::bytea[], %b::bytea[]) ON CONFLICT DO NOTHING"
_USES = "INSERT INTO orchestrator.uses SELECT * FROM unnest(%b::bigint[], %b::bytea[]) ON CONFLICT DO NOTHING"
_PLACES = """
    INSERT INTO orchestrator.places SELECT * FROM unnest(%b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[])
    ON CONFLICT DO NOTHING
    """
_MANIFESTS = "INSERT INTO orchestrator.manifests SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[])"
_EVENTS = """
    INSERT INTO orchestrator.events SELECT * FROM unnest(
        %b::bigint[], %b::bigint[], %b::bytea[], %b::bigint[], %b::bigint[], %b::float8[], %b::text[], %b::bytea[]
    )
    """
_UNITS = """
    INSERT INTO orchestrator.units SELECT run, unit, path, fence, ended, owner, CASE WHEN claimed THEN now() END
    FROM unnest(%b::bigint[], %b::bytea[], %b::bytea[], %b::bigint[], %b::boolean[], %b::bytea[], %b::boolean[])
    AS x (run, unit, path, fence, ended, owner, claimed)
    ON CONFLICT (run, unit) DO UPDATE SET fence = excluded.fence, ended = excluded.ended, owner = excluded.owner,
    claimed_at = coalesce(excluded.claimed_at, units.claimed_at)
    """
_STEPS = """
    INSERT INTO orchestrator.steps SELECT * FROM unnest(
        %b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bigint[], %b::bigint[], %b::bigint[],
        %b::bytea[], %b::bigint[], %b::bigint[]
    )
    ON CONFLICT (run, step) DO UPDATE SET hash = excluded.hash, attempts = excluded.attempts,
    in_flight = excluded.in_flight, given_up = excluded.given_up, data = excluded.data, tokens = excluded.tokens,
    cost = excluded.cost
    """
_SIGNALS = """
    INSERT INTO orchestrator.signals (run, key, name, data)
    SELECT * FROM unnest(%b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[])
    """
_REPORTS = """
    INSERT INTO orchestrator.reports SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[], %b::bytea[])
    """
_TAKEN = """
    DELETE FROM orchestrator.reports r USING unnest(%b::bigint[], %b::bigint[]) AS x (run, number)
    WHERE r.run = x.run AND r.number <= x.number
    """
_UNHELD = """
    DELETE FROM orchestrator.holds h USING unnest(%b::bigint[], %b::text[]) AS x (run, id)
    WHERE h.run = x.run AND h.id = x.id
    """
_FORGOTTEN = "DELETE FROM orchestrator.bills WHERE run = ANY(%b::bigint[])"
_BILLS = """
    INSERT INTO orchestrator.bills SELECT * FROM unnest(
        %b::bigint[], %b::bigint[], %b::float8[], %b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[],
        %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[]
    )
    """
_RUNS = """
    UPDATE orchestrator.runs r SET squad = x.squad, created_at = CASE WHEN x.is_new THEN x.created_at ELSE r.created_at
    END, status = x.status, cost = x.cost, last_seq = x.last_seq, edits = x.edits, asked = x.asked,
    cancelled = x.cancelled, reports = x.reports, told = x.told
    FROM unnest(
        %b::bigint[], %b::bytea[], %b::float8[], %b::boolean[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[],
        %b::boolean[], %b::boolean[], %b::bigint[], %b::boolean[]
    ) AS x (id, squad, created_at, is_new, status, cost, last_seq, edits, asked, cancelled, reports, told)
    WHERE r.id = x.id
    """
_UNUSED = "DELETE FROM orchestrator.runs WHERE id = ANY(%b::bigint[])"
_MARK = "INSERT INTO orchestrator.commits (mark) VALUES (%s)"
_OLD_MARKS = "DELETE FROM orchestrator.commits WHERE mark = ANY(%b::bytea[])"

MOST_REMEMBERED = 50_000
"""Entries of each kind: some 10 MB."""


@dataclass(slots=True)
class Remembered:
    """What was committed and needs no second insert. It stays true: a run that is made anew has another id, and what a
    run uses is not removed before the run."""

    runs: set[str] = field(default_factory=set)
    places: set[RowKey] = field(default_factory=set)
    uses: set[RowKey] = field(default_factory=set)
    bodies: set[bytes] = field(default_factory=set)
    """Digests of texts that were sent: they are compressed no second time, unless it turns out that they are needed."""

    def add(self, rows: Loaded, changes: RowChanges) -> None:
        """Take note of what was committed."""
        for kind in (self.runs, self.places, self.uses, self.bodies):
            if len(kind) > MOST_REMEMBERED:
                kind.clear()
        self.runs.update(run.run for run in rows.runs.values() if run.is_used or not run.is_new)
        self.places.update(changes.places)
        self.uses.update(changes.uses)
        self.bodies.update(changes.bodies)


async def store(
    connection: PostgresConnection,
    rows: Loaded,
    changes: RowChanges,
    unused: Sequence[int],
    remembered: Remembered,
    compressed: Mapping[bytes, bytes],
) -> None:
    """Write the changes of a transaction, within a pipeline. `compressed` are texts that were made ready."""
    uses = sorted(changes.uses - remembered.uses)
    new = {digest for _, digest in uses}
    tables: list[tuple[str, Iterable[Sequence[Any]]]] = [
        (_BODIES, [(one, compressed.get(one) or zlib.compress(changes.bodies[one], FAST)) for one in sorted(new)]),
        (_USES, uses),
        (_PLACES, _places(changes, remembered)),
        (_MANIFESTS, changes.manifests),
        (_EVENTS, [(*at, row.turn, row.number, row.at, row.kind, row.data) for *at, row in changes.events]),
        (_UNITS, _units(rows, changes)),
        (_STEPS, _steps(rows, changes)),
        (_SIGNALS, changes.signals),
        (_REPORTS, changes.reports),
        (_TAKEN, changes.taken),
        (_UNHELD, changes.unheld),
        (_FORGOTTEN, [(run,) for run in changes.forgotten]),
        (_BILLS, changes.bills),
        (_RUNS, _runs(rows)),
        (_UNUSED, [(run,) for run in unused]),
    ]
    for statement, found in tables:
        if given := columns(found):
            await asked(connection, statement, *given)


async def mark_commit(connection: PostgresConnection, mark: bytes, old: Sequence[bytes]) -> None:
    """Write that this transaction was committed, and forget `old` ones. Whoever loses the connection asks for it."""
    await asked(connection, _MARK, mark)
    if old:
        await asked(connection, _OLD_MARKS, list(old))


def _places(changes: RowChanges, remembered: Remembered) -> list[tuple[Any, ...]]:
    new = sorted(key for key in changes.places if key not in remembered.places)
    return [(*key, changes.places[key].unit, changes.places[key].place.text) for key in new]


def _units(rows: Loaded, changes: RowChanges) -> Iterable[tuple[Any, ...]]:
    for key in changes.units:
        unit = rows.units[key]
        yield *key, unit.path, unit.fence, unit.ended, unit.owner, unit.is_claimed


def _steps(rows: Loaded, changes: RowChanges) -> Iterable[tuple[Any, ...]]:
    for key in changes.steps:
        step = rows.steps[key]
        counts = (step.attempts, step.in_flight, step.given_up)
        yield *key, step.unit, step.name, step.hash, *counts, step.data, step.tokens, step.cost


def _runs(rows: Loaded) -> Iterable[tuple[Any, ...]]:
    for run in rows.runs.values():
        if run.is_changed:
            counts = (run.cost, run.last_seq, run.edits)
            states = (run.asked, run.cancelled, run.reports, run.told)
            yield run.id, run.squad, run.created_at, run.is_new, run.status, *counts, *states
