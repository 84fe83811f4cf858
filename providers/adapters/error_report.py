"""What the body of an error reply says, whatever its shape, and what its bare status means. For every dialect.

At least eight shapes of body are known, and proxies answer in HTML: nothing here raises. Sources: docs/sources.md,
recorded replies, 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from providers.documents.unicode import clean, cut
from providers.errors import BadRequest, Overloaded, ProviderError, ServerFault, TimedOut, Unreachable, Unsupported

EXCERPT = 200
MAX_BODY = 64 * 1024  # an error's sense stands in its head; a proxy's page may be megabytes

_unsupported = re.compile(
    r"not support|unsupported|does not exist|not found|is unavailable now|no endpoints found|unknown model"
    r"|no such model|not implemented",
    re.IGNORECASE,
).search


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What a body says. `text` is clean and short; `codes` are its codes and types in lower case."""

    text: str = ""
    codes: frozenset[str] = frozenset()
    headers: Mapping[str, str] | None = None
    """Headers of the upstream provider that an aggregator quotes."""
    category: str = ""
    status: int | None = None
    is_json: bool = True
    """Whether an API said it: a page or nothing at all comes from something in front of it."""


def excerpt(body: bytes) -> str:
    """Return the head of `body` for a message: clean, in one line, at most 200 characters."""
    text = clean(body[:MAX_BODY].decode("utf-8", "replace"))
    return cut(" ".join(text[: EXCERPT * 16].split()), EXCERPT) or "an empty body"


def report_of(body: bytes) -> ErrorReport:
    """Return what `body` says; where it is no JSON, its head."""
    try:
        found = json.loads(body[:MAX_BODY].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return ErrorReport(text=excerpt(body), is_json=False)
    report = read_report(found)
    return (
        report
        if report.text
        else ErrorReport(excerpt(body), report.codes, report.headers, report.category, report.status)
    )


def read_report(body: Any) -> ErrorReport:
    """Return what decoded JSON says, of any shape."""
    if isinstance(body, list) and body:  # Google wraps an error in an array
        body = body[0]
    if not isinstance(body, dict):
        return ErrorReport(text=_short(_words(body)))
    inner = body.get("error")
    if not inner and isinstance(body.get("errors"), list) and body["errors"]:
        inner = body["errors"][0]
    layers = [layer for layer in (inner, body) if isinstance(layer, dict)]
    metadata = next((m for layer in layers if isinstance(m := layer.get("metadata"), dict)), {})
    words = [_words(inner) or _words(body), _words(metadata.get("raw"))]
    quoted = metadata.get("headers")
    return ErrorReport(
        text=_short(": ".join(dict.fromkeys(filter(None, words)))),
        codes=frozenset(_codes(layers)),
        headers={str(k).lower(): str(v) for k, v in quoted.items()} if isinstance(quoted, dict) else None,
        category=_category(metadata),
        status=_status(layers),
    )


def _short(text: str) -> str:
    return cut(" ".join(clean(text[: EXCERPT * 16]).split()), EXCERPT * 2)


def _words(value: Any, depth: int = 0) -> str:
    """Return the human words in an error value of any shape."""
    if depth > 5:
        return ""
    if isinstance(value, str):
        return _words_in(value, depth)
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth + 1) for item in value[:3])))
    if not isinstance(value, dict):
        return ""
    for key in ("message", "detail", "msg", "error", "errors", "description", "title"):
        if words := _words(value.get(key), depth + 1):
            place = value.get("loc")
            return f"{'.'.join(map(str, place))}: {words}" if isinstance(place, list) else words
    return ""


def _words_in(text: str, depth: int) -> str:
    """Return `text`, or the words of the JSON that some vendors put into a message as a string."""
    if text[:1] in ("{", "[") and len(text) < MAX_BODY:
        try:
            return _words(json.loads(text), depth + 1) or text
        except (ValueError, RecursionError):
            return text
    return text


def _codes(layers: list[dict[str, Any]]) -> Iterator[str]:
    for layer in layers:
        details = layer.get("details")
        for place in (layer, details if isinstance(details, dict) else {}):
            for key in ("code", "type", "status", "error_code"):
                value = place.get(key)
                if isinstance(value, str | int) and not isinstance(value, bool):
                    yield str(value)[:100].lower()


def _category(metadata: Mapping[str, Any]) -> str:
    reasons = metadata.get("reasons")
    return ", ".join(clean(str(reason))[:40] for reason in reasons[:5]) if isinstance(reasons, list) else ""


def _status(layers: list[dict[str, Any]]) -> int | None:
    for layer in layers:
        for key in ("status_code", "raw_status_code", "code", "status"):
            value = layer.get(key)
            if isinstance(value, str) and value.isdecimal() and len(value) == 3:
                value = int(value)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
    return None


def by_status(status: int, text: str) -> ProviderError:
    """Return the error that a status alone means, where neither code nor words tell more."""
    if status in (408, 504, 524):
        return TimedOut(text, phase="total", status=status)
    if status in (498, 503, 529):
        return Overloaded(text)
    if status >= 500 or status in (409, 421, 423, 424, 425, 499):
        return ServerFault(text)
    if 300 <= status < 400:
        return Unreachable(f"the base URL is wrong: the endpoint redirects: {text}")
    if status < 300:
        return ServerFault(text)
    return Unsupported(text) if _unsupported(text) else BadRequest(text)
