"""Figures and states as pages say them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

STATES = {
    "waiting": ("◦", "waiting"),
    "asking": ("?", "awaiting a person"),
    "chat": ("◦", "open chat"),
    "running": ("▶", "running"),
    "gate": ("?", "awaiting approval"),
    "ok": ("✓", "done"),
    "done": ("✓", "done"),
    "failed": ("✗", "failed"),
    "rejected": ("✗", "rejected"),
    "skipped": ("–", "skipped"),
    "stopped": ("■", "stopped by a limit"),
    "paused": ("‖", "paused"),
    "parked": ("‖", "paused"),
    "cancelled": ("■", "cancelled"),
    "interrupted": ("■", "interrupted"),
    "unfinished": ("!", "unfinished"),
}
"""State -> its sign and its words: a state is never told by its colour alone."""


def usd(micro: int | None) -> str:
    """Return micro-USD as dollars; None is unknown."""
    if micro is None:
        return "unknown"
    if 0 < micro < 50:
        return "<$0.0001"
    return f"${micro / 1e6:.4f}" if 0 < micro < 10_000 else f"${micro / 1e6:,.2f}"


def cost(micro: int, unknown: int) -> str:
    """Return what calls came to (micro-USD) of which `unknown` have no known price: `$0.02`, `$0.02 + ?`, `unknown`."""
    if not unknown:
        return usd(micro)
    return f"{usd(micro)} + ?" if micro else "unknown"


def seconds(value: float | None) -> str:
    """Return a time as people say it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if value is None:
        return ""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def moment(at: float) -> str:
    """Return an instant (epoch seconds) as `2026-11-30 05:48:12 UTC`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_near(at: float, now: float) -> str:
    """Return an instant near `now` as short as it can be read: without its day where that is today's."""
    whole = moment(at)
    return whole.partition(" ")[2] if whole[:10] == moment(now)[:10] else whole


def spoken(words: str) -> str:
    """Return the words of a record with the instants in them as pages write them."""
    return re.sub(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)Z", r"\1 \2 UTC", words)


def iso(at: float) -> str:
    """Return an instant as the `datetime` of a `<time>`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
