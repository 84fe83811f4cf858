"""Candidate strings and numbers for one place in a JSON document, best first, and how two schemas join into one."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from providers.documents.unicode import cut

_POSITIVE = (
    "accept accepted agree agreed allow approve approved complete completed continue correct done go good green"
    " lgtm ok okay pass passed passing proceed ready resolved satisfied ship success succeeded true valid yes"
)
_NEGATIVE = (
    "abort bad block blocked broken change changes_requested decline deny disagree error fail failed false invalid no"
    " none red reject rejected revise stop timeout unknown"
)
POSITIVE = frozenset(_POSITIVE.split())
NEGATIVE = frozenset(_NEGATIVE.split())
_NEGATIVE_NAME = re.compile(r"(?i)(block|fail|error|reject|missing|stale|dirty|deny|invalid|broken|need|delete|skip)")

FORMATS: Mapping[str, str] = {
    "date": "2026-01-{day:02}",
    "date-time": "2026-01-{day:02}T09:00:00Z",
    "time": "09:00:{day:02}Z",
    "duration": "P{day}D",
    "email": "person{n}@example.com",
    "idn-email": "person{n}@example.com",
    "hostname": "host{n}.example.com",
    "idn-hostname": "host{n}.example.com",
    "ipv4": "192.0.2.{n}",
    "ipv6": "2001:db8::{n}",
    "uri": "https://example.com/{n}",
    "iri": "https://example.com/{n}",
    "uri-reference": "/{n}",
    "iri-reference": "/{n}",
    "uri-template": "/{{id}}/{n}",
    "json-pointer": "/{n}",
    "relative-json-pointer": "{n}",
    "regex": "^a{{{n}}}$",
}

# What a property of this name usually holds. First match wins; {word} is a key phrase, {id} counts.
NAMED: Sequence[tuple[str, str]] = (
    (r"(^|_)(id|key|ref|code|number)$", "{letter}-{id}"),
    (r"criteri|acceptance", "Given {word}, when it is used offline or twice, then the result is right and said so."),
    (r"^(title|name|heading|label|topic|feature|component)|_(title|name)$", "{Word}"),
    (r"url|link|href", "https://example.com/{n}"),
    (r"mail", "person{n}@example.com"),
    (r"(^|_)(file|path|filename)$", "docs/part-{n}.md"),
    (r"(^|_)(date|day|due|deadline)$", "2026-01-{day:02}"),
    (r"(^|_)(version)$", "1.{n}.0"),
    (r"lang|locale", "en"),
    (r"^(owner|author|assignee|speaker|next)", "person-{n}"),
    (r"question", "What would change our mind about {word}?"),
    (r"risk|concern|issue|problem|gap", "{Word} may be lost or wrong when the connection fails."),
    (r"mitigation|answer|fix|solution|action|step|task", "Write the test for {word} first, then the least code."),
    (r"reason|why|rationale|explanation|comment|feedback|note", "Offline stub: {word} was not judged by a model."),
    (r"summary|description|text|content|body|detail|overview|conclusion", "Offline stub on {subject}: {word} first."),
)


def rank(value: Any) -> int:
    """0 for a positive verdict, 2 for a negative one, 1 for everything else."""
    if not isinstance(value, str):
        return 1
    word = re.sub(r"[\s-]+", "_", value.strip().casefold())
    return 0 if word in POSITIVE else 2 if word in NEGATIVE else 1


def name_is_positive(name: str) -> bool:
    """Whether `true` is the good news in a flag of this name: it is in `approved`, not in `has_errors`."""
    return not _NEGATIVE_NAME.search(name)


_HINTS: Sequence[tuple[str, str]] = (
    ("object", "properties required additionalProperties patternProperties minProperties propertyNames"),
    ("array", "items prefixItems minItems maxItems contains uniqueItems"),
    ("string", "pattern minLength maxLength format"),
    ("number", "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"),
)
ALL_TYPES = ("string", "object", "array", "integer", "number", "boolean", "null")


def infer_type(flat: Mapping[str, Any]) -> list[str]:
    """Return the types to try: as said, `null` last; else as the keywords suggest, then every other."""
    said = flat.get("type")
    if said is not None:
        types = [said] if isinstance(said, str) else list(said)
        return sorted(types, key=lambda kind: kind == "null")
    hinted = [kind for kind, keys in _HINTS if any(key in flat for key in keys.split())]
    return list(dict.fromkeys([*hinted, *ALL_TYPES]))


# ---- strings


def strings(
    flat: Mapping[str, Any], name: str, group: str, at: tuple[int, ...], subject: str, words: Sequence[str]
) -> Iterator[str]:
    """Yield strings for a property `name` in an array `group`, fitted to the schema's length and pattern."""
    n = at[-1] if at else 1
    low, high = flat.get("minLength", 0), flat.get("maxLength")
    if low > 100_000:
        return
    if "pattern" in flat:
        yield from matching(flat["pattern"], n)
    if flat.get("format") == "uuid":
        yield str(uuid.uuid5(uuid.NAMESPACE_URL, f"{subject}/{name}/{at}"))
    elif form := FORMATS.get(flat.get("format", "")):
        yield form.format(n=n % 250 + (n >= 250), day=(n - 1) % 28 + 1)
    text = _named(name, group, at, subject, words)
    yield fitted(text, low, high)
    yield from (fitted(f"{text} {n}", low, high), fitted(f"{n} {text}", low, high), fitted(str(n), low, high))
    yield from ("a", "A", "1", "a1", "")


