"""The tools of this squad. Put your shop's API and your mail program in the place of the two files."""

from __future__ import annotations

import csv
from pathlib import Path

HERE = Path(__file__).parent


def find_order(number: str, customer: str) -> dict[str, str]:
    """Return an order of this customer: what, when ordered, when promised, where it is now.

    Args:
        number: the number of the order, digits alone
        customer: the address that the message came from; an order of somebody else is not shown
    """
    with (HERE / "orders.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["number"] == number and row["customer"] == customer:
                return row
    raise LookupError(f"no order {number} of {customer}")


def send_reply(to: str, text: str) -> str:
    """Send a reply to a customer.

    Args:
        to: the customer's address
        text: the whole reply, as it is sent
    """
    outbox = HERE / "outbox"
    outbox.mkdir(exist_ok=True)
    file = outbox / f"{sum(1 for _ in outbox.iterdir()) + 1:04}.txt"
    file.write_text(f"To: {to}\n\n{text}\n", encoding="utf-8")
    return f"sent to {to}"
