"""Plain columns of text for stdout: no box, no colour, so that other programs can cut them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], gap: str = "  ") -> str:
    """Return the rows with each column as wide as its widest cell. Nothing is cut: the reader's pager can."""
    widths = [max(map(width, cells)) for cells in zip(*rows, strict=True)]
    lines = ((cell + " " * (most - width(cell)) for cell, most in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(gap.join(line).rstrip() for line in lines)


def width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
