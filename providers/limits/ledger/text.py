"""A count as text, the same in a file and on a server, and a meter as a server's own code reads it. Figures survive it
exactly."""

from __future__ import annotations

import json
from typing import Any

from providers.limits.counter import NOTHING, Count, Lease, LimitKey
from providers.windows import Calendar, Paced, index, reach, span, start, width


def to_text(count: Count) -> str:
    """Return JSON: buckets, leases, what was used outside, and when the next paced call is due."""
    leases = [[lease.id, lease.amount, lease.expires] for lease in count.leases]
    return json.dumps([count.spent, leases, count.outside, count.due], separators=(",", ":"))


def from_text(text: str | bytes | None) -> Count:
    """Return the count; an empty one of what `to_text` did not write."""
    try:
        return count_of(json.loads(text or "null"))
    except (ValueError, TypeError):
        return NOTHING


def count_of(plain: Any) -> Count:
    """Return the count that JSON holds. Raise `ValueError` or `TypeError` where it holds none."""
    spent, leases, (amount, until), due = plain
    return Count(
        tuple((int(number), float(amount)) for number, amount in spent),
        tuple(map(_lease, leases)),
        (float(amount), float(until)),
        float(due),
    )


def _lease(row: Any) -> Lease:
    name, amount, expires = row
    return Lease(str(name), float(amount), float(expires))


def described(meter: LimitKey, amount: float, now: float) -> dict[str, Any]:
    """Return a meter, and what a call asks of it, as plain values. Of a calendar it holds the days or months around
    `now`: a server's code knows no time zones."""
    window = meter.window
    said: dict[str, Any] = {"limit": meter.amount, "amount": amount, "span": span(window), "reach": reach(window)}
    if isinstance(window, Paced):
        return said | {"paced": True, "burst": window.burst}
    said["paced"] = False
    if isinstance(window, Calendar):
        first = index(window, now) - 1
        return said | {"first": first, "starts": [start(window, first + i) for i in range(4)]}
    return said | {"width": width(window)}
