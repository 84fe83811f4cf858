"""A count as text, the same in a file and on a server. Figures survive it exactly."""

from __future__ import annotations

import json
from typing import Any

from providers.limits.counter import NOTHING, Count, Lease


def to_text(count: Count) -> str:
    """Return JSON: buckets, leases, what was used outside, and when the next paced call is due."""
    leases = [[lease.id, lease.amount, lease.expires] for lease in count.leases]
    return json.dumps([count.spent, leases, count.outside, count.due], separators=(",", ":"))


def from_text(text: str | bytes | None) -> Count:
    """Return the count; an empty one of what `to_text` did not write."""
    try:
        spent, leases, (amount, until), due = json.loads(text or "null")
        return Count(
            tuple((int(number), float(amount)) for number, amount in spent),
            tuple(map(_lease, leases)),
            (float(amount), float(until)),
            float(due),
        )
    except (ValueError, TypeError):
        return NOTHING


def _lease(row: Any) -> Lease:
    name, amount, expires = row
    return Lease(str(name), float(amount), float(expires))
