"""A tool of the weekly report: sums are computed, not written by a model."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent


def totals(table: str, week: str, by: Literal["region", "product"]) -> dict[str, str]:
    """Return what was ordered in a week, in EUR, by region or by product.

    Args:
        table: the name of the file, orders.csv
        week: as the table writes it, 2026-W46
        by: what the sums are made for
    """
    sums: dict[str, Decimal] = defaultdict(Decimal)
    with (HERE / Path(table).name).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["week"] == week:
                sums[row[by]] += int(row["pieces"]) * Decimal(row["price"])
    return {key: str(amount) for key, amount in sorted(sums.items())}
