"""Durations and shares as people write them: `500ms`, `10m`, `20%`."""

from __future__ import annotations

import math
import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)?")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")


def parse_duration(text: object) -> float:
    """Return seconds: of `500ms`, `5s`, `10m`, `2h`, `3d`, or of a plain number. Raise `ValueError` for all else."""
    if isinstance(text, str):
        match = _DURATION.fullmatch(text.strip())
        seconds = float(match[1]) * _SECONDS[match[2] or "s"] if match else -1.0
    else:
        seconds = _number(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{_shown(text)} is not a duration: write 500ms, 5s, 10m, 2h, 3d or a number of seconds")
    return seconds


def duration_text(seconds: float) -> str:
    """Return a duration as people write it, for `parse_duration`: `2m`, `0.5ms`."""
    for unit, size in reversed(_SECONDS.items()):
        amount = round(seconds / size, 9)
        if amount >= 1 and amount.is_integer():
            return f"{amount:.0f}{unit}"
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{round(seconds * 1000, 9):g}ms"


def parse_share(text: object) -> float:
    """Return a share from 0 to 1: of `20%`, or of a plain number. Raise `ValueError` for all else."""
    if isinstance(text, str):
        match = _PERCENT.fullmatch(text.strip())
        share = float(match[1]) / 100 if match else -1.0
    else:
        share = _number(text)
    if not 0 <= share <= 1:
        raise ValueError(f"{_shown(text)} is not a share: write a percentage up to 100%, or a number from 0 to 1")
    return share


def _number(value: object) -> float:
    """Return `value` as a float, or -1.0 where it is not a number. YAML's `yes` is a bool, and bool is an int."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return -1.0
    try:
        return float(value)
    except OverflowError:
        return -1.0


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."