def _named(name: str, group: str, at: tuple[int, ...], subject: str, words: Sequence[str]) -> str:
    n = at[-1] if at else 1
    word = words[sum(place - 1 for place in at) % len(words)] + (f" {n}" if n > len(words) else "")
    form = next((form for pattern, form in NAMED if re.search(pattern, name.casefold())), "{Word}")
    letter = next((c for c in group or name if c.isascii() and c.isalpha()), "x").upper()
    values = {"n": n, "day": (n - 1) % 28 + 1, "id": ".".join(map(str, at)) or "1", "letter": letter}
    return form.format(**values, word=word, Word=word[:1].upper() + word[1:], subject=subject)


def fitted(text: str, low: int, high: int | None) -> str:
    """Return `text` with a length (in code points) from `low` to `high`; whole graphemes are kept where they fit."""
    if len(text) < low:
        text = (text + " " + "and so on " * (low // 10 + 1))[:low]
        text = text[:-1] + "." if text.endswith(" ") else text
    if high is None or len(text) <= high:
        return text
    whole = (cut(text, graphemes) for graphemes in range(high, 0, -1))
    kept = next((piece for piece in whole if len(piece) <= high), "")
    return kept if len(kept) >= low else text[:high]


def matching(pattern: str, number: int) -> Iterator[str]:
    """Yield strings that a regular expression may match, short ones first. None where its form is beyond this."""
    parser: Any = import_module("re._parser")  # no public way to a pattern's tree; hypothesis reads it here as well
    try:
        tree = parser.parse(pattern)
    except re.error:
        return
    for more in (0, 1, 2, 4, 8, 16, 32, 64):
        for turn in range(3):
            text = _spell(tree, number, more, turn)
            if text is not None and not pattern.endswith("$"):
                yield f"{text}{number}"
            if text is not None:
                yield text


def _spell(tree: Any, number: int, more: int, turn: int) -> str | None:
    pieces = [_piece(str(op), argument, number, more, turn) for op, argument in tree]
    return None if None in pieces else "".join(piece for piece in pieces if piece is not None)


def _piece(op: str, argument: Any, number: int, more: int, turn: int) -> str | None:
    match op:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return "b" if chr(argument) == "a" else "a"
        case "ANY":
            return "a"
        case "AT":
            return ""
        case "IN":
            return _member(argument, number)
        case "SUBPATTERN":
            return _spell(argument[-1], number, more, turn)
        case "ATOMIC_GROUP":
            return _spell(argument, number, more, turn)
        case "BRANCH":
            options = argument[1]
            return _spell(options[(number - 1 + turn) % len(options)], number, more, turn)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, high, inner = argument
            times = min(int(high), max(low, 1) + more, 10_000) if turn < 2 else min(low, 10_000)
            piece = _spell(inner, number, more, turn)
            return None if piece is None else _repeated(piece, times, number, low)
        case _:
            return None  # look-arounds and back references


def _repeated(piece: str, times: int, number: int, low: int) -> str:
    """A run of digits spells the number itself, so that ids count on: `S-009`, `S-010`."""
    if piece.isascii() and piece.isdigit():
        return str(number).zfill(times) if low <= times else piece * times
    return piece * times


def _member(items: Sequence[tuple[Any, Any]], number: int) -> str | None:
    kinds = [(str(op), argument) for op, argument in items]
    if kinds[0] == ("NEGATE", None):
        banned = re.compile("|".join(re.escape(chr(a)) for op, a in kinds if op == "LITERAL") or r"(?!)")
        return next((c for c in "aA1_-. " if not banned.match(c) and not _in_any(kinds[1:], c)), None)
    op, argument = kinds[0]
    if op == "LITERAL":
        return chr(argument)
    if op == "RANGE":
        low, high = argument
        return chr(low + number % 10) if (low, high) == (48, 57) else chr(min(low + (number - 1) % 26, high))
    return {"CATEGORY_DIGIT": str(number % 10), "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}.get(str(argument), "-")


def _in_any(kinds: Sequence[tuple[str, Any]], char: str) -> bool:
    tests = {"CATEGORY_DIGIT": str.isdigit, "CATEGORY_SPACE": str.isspace, "CATEGORY_WORD": str.isalnum}
    for op, argument in kinds:
        if op == "RANGE" and argument[0] <= ord(char) <= argument[1]:
            return True
        if op == "CATEGORY" and (test := tests.get(str(argument))) and test(char):
            return True
    return False


# ---- numbers


def numbers(flat: Mapping[str, Any], name: str, at: tuple[int, ...], *, whole: bool) -> Iterator[int | float]:
    """Yield numbers, the place in the array first, then the bounds and the multiples near them."""
    n = at[-1] if at else 1
    low, high = flat.get("minimum"), flat.get("maximum")
    above, below = flat.get("exclusiveMinimum"), flat.get("exclusiveMaximum")
    floors = [x for x in (low, above) if x is not None]
    roofs = [x for x in (high, below) if x is not None]
    step = flat.get("multipleOf")
    tries: list[int | float] = []
    if floors and roofs:
        tries.append(max(floors) + (min(roofs) - max(floors)) * (0.5 + 0.1 * (n % 4)))
    tries += [0.8] if not whole and re.search("(?i)confidence|probab|ratio|share", name) else []
    tries += [n, *floors, *(x + n for x in floors), *(x + 1 for x in floors), *roofs, *(x - 1 for x in roofs), 0]
    tries += [(a + b) / 2 for a, b in pairwise([*floors, *roofs])]
    for value in tries:
        if step:
            for multiple in (math.ceil(value / step), math.floor(value / step), math.ceil(value / step) + 1):
                yield from _as_number(multiple * step, whole=whole)
                yield round(multiple * step, 9)
        else:
            yield from _as_number(value, whole=whole)


def _as_number(value: float, *, whole: bool) -> Iterator[int | float]:
    if whole:
        yield from dict.fromkeys((math.floor(value), math.ceil(value)))
    else:
        yield int(value) if float(value).is_integer() else round(value, 2)
        yield value


# ---- joining


def join(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return one flat schema for what satisfies both. Where that cannot be said flatly, `other` stands."""
    joined = {**one, **other}
    for key in one.keys() & other.keys():
        joined[key] = _both(key, one[key], other[key])
    return joined


def _both(key: str, a: Any, b: Any) -> Any:
    match key:
        case "required":
            return list(dict.fromkeys([*a, *b]))
        case "properties" | "patternProperties":
            return {**a, **{name: {"allOf": [a[name], rule]} if name in a else rule for name, rule in b.items()}}
        case "items" | "additionalProperties" | "contains" | "propertyNames":
            return a if b is True else b if a is True else {"allOf": [a, b]}
        case "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties":
            return max(a, b)
        case "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties":
            return min(a, b)
        case "enum":
            return [value for value in a if value in b]
        case "type":
            return _both_types(a, b)
        case _:
            return b


def _both_types(a: Any, b: Any) -> list[str]:
    one, other = ([t] if isinstance(t, str) else list(t) for t in (a, b))
    both = [t for t in one if t in other]
    narrowed = ["integer"] if {"integer", "number"} <= {*one, *other} and "integer" not in both else []
    return both + narrowed
