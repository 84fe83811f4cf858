"""Pieces of an SVG document, and scales and words for figures. Pure.

What is for dark viewers too has a class; the attributes beside it hold where classes mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from math import ceil, floor, log10

from providers.documents.unicode import printable


def grid(
    left: float, right: float, top: float, high: float, most: float, word: Callable[[float], str], lines: int = 4
) -> Iterator[str]:
    """Yield the lines of a scale from 0 to `most`, and the words beside them."""
    for number in range(lines + 1):
        y = top + high * (1 - number / lines)
        if number:
            yield f'<path class="grid" d="M{left:g} {y:.1f}H{right:g}" stroke="#dddddd"/>'
        yield text_at(left - 8, y + 4, word(most * number / lines), "soft end")


def rect(x: float, y: float, wide: float, high: float, fill: str, inside: str = "") -> str:
    shape = f'<rect x="{x:.2f}" y="{y:.2f}" width="{wide:.2f}" height="{high:.2f}" {fill}'
    return f"{shape}>{inside}</rect>" if inside else f"{shape}/>"


def line_to(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="line" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="#222222"/>'


def cross(x: float, y: float, told: str) -> str:
    d = f"M{x - 4:.1f} {y - 4:.1f}l8 8M{x - 4:.1f} {y + 4:.1f}l8 -8"
    return f'<path class="line" d="{d}" stroke="#222222" stroke-width="2"><title>{escaped(told)}</title></path>'


def text_at(x: float, y: float, text: str, kind: str) -> str:
    fill = "#111111" if "ink" in kind else "#555555"
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" fill="{fill}">{escaped(text)}</text>'


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."


def escaped(text: str) -> str:
    return escape(printable(text))


def ceiling(most: float) -> float:
    """Return the least number that holds `most` and has short quarters."""
    if most <= 0:
        return 1.0
    power = 10.0 ** floor(log10(most))
    return next(
        factor * power for factor in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if most <= factor * power * (1 + 1e-9)
    )


def tick(span: float) -> float:
    """Return seconds between the marks of an axis: at most eleven of them, at times that people count in."""
    usual = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 604800)
    return next((float(step) for step in usual if span / step <= 10), ceil(span / 10 / 604800) * 604800.0)


def time_word(seconds: float) -> str:
    """Return seconds as `1.5 s`, `90 s`, `2:30 min`, `15 min`, `1:30 h` or `2 d`."""
    if seconds < 120 and seconds != 60:
        return f"{seconds:.3g} s" if seconds else "0"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if not round(seconds) % size and (size > 60 or seconds < 7200):
            return f"{round(seconds) // size} {unit}"
    size, unit = (60, "min") if seconds < 3600 else (3600, "h")
    return f"{int(seconds // size)}:{int(seconds % size * 60 / size):02} {unit}"


def count_word(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def usd_word(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.3g}"
