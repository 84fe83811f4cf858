"""Strings and numbers that may stand at one place of a JSON document, the best first; the caller checks them."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from providers.documents.unicode import cut
from providers.stub.spelling import spellings

_POSITIVE = (
    "accept accepted agree agreed allow approve approved complete completed continue correct done go good green"
    " lgtm ok okay pass passed passing proceed ready resolved satisfied ship success succeeded true valid yes"
)
_NEGATIVE = (
    "abort bad block blocked broken change changes_requested decline deny disagree error fail failed false invalid no"
    " none red reject rejected revise stop timeout unknown"
)
RANKS = dict.fromkeys(_POSITIVE.split(), 0) | dict.fromkeys(_NEGATIVE.split(), 2)
_BAD_NEWS = re.compile(r"(?i)(block|fail|error|reject|missing|stale|dirty|deny|invalid|broken|need|delete|skip)")
MARK = " (offline stub)"
LONGEST_TEXT = 100_000

FORMATS: Mapping[str, str] = {
    "date": "2026-01-{day:02}",
    "date-time": "2026-01-{day:02}T09:00:00Z",
    "time": "09:00:{day:02}Z",
    "duration": "P{day}D",
    "email": "person{n}@example.com",
    "hostname": "host{n}.example.com",
    "ipv4": "192.0.2.{n}",
    "ipv6": "2001:db8::{n}",
    "uri": "https://example.com/{n}",
    "uri-reference": "/{n}",
    "json-pointer": "/{n}",
    "regex": "^a{{{n}}}$",
}

NAMED: Sequence[tuple[str, str]] = (
    (r"(^|_)(id|key|ref|code|number)$", "{letter}-{id}"),
    (r"criteri|acceptance", 'Offline stub: "{word}" gives the same result when it is used twice or without a network.'),
    (r"^(title|name|heading|label|topic|feature|component)|_(title|name)$", "{Word}"),
    (r"url|link|href", "https://example.com/{n}"),
    (r"mail", "person{n}@example.com"),
    (r"(^|_)(file|path|filename)$", "docs/part-{n}.md"),
    (r"(^|_)(date|day|due|deadline)$", "2026-01-{day:02}"),
    (r"(^|_)(version)$", "1.{n}.0"),
    (r"lang|locale", "en"),
    (r"^(owner|author|assignee|speaker|next)", "person-{n}"),
    (r"question", 'Offline stub: what would change our mind about "{word}"?'),
    (r"risk|concern|issue|problem|gap", 'Offline stub: "{word}" may be lost or wrong when the connection fails.'),
    (
        r"mitigation|answer|fix|solution|action|step|task",
        'Offline stub: write the test for "{word}" first, then the least code.',
    ),
    (r"reason|why|rationale|explanation|comment|feedback|note", 'Offline stub: "{word}" was not judged by a model.'),
    (
        r"summary|description|text|content|body|detail|overview|conclusion",
        'Offline stub on "{subject}": "{word}" first.',
    ),
)
"""What a property of this name usually holds: the first match counts. {word} is a key phrase, {id} counts.

Every sentence says that it is the stub's; what must be short (an id, a title, a path) cannot."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where in the instance a value stands: its property's name, the nearest array's, and the places in arrays."""

    name: str = ""
    group: str = ""
    numbers: tuple[int, ...] = ()
    depth: int = 0
    path: str = "$"

    @property
    def number(self) -> int:
        """The place in the nearest array, from 1."""
        return self.numbers[-1] if self.numbers else 1

    def member(self, name: str) -> Spot:
        return replace(self, name=name, depth=self.depth + 1, path=f"{self.path}.{name}")

    def item(self, number: int) -> Spot:
        group, at = self.name or self.group, (*self.numbers, number)
        return replace(self, group=group, numbers=at, depth=self.depth + 1, path=f"{self.path}[{number - 1}]")


def rank(value: Any) -> int:
    """Return 0 for a positive verdict, 2 for a negative one, 1 for everything else."""
    return RANKS.get(re.sub(r"[\s-]+", "_", value.strip().casefold()), 1) if isinstance(value, str) else 1


