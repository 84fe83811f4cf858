"""What was billed over all runs of a SQLite journal: a row for each bill, written with the event that says it.

A row is numbers alone, so that adding up a hundred thousand of them takes SQLite some hundredths of a second: names are
numbers of `names`, `at` is in microseconds, and `seal` a weighted sum of the others, which any flipped bit changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from orchestrator.journal.protocols import JournalDamaged
from orchestrator.journal.spent import QUARTER_S, BilledEvent, Spending, SpentBy, SpentRow, added_up, billed, full_name
from orchestrator.journal.sqlite.sealing import seal, unpacked
from orchestrator.units import place_of

MOST = 1 << 48
"""No figure is larger: their weighted sum stays a whole number in SQLite."""
FIGURES = (
    *("run", "seq", "at", "kind", "task", "agent", "provider", "model"),
    *("input", "output", "cached", "reasoning", "ifnull(cost, -1)"),
)
WEIGHTS = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
SUMS = """
    sum(kind = 0), sum(kind = 1), sum(input), sum(output), sum(cached), sum(reasoning), ifnull(sum(cost), 0),
    sum(cost IS NULL), sum(kind = 2)
    """
WRONG = "SELECT 1 FROM bills WHERE at >= ? AND seal IS NOT ({}) LIMIT 1".format(  # noqa: S608  # made of constants
    " + ".join(f"{figure} * {weight}" for figure, weight in zip(FIGURES, WEIGHTS, strict=True))
)
"""Apart from the sums: what is added up under names is sorted by them, and a column more costs half as much again."""
COLUMNS: dict[SpentBy, tuple[str, ...]] = {
    "provider": ("provider",),
    "model": ("provider", "model"),
    "agent": ("agent",),
    "squad": ("(SELECT r.squad FROM runs r WHERE r.id = bills.run)",),
    "run": ("run",),
    "task": ("task",),
    "quarter": (f"at / {QUARTER_S * 1_000_000}",),
}
NAMED = ("task", "agent", "provider", "model")
FIRST_VERSION = 3
"""Of the schema that has the tables."""


def begins(name: str) -> str:
    """Return a condition that holds for the records of one class."""
    head = f'{{"$":"{name}"'.encode()
    return f"substr(e.data, 1, {len(head)}) = x'{head.hex()}'"


_LOST = f"""({begins("AttemptEnded")} AND instr(e.data, x'{b'"usage":'.hex()}'))"""
_BEFORE = f"""
    SELECT r.id, p.path, p.id, e.seq, e.turn, e.number, e.at, e.data, e.seal
    FROM events e JOIN runs r ON r.id = e.run JOIN places p ON p.id = e.place
    WHERE ({begins("TurnEnded")} OR {begins("TextsEmbedded")} OR {_LOST})
    AND e.seq > coalesce((SELECT max(f.seq) FROM forks f WHERE f.run = e.run), 0)
    """  # noqa: S608  # made of constants
FORKS = f"SELECT e.run, e.seq FROM events e WHERE {begins('RunForked')}"  # noqa: S608  # as above
_AT_WORK = f"""
    SELECT p.path, e.seq, e.turn, e.number, e.at, e.data, e.seal FROM events e JOIN places p ON p.id = e.place
    WHERE e.place = ? AND e.seq < ? AND {begins("TurnStarted")} ORDER BY e.seq DESC LIMIT 1
    """  # noqa: S608  # as above
_INSERT = "INSERT OR REPLACE INTO bills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

NumberOf = Callable[[str], int]


def insert_bill(
    db: sqlite3.Connection,
    number_of: NumberOf,
    run: int,
    place: int,
    path: str,
    seq: int,
    at: float,
    of: BilledEvent,
) -> None:
    """Write what an event says was billed. `number_of` a name is as `number_in` has it."""
    unit, _ = place_of(path)
    agent = _agent_at(db, place, seq) if of.agent is None else of.agent
    names = ("" if unit is None else unit.task, agent, of.provider, of.model)
    figures = (of.input, of.output, of.cached, of.reasoning, -1 if of.cost is None else of.cost)
    row = [run, seq, int(at * 1_000_000), of.kind, *map(number_of, names), *(min(one, MOST) for one in figures)]
    sealed = sum(one * weight for one, weight in zip(row, WEIGHTS, strict=True))
    db.execute(_INSERT, (*row[:-1], None if of.cost is None else row[-1], sealed))


def forget_bills(db: sqlite3.Connection, run: int) -> None:
    """Delete the bills of a run so far: another one paid them."""
    db.execute("DELETE FROM bills WHERE run = ?", (run,))


def number_in(db: sqlite3.Connection, name: str) -> int:
    """Return the number of a name, which is entered where it is new."""
    query = "INSERT OR IGNORE INTO names (name, seal) VALUES (?, ?)"
    text = name.encode("utf-8", "surrogatepass")
    db.execute(query, (text, seal(text)))
    (found,) = db.execute("SELECT id FROM names WHERE name = ?", (text,)).fetchone()
    return int(found)


def _agent_at(db: sqlite3.Connection, place: int, seq: int) -> str:
    """Return the agent who had the turn at a place before an event."""
    if (row := db.execute(_AT_WORK, (place, seq)).fetchone()) is None:
        return ""
    path, number, turn, count, at, *sealed = row
    agent: str = unpacked(db, sealed, number, path, turn, count, at).agent
    return agent


def fill_bills(db: sqlite3.Connection) -> None:
    """Write the bills of the events of a journal that an earlier release wrote.

    One that cannot be read gets a seal that fits nothing: looking at what was spent then tells that it is damaged.
    """
    numbers: dict[str, int] = {}

    def number_of(name: str) -> int:
        if name not in numbers:
            numbers[name] = number_in(db, name)
        return numbers[name]

    for run, path, place, seq, turn, number, at, *sealed in db.execute(f"WITH forks AS ({FORKS}) {_BEFORE}"):
        try:
            of = billed(unpacked(db, sealed, seq, path, turn, number, at))
            if of is not None:
                insert_bill(db, number_of, run, place, path, seq, at, of)
        except JournalDamaged:
            db.execute(_INSERT, (run, seq, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1))


def spent(db: sqlite3.Connection, ways: Sequence[tuple[Sequence[SpentBy], float]]) -> list[list[SpentRow]]:
    """Return of each (by, since) what was spent since (epoch seconds UTC), added up. Raise `JournalDamaged`."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version < FIRST_VERSION:  # it may not be changed: the tables are there for this look alone
        db.execute("PRAGMA query_only = 0")
        fill_bills(db)
    first = min((since for _, since in ways), default=0.0)
    if db.execute(WRONG, (_micros(first),)).fetchone() is not None:
        raise JournalDamaged("a bill is not what was written")
    return [_spent(db, by, since) for by, since in ways]


