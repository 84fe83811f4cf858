"""What the gateway's clients spent: by key, tag, provider and model, a quarter of an hour at a time.

Pure, but for its SQL. Runs of squads are in the journal, too: their rows have the provider `orchestrator` and a model
`squad/NAME`, so that who adds up both can leave them out (`KeySpent.is_run`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from itertools import product
from typing import Literal, NamedTuple

from orchestrator.events.bills import Bill
from orchestrator.journal.spent import QUARTER_S, Spending, SpentRow, added_up, full_name

KeySpentBy = Literal["key", "tag", "provider", "model", "quarter"]
TABLE = """
CREATE TABLE spent (quarter INTEGER, key TEXT, tags TEXT, provider TEXT, model TEXT, turns INTEGER, lost INTEGER,
  input INTEGER, output INTEGER, cached INTEGER, reasoning INTEGER, cost INTEGER, unknown INTEGER, embedded INTEGER,
  hits INTEGER, PRIMARY KEY (quarter, key, tags, provider, model)) WITHOUT ROWID;
"""


class KeySpent(NamedTuple):
    """Whose spending it is: of a key with its tags, at a model, in a quarter of an hour (`QUARTER_S`)."""

    quarter: int
    key: str
    tags: tuple[str, ...]
    provider: str
    model: str

    @property
    def is_run(self) -> bool:
        """Whether it is of runs of a squad, whose turns the journal has, too."""
        return self.provider == "orchestrator"

    def names(self, by: KeySpentBy) -> Sequence[str | int]:
        """Return under which names it counts: under each of its tags, and under "" where it has none."""
        match by:
            case "tag":
                return self.tags or ("",)
            case "model":
                return (full_name(self.provider, self.model),)
        name: str | int = getattr(self, by)
        return (name,)


@dataclass(slots=True)
class KeySpending(Spending):
    """`hits` were answered by an answer that was kept, and cost nothing."""

    hits: int = 0

    def add(self, other: Spending) -> None:
        Spending.add(self, other)
        self.hits += getattr(other, "hits", 0)


FIGURES = tuple(one.name for one in fields(KeySpending))
KeySpentRows = dict[KeySpent, KeySpending]


def spending_of(bill: Bill, kind: Literal["turns", "lost", "embedded"]) -> KeySpending:
    """Return what one bill says."""
    usage = bill.usage
    made = KeySpending(
        input=usage.input + usage.cache_read + usage.cache_write,
        output=usage.output + usage.reasoning,
        cached=usage.cache_read,
        reasoning=usage.reasoning,
        cost=bill.cost or 0,
        unknown=int(bill.cost is None),
    )
    setattr(made, kind, 1)
    return made


def quarter_of(at: float) -> int:
    """Return the number of the quarter of an hour of an instant, in epoch seconds."""
    return int(at // QUARTER_S)


def added(rows: KeySpentRows, whose: KeySpent, spending: KeySpending) -> None:
    """Add what was spent to what the same key spent at the same model in the same quarter of an hour."""
    rows.setdefault(whose, KeySpending()).add(spending)


def spent_by(rows: KeySpentRows, by: Sequence[KeySpentBy]) -> list[SpentRow]:
    """Return what was spent under each combination of names, as a journal tells it of runs."""
    return added_up(
        SpentRow(names, spending)
        for whose, spending in rows.items()
        for names in product(*(whose.names(one) for one in by))
    )


def write_spent(db: sqlite3.Connection, rows: KeySpentRows) -> None:
    """Add rows to those that are there, in the open transaction."""
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in FIGURES)
    columns = ", ".join((*KeySpent._fields, *FIGURES))
    marks = ", ".join("?" * (len(KeySpent._fields) + len(FIGURES)))
    conflict = "ON CONFLICT (quarter, key, tags, provider, model) DO UPDATE SET"
    db.executemany(
        f"INSERT INTO spent ({columns}) VALUES ({marks}) {conflict} {sums}",  # noqa: S608  # names of ours
        [(*_written(whose), *astuple(spending)) for whose, spending in rows.items()],
    )


def _written(whose: KeySpent) -> Sequence[str | int]:
    return whose.quarter, whose.key, json.dumps(whose.tags), whose.provider, whose.model


def read_spent(db: sqlite3.Connection, since: float = 0.0) -> KeySpentRows:
    """Return what was spent since an instant (epoch seconds), its whole quarter of an hour included."""
    columns = ", ".join((*KeySpent._fields, *FIGURES))
    found = db.execute(f"SELECT {columns} FROM spent WHERE quarter >= ?", (quarter_of(since),))  # noqa: S608  # as above
    return {
        KeySpent(quarter, key, tuple(json.loads(tags)), provider, model): KeySpending(*figures)
        for quarter, key, tags, provider, model, *figures in found
    }
