"""The code that changes.diff changes, as it was before."""

from __future__ import annotations

import sqlite3
from decimal import Decimal


def total(lines: list[tuple[int, Decimal]]) -> Decimal:
    """Return what an invoice comes to; each line is a number of pieces and the price of one."""
    return sum((count * price for count, price in lines), Decimal(0))


def find(connection: sqlite3.Connection, customer: str) -> list[tuple[int, str]]:
    """Return the number and the date of each invoice of a customer."""
    return connection.execute("SELECT number, date FROM invoices WHERE customer = ?", (customer,)).fetchall()
