"""Times, tokens and money as people read them."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Return seconds as `4.2 s`, `3:07` or `1:02:03`; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def tokens(count: int) -> str:
    """Return a count of tokens, short; nothing for none."""
    return f"{count:,} tokens" if count else ""


def usd(cost: float | None) -> str:
    """Return money in USD; an unknown amount says so, for it is not nothing, and no more is one that is very small."""
    if cost is None:
        return "cost unknown"
    if 0 < cost < 0.00005:
        return "<$0.0001"
    whole_cents = cost >= 1 or round(cost, 2) == round(cost, 6)
    return f"${cost:,.2f}" if whole_cents else f"${cost:.4f}"