def _spent(db: sqlite3.Connection, by: Sequence[SpentBy], since: float) -> list[SpentRow]:
    columns = [column for one in by for column in COLUMNS[one]]
    group = f"GROUP BY {', '.join(map(str, range(1, len(columns) + 1)))}" if columns else ""
    query = f"SELECT {', '.join([*columns, SUMS])} FROM bills WHERE at >= ? {group}"  # noqa: S608  # made of constants
    rows = [row for row in db.execute(query, (_micros(since),)) if row[len(columns)] is not None]
    names = _names(db) if {*columns} & {*NAMED} else {}
    runs = dict(db.execute("SELECT id, run FROM runs")) if "run" in by else {}

    def told(one: SpentBy, left: Iterator[Any]) -> str | int:
        match one:
            case "quarter":
                return int(next(left))
            case "squad":
                return str(next(left))
            case "run":
                return str(runs[next(left)])
            case "model":
                return full_name(names[next(left)], names[next(left)])
        return names[next(left)]

    found = []
    for row in rows:
        left = iter(row)
        found.append(SpentRow(tuple([told(one, left) for one in by]), Spending(*row[len(columns) :])))
    return added_up(found) if "model" in by else found  # others are told apart by SQLite


def _micros(at: float) -> int:
    return int(at * 1_000_000)


def _names(db: sqlite3.Connection) -> dict[int, str]:
    found = {}
    for number, text, sealed in db.execute("SELECT id, name, seal FROM names"):
        if not isinstance(text, bytes) or seal(text) != sealed:
            raise JournalDamaged("a name is not what was written")
        found[number] = text.decode("utf-8", "surrogatepass")
    return found
