"""What the body of an error reply says, whatever its shape, and what its bare status means. For every dialect.

At least eight shapes of body are known, and proxies answer in HTML: nothing here raises. Sources: docs/sources.md,
recorded replies, 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from providers.documents.unicode import clean, cut
from providers.errors import BadRequest, Overloaded, ProviderError, ServerFault, TimedOut, Unreachable

EXCERPT = 200
MAX_BODY = 64 * 1024  # an error's sense stands in its head; a proxy's page may be megabytes
MAX_JSON = 1024 * 1024  # one that repeats the request is as long as that

# What a provider repeats of the request is not its own word: a prompt may speak of context windows and quotas.
# pydantic's `input` (vLLM, Mistral, FastAPI), its `input_value=`, Google's "Invalid value at 'x' (TYPE), ...".
_repeated = re.compile(
    r"""(?:['"]input['"]\s*:|\binput_value=).*?(?=,\s*input_type=|[{,]\s*['"](?:type|loc|msg)['"]\s*:|\Z)"""
    r"""|(?<=\), )(?<!\w)["'].*""",
    re.DOTALL,
).sub
# Whole sentences in quotes, but for those that a key stands before: they are an error inside an error.
_quoted = re.compile(
    r"""(?<!\w)(?<!['"]: )(?<!['"]:)(["'`])(?=[^"'`\s])((?:(?!\1).|(?<=\w)\1(?=\w)){24,600}?)\1(?!\w)""", re.DOTALL
).sub
FEWEST_GAPS = 4
"""Spaces in what is quoted, from which on it is a sentence: names of models and of parameters have fewer."""
_page = re.compile(r"\s*(?:<!doctype|<html|<\?xml|<head|<body|<center|<h1|<title)", re.IGNORECASE).match


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What a body says. `text` is clean and short; `codes` are its codes and types in lower case."""

    text: str = ""
    said: str = ""
    """The provider's own words in one line, without what it repeats of the request: the class is judged by these."""
    codes: frozenset[str] = frozenset()
    param: str = ""
    """The field of the request that is wrong, where a body names one."""
    headers: Mapping[str, str] | None = None
    """Headers of the upstream provider that an aggregator quotes."""
    category: str = ""
    quotas: str = ""
    """The names and figures of the quotas that were exceeded, in one text (google.rpc's QuotaFailure)."""
    delay: str = ""
    """When to come again, where the body has a field for it."""
    status: int | None = None
    is_json: bool = True
    """Whether an API said it: a page or nothing at all comes from something in front of it."""
    is_page: bool = False
    """Whether it is HTML."""


def excerpt(body: bytes) -> str:
    """Return the head of `body` for a message: clean, in one line, at most 200 characters."""
    text = clean(body[:MAX_BODY].decode("utf-8", "replace"))
    return cut(" ".join(text[: EXCERPT * 16].split()), EXCERPT) or "an empty body"


def is_error(value: Any) -> bool:
    """Whether a field `error` tells of one: some gateways send it beside each answer, with nothing in it."""
    return any(value.values()) if isinstance(value, dict) else bool(value)


def report_of(body: bytes) -> ErrorReport:
    """Return what `body` says; where it is no JSON, its head."""
    text = body[:MAX_JSON].decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        head = text[:MAX_BODY]
        cut_off = len(body) > MAX_JSON and head.lstrip()[:1] in ("{", "[")
        return ErrorReport(excerpt(body), _own(head), is_json=cut_off, is_page=bool(_page(head)))
    report = read_report(found)
    return report if report.text else replace(report, text=excerpt(body))


def read_report(body: Any) -> ErrorReport:
    """Return what decoded JSON says, of any shape."""
    if isinstance(body, list) and body:  # Google wraps an error in an array
        body = body[0]
    if not isinstance(body, dict):
        return ErrorReport(_short(_words(body)), _own(_words(body)))
    inner = body.get("error")
    if not inner and isinstance(body.get("errors"), list):
        inner = body["errors"]
    if isinstance(inner, list):
        inner = inner[0] if inner else None
    layers = [layer for layer in (inner, body) if isinstance(layer, dict)]
    metadata = next((m for layer in layers if isinstance(m := layer.get("metadata"), dict)), {})
    words = ": ".join(dict.fromkeys(filter(None, (_words(inner) or _words(body), _words(metadata.get("raw"))))))
    quoted = metadata.get("headers")
    details = [entry for layer in layers for entry in _details(layer)]
    reasons = (*_strings(details, "reason"), *_strings([metadata], *_SOURCES))
    return ErrorReport(
        text=_short(words),
        said=_own(words),
        codes=frozenset((*_codes(layers), *(reason.lower() for reason in reasons))),
        param=next((value[:100] for layer in layers if isinstance(value := layer.get("param"), str)), ""),
        headers={str(k).lower(): str(v) for k, v in quoted.items()} if isinstance(quoted, dict) else None,
        category=_category(metadata),
        quotas=" ".join(_quotas(details))[:MAX_BODY],
        delay=next(_strings([*details, metadata], "retryDelay", "resets_at"), _seconds(layers)),
        status=_status(layers),
        is_json=body.get("cloudflare_error") is not True,  # its edge answers in JSON where JSON is asked for
    )


def _own(text: str) -> str:
    """Return the words in `text` that are the provider's own, in one line."""
    own = " ".join(clean(_repeated(" ", text[:MAX_BODY])[: EXCERPT * 16]).split())
    return _quoted(lambda found: "..." if found[2].count(" ") >= FEWEST_GAPS else found[0], own)


def _short(text: str) -> str:
    return cut(" ".join(clean(text[: EXCERPT * 16]).split()), EXCERPT * 2)


# Which limit it was, and what an aggregator's own error is: OpenRouter's page on errors, 2026-11.
_SOURCES = ("limit_source", "error_type")
# Amazon writes `Message`, OAuth `error_description`; the rest as vendors on one of our dialects have it.
_WORDS = ("message", "detail", "msg", "error", "errors", "error_description", "description", "Message", "title")


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
    for key in _WORDS:
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
            for key in ("code", "type", "status", "error_code", "internalCode"):
                value = place.get(key)
                if isinstance(value, str | int) and not isinstance(value, bool):
                    yield str(value)[:100].lower()


def _details(layer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what stands beside the message: google.rpc's ErrorInfo, QuotaFailure and RetryInfo."""
    entries = layer.get("details")
    return [entry for entry in entries[:20] if isinstance(entry, dict)] if isinstance(entries, list) else []


def _strings(entries: list[Mapping[str, Any]], *keys: str) -> Iterator[str]:
    return (value[:100] for entry in entries for key in keys if isinstance(value := entry.get(key), str))


def _seconds(layers: list[dict[str, Any]]) -> str:
    """Return the seconds to wait that a body names as a number (Cloudflare's edge)."""
    named = (layer.get("retry_after") for layer in layers)
    return next((str(value) for value in named if isinstance(value, int | float) and not isinstance(value, bool)), "")


def _quotas(details: list[Mapping[str, Any]]) -> Iterator[str]:
    for detail in details:
        violations = detail.get("violations")
        for violation in violations[:20] if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield from (str(violation[key])[:200] for key in ("quotaId", "quotaMetric") if key in violation)
                yield f"limit: {str(violation.get('quotaValue', '?'))[:20]},"


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
    if status in (408, 504, 522, 524, 598, 599):
        return TimedOut(text, phase="total", status=status)
    if status in (498, 503, 529):
        return Overloaded(text)
    if status >= 500 or status in (409, 421, 423, 424, 425, 499):
        return ServerFault(text)
    if status == 407:
        return Unreachable(f"a proxy in between wants a login: {text}", status=status)
    if 300 <= status < 400:
        return Unreachable(f"the base URL is wrong: the endpoint redirects: {text}")
    return ServerFault(text) if status < 300 else BadRequest(text)