def flags(spot: Spot) -> tuple[bool, bool]:
    """Return both truth values, the good news first: `approved` is true, `has_errors` is false."""
    return (False, True) if _BAD_NEWS.search(spot.name) else (True, False)


def strings(flat: Mapping[str, Any], spot: Spot, subject: str, words: Sequence[str]) -> Iterator[str]:
    """Yield strings that suit the property's name, in the schema's format and pattern and within its length."""
    n, low, high = spot.number, flat.get("minLength", 0), flat.get("maxLength")
    if low > LONGEST_TEXT:
        return
    values = _values(spot, subject, words)
    if flat.get("format") == "uuid":
        yield str(uuid.uuid5(uuid.NAMESPACE_URL, f"{subject}/{spot.name}/{spot.numbers}"))
    elif form := FORMATS.get(str(flat.get("format")).removeprefix("idn-").replace("iri", "uri")):
        yield form.format(**values)
    form = next((form for name, form in NAMED if re.search(name, spot.name.casefold())), f"{{Word}}{MARK}")
    text = form.format(**values)
    text = text.removesuffix(MARK) if high is not None and len(text) > high else text
    if "pattern" in flat:
        phrase = re.findall(r"[a-z0-9]+", str(values["word"]).casefold())
        yield from (text, *(mark.join(phrase) for mark in "-_"))
        yield from spellings(flat["pattern"], n)
    yield from (_fitted(each, low, high) for each in (text, f"{text} {n}", f"{n} {text}", str(n)))
    yield from ("a", "A", "1", "a1", "")


def _values(spot: Spot, subject: str, words: Sequence[str]) -> dict[str, Any]:
    n = spot.number
    word = words[sum(place - 1 for place in spot.numbers) % len(words)] + (f" {n}" if n > len(words) else "")
    letter = next((c for c in spot.group or spot.name if c.isascii() and c.isalpha()), "x").upper()
    counted = {"n": n, "day": (n - 1) % 28 + 1, "id": ".".join(map(str, spot.numbers)) or "1", "letter": letter}
    return {**counted, "word": word, "Word": word[:1].upper() + word[1:], "subject": subject}


def _fitted(text: str, low: int, high: int | None) -> str:
    """Return `text` with a length (in code points) from `low` to `high`; whole graphemes are kept where they fit."""
    if len(text) < low:
        text = (text + " " + "and so on " * (low // 10 + 1))[: low - 1].rstrip().ljust(low, ".")
    if high is None or len(text) <= high:
        return text
    kept = next((piece for size in range(high, 0, -1) if len(piece := cut(text, size)) <= high), "")
    return kept if len(kept) >= low else text[:high]


def numbers(flat: Mapping[str, Any], spot: Spot, *, whole: bool) -> Iterator[int | float]:
    """Yield numbers: amid the bounds, the place in the array, the bounds, and the multiples next to each of them."""
    n, step = spot.number, flat.get("multipleOf") or (1 if whole else None)
    floors = [flat[key] for key in ("minimum", "exclusiveMinimum") if key in flat]
    roofs = [flat[key] for key in ("maximum", "exclusiveMaximum") if key in flat]
    tries: list[float] = [0.8] if re.search("(?i)confidence|probab|ratio|share", spot.name) else []
    if floors and roofs:
        tries.insert(0, max(floors) + (min(roofs) - max(floors)) * (0.5 + 0.1 * (n % 4)))
    tries += [n, *(x + up for x in floors for up in (0, n, 1)), *(x - down for x in roofs for down in (0, 1)), 0]
    for value in tries:
        if step is None:
            yield from (int(value) if float(value).is_integer() else round(value, 2), value)
        else:
            yield from _multiples(value, step)


def _multiples(value: float, step: float) -> list[int | float]:
    """Return the multiples of `step` next to a number; none where no float holds how many that are."""
    try:
        return [_tidy(times * step) for times in (math.ceil(value / step), math.floor(value / step))]
    except OverflowError:
        return []


def _tidy(value: float) -> int | float:
    """Return 3 for 3.0, and 0.3 for 0.30000000000000004."""
    return int(value) if float(value).is_integer() else round(value, 9)
