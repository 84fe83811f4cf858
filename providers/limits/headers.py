"""What a reply's headers say of limits, read from names and values that are not to be trusted. No I/O.

The forms stand in docs/sources.md#rate-limit-headers (2026-11): `x-ratelimit-remaining-tokens`, the same with a window
at the end (Cerebras, Mistral), without a word for what (OpenRouter, Together), `anthropic-ratelimit-tokens-remaining`,
and Mistral's older `x-ratelimitbysize-remaining-minute`. What is none of them is ignored, never raised.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from providers.limits.retry_after import clock_of, instant

Counted = Literal["requests", "tokens", "input", "output"]

_WINDOWS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "month": 30 * 86400.0}
_WHAT: Mapping[str, Counted] = {
    "requests": "requests",
    "req": "requests",
    "tokens": "tokens",
    "input-tokens": "input",
    "output-tokens": "output",
}
_what = "requests|req|tokens|input-tokens|output-tokens"
_field = "limit|remaining|reset"
_window = "second|minute|hour|day|month"
_forms = (
    re.compile(rf"x-ratelimit-(?P<field>{_field})(?:-(?P<what>{_what}))?(?:-(?P<window>{_window}))?").fullmatch,
    re.compile(rf"anthropic-ratelimit-(?P<what>{_what})-(?P<field>{_field})(?P<window>)").fullmatch,
    re.compile(rf"(?:x-)?ratelimitbysize-(?P<field>{_field})(?P<what>)(?:-(?P<window>{_window}))?").fullmatch,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One limit as a reply's headers show it. `window` is seconds, `resets_at` epoch seconds; None: not said."""

    counted: Counted
    window: float | None
    limit: float | None
    remaining: float | None
    resets_at: float | None


def seen(headers: Mapping[str, str], now: float, request_window: float | None = None) -> list[Seen]:
    """Return the limits that the headers (names in lower case) show.

    A window that a name leaves out is a minute for tokens, and `request_window` for requests: a vendor's own habit.
    """
    found: dict[tuple[Counted, float | None], dict[str, float]] = {}
    for name, value in headers.items():
        if "ratelimit" not in name:
            continue
        match = next((match for form in _forms if (match := form(name))), None)
        number = None if match is None else _value(match["field"], value, headers, now)
        if match is None or number is None:
            continue
        counted = _WHAT[match["what"]] if match["what"] else "tokens" if "bysize" in name else "requests"
        usual = request_window if counted == "requests" else 60.0
        window = _WINDOWS[match["window"]] if match["window"] else usual
        found.setdefault((counted, window), {})[match["field"]] = number
    return [
        Seen(counted, window, said.get("limit"), said.get("remaining"), said.get("reset"))
        for (counted, window), said in found.items()
    ]


def _value(field: str, value: str, headers: Mapping[str, str], now: float) -> float | None:
    if field == "reset":
        at = instant(value, now, clock_of(headers, now))
        return at if at is not None and at >= now else None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
