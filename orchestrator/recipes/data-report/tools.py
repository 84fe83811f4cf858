"""The tools of this squad: sums are computed here, not by a model."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal, InvalidOperation
from pathlib import Path

HERE = Path(__file__).parent


def rows(table: str) -> list[dict[str, str]]:
    """Return the rows of a CSV in this folder."""
    with (HERE / Path(table).name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def columns(table: str) -> dict[str, list[str]]:
    """Return the columns of a table, each with the first of its different values.

    Args:
        table: the name of the file
    """
    read = rows(table)
    return {name: list(dict.fromkeys(row[name] for row in read))[:20] for name in (read[0] if read else {})}


def totals(table: str, of: str, by: list[str], where: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Return the sum of a column, and how many rows it has, for each group of rows.

    Args:
        table: the name of the file
        of: the column that is summed
        by: the columns that make a group
        where: only rows with these values, by column
    """
    sums: dict[str, Decimal] = defaultdict(Decimal)
    counts: dict[str, int] = defaultdict(int)
    for number, row in enumerate(rows(table), start=2):
        if any(row[name] != value for name, value in (where or {}).items()):
            continue
        group = ", ".join(row[name] for name in by) or "all"
        try:
            sums[group] += Decimal(row[of])
        except InvalidOperation:
            raise ValueError(f"line {number}: {row[of]!r} in {of} is no number") from None
        counts[group] += 1
    return {group: {"sum": str(amount), "rows": str(counts[group])} for group, amount in sorted(sums.items())}
