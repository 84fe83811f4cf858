"""What the gateway's clients spent: by key, tag, provider and model, an hour at a time. Pure, but for its SQL.

Runs of squads are in the journal, too: their rows have the provider `orchestrator` and a model `squad/NAME`, so that
who adds up both can leave them out (`KeySpent.is_run`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

from orchestrator.run.budget import Bill

HOUR_S = 3600
TABLE = """
CREATE TABLE spent (hour INTEGER, key TEXT, tags TEXT, provider TEXT, model TEXT, requests INTEGER, hits INTEGER,
  lost INTEGER, input INTEGER, output INTEGER, cached INTEGER, reasoning INTEGER, cost INTEGER, unknown INTEGER,
  PRIMARY KEY (hour, key, tags, provider, model)) WITHOUT ROWID;
"""


class KeySpent(NamedTuple):
    """Whose spending it is: of a key with its tags, at a model, in the hour (epoch seconds // 3600)."""

    hour: int
    key: str
    tags: tuple[str, ...]
    provider: str
    model: str

    @property
    def is_run(self) -> bool:
        """Whether it is of runs of a squad, whose turns the journal has, too."""
        return self.provider == "orchestrator"


@dataclass(slots=True)
class KeyFigures:
    """`requests` were answered, `hits` of them by an answer that was kept; `lost` attempts were not, and were billed.

    `cost` is micro-USD of those whose cost is known; of `unknown` of them it is not. `cached` tokens are part of the
    input, `reasoning` ones of the output.
    """

    requests: int = 0
    hits: int = 0
    lost: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    cost: int = 0
    unknown: int = 0

    def add(self, other: KeyFigures) -> None:
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


FIGURES = tuple(KeyFigures.__slots__)
SpentRows = dict[KeySpent, KeyFigures]


def figures_of(bill: Bill, *, is_lost: bool = False) -> KeyFigures:
    """Return the figures of one bill."""
    usage = bill.usage
    return KeyFigures(
        requests=not is_lost,
        lost=is_lost,
        input=usage.input + usage.cache_read + usage.cache_write,
        output=usage.output + usage.reasoning,
        cached=usage.cache_read,
        reasoning=usage.reasoning,
        cost=bill.cost or 0,
        unknown=bill.cost is None,
    )


def added(rows: SpentRows, whose: KeySpent, figures: KeyFigures) -> None:
    """Add figures to those of the same key, model and hour."""
    rows.setdefault(whose, KeyFigures()).add(figures)


def by_key(rows: SpentRows) -> dict[str, KeyFigures]:
    """Return what each key spent, the most expensive first."""
    return _by(rows, lambda whose: (whose.key,))


def by_tag(rows: SpentRows) -> dict[str, KeyFigures]:
    """Return what was spent under each tag (`team=web`), the most expensive first. What has several counts for each;
    what has none counts as ""."""
    return _by(rows, lambda whose: whose.tags or ("",))


def _by(rows: SpentRows, names_of: Callable[[KeySpent], Iterable[str]]) -> dict[str, KeyFigures]:
    found: dict[str, KeyFigures] = {}
    for whose, figures in rows.items():
        for name in names_of(whose):
            found.setdefault(name, KeyFigures()).add(figures)
    return {name: found[name] for name in sorted(found, key=lambda name: (-found[name].cost, name))}


def total(rows: SpentRows) -> KeyFigures:
    """Return the figures of all of them."""
    found = KeyFigures()
    for figures in rows.values():
        found.add(figures)
    return found


def write_spent(db: sqlite3.Connection, rows: SpentRows) -> None:
    """Add rows to those that are there, in the open transaction."""
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in FIGURES)
    marks = ", ".join("?" * (len(KeySpent._fields) + len(FIGURES)))
    db.executemany(
        f"INSERT INTO spent VALUES ({marks}) ON CONFLICT (hour, key, tags, provider, model) DO UPDATE SET {sums}",  # noqa: S608
        [(*_written(whose), *astuple(figures)) for whose, figures in rows.items()],
    )


def _written(whose: KeySpent) -> Sequence[str | int]:
    return whose.hour, whose.key, json.dumps(whose.tags), whose.provider, whose.model


def read_spent(db: sqlite3.Connection, since: float = 0.0) -> SpentRows:
    """Return what was spent since an instant (epoch seconds), its whole hour included."""
    found = db.execute("SELECT * FROM spent WHERE hour >= ?", (int(since // HOUR_S),))
    return {
        KeySpent(hour, key, tuple(json.loads(tags)), provider, model): KeyFigures(*figures)
        for hour, key, tags, provider, model, *figures in found
    }
