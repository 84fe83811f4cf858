"""How large a regular expression becomes where its repeats are written out. Pure."""

from __future__ import annotations

import re

MOST_WRITTEN_OUT = 100_000
"""Parts of a pattern with its fixed repeats written out: an engine holds them all, at some 300 bytes each."""
_HUGE = 10**12
_TOKEN = re.compile(
    r"(?P<repeat>\{(?P<low>\d+)(?:,\d*)?\})|(?P<opens>\()|(?P<closes>\))|[*+?]|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.",
    re.DOTALL,
)


def written_out(pattern: str) -> int:
    """Return how many parts `pattern` has once each `{n}` stands there n times, at most 10**12.

    Repeats within repeats multiply: `((a{1000}){1000}){1000}` fits in a line and fills any memory.
    """
    total, last, outer = 0, 0, list[int]()
    for found in _TOKEN.finditer(pattern):
        if found["repeat"]:
            low = int(found["low"]) if len(found["low"]) < 12 else _HUGE
            total, last = total + last * (max(low, 1) - 1), last * max(low, 1)
        elif found["opens"]:
            outer.append(total)
            total = 0
        elif found["closes"] and outer:
            last = max(total, 1)
            total = outer.pop() + last
        elif found[0] not in "*+?":
            total, last = total + 1, 1
        total, last = min(total, _HUGE), min(last, _HUGE)
    return min(total + sum(outer), _HUGE)
