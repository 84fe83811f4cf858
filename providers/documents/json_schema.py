"""JSON Schema in bounded time: no pattern, reference or list of an untrusted schema or answer can hang the process.

Patterns are the business of `regex`, which can be told to give up. Everything else is counted: a schema may ask for as
many checks as an answer of that size can need. Pure but for the processor's clock that `regex` itself reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar

from providers.documents.pattern_size import MOST_WRITTEN_OUT, written_out

T = TypeVar("T")

FAST_S, SLOW_S = 0.005, 0.25
"""Seconds of processor time for one search: at first, and where that was too short."""
SLOW_SEARCHES = 3
"""How many searches of one validation may need more than the first."""
CHECKS, CHECKS_A_VALUE = 20_000, 200
"""How many keywords one validation may look at: always, and more for each value in the instance."""
EVIL_TAIL = "\x00"
_FUZZY = re.compile(r"(?<!\\)\{(?=[deis]\s*[<:}])")


class SchemaTooCostly(ValueError):
    """Whether a value fits a schema cannot be found in bounded time: the schema is at fault, not the value."""


@dataclass(slots=True)
class _Allowance:
    """What is left for one validation."""

    checks: int
    slow: int = SLOW_SEARCHES
    known: dict[tuple[str, str], bool] = field(default_factory=dict)

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise SchemaTooCostly("the schema asks for far more checks than a value of this size can need")

    def found(self, pattern: str, text: str) -> bool:
        if (known := self.known.get((pattern, text))) is None:
            known = self.known[pattern, text] = self._search(pattern, text)
        return known

    def _search(self, pattern: str, text: str) -> bool:
        with suppress(TimeoutError):
            return found(pattern, text, FAST_S)
        self.slow -= 1
        if self.slow >= 0:
            with suppress(TimeoutError):
                return found(pattern, text, SLOW_S)
        raise SchemaTooCostly(f"the pattern {_short(pattern)!r} takes too long on a text of {len(text)} characters")


_allowance: ContextVar[_Allowance] = ContextVar("allowance")


BROKEN = (TypeError, AttributeError, LookupError, ArithmeticError)
"""What the checks raise where a keyword of a schema has a value of another kind than it takes."""


@dataclass(frozen=True, slots=True)
class Validator:
    """A schema made ready. Each question is answered in bounded time, or `SchemaTooCostly` is raised."""

    _inner: Any

    def first_error(self, instance: Any) -> Any | None:
        """Return the most telling of what is wrong with `instance`, a `ValidationError`; None where it is valid."""
        from jsonschema.exceptions import best_match

        return self._bounded(instance, lambda: best_match(self._inner.iter_errors(instance)))

    def is_valid(self, instance: Any) -> bool:
        return self._bounded(instance, lambda: next(self._inner.iter_errors(instance), None) is None)

    def evolve(self, schema: Any) -> Validator:
        """Return the same for another schema of the same document."""
        return Validator(self._inner.evolve(schema=schema))

    def _bounded(self, instance: Any, ask: Callable[[], T]) -> T:
        from jsonschema.exceptions import UnknownType
        from referencing.exceptions import Unresolvable

        token = _allowance.set(_Allowance(CHECKS + CHECKS_A_VALUE * _size(instance)))
        try:
            return ask()
        except Unresolvable as missing:
            raise SchemaTooCostly(
                f"the reference {str(missing.ref)[:200]!r} is not in the schema, and nothing is fetched"
            ) from None
        except (UnknownType, *BROKEN) as error:  # a schema that was never checked: of a tool of elsewhere
            raise SchemaTooCostly(f"the schema is none: {type(error).__name__}") from None
        except RecursionError:
            raise SchemaTooCostly(
                "the schema refers to itself without end, or it or the value is nested too deeply"
            ) from None
        finally:
            _allowance.reset(token)


def validator_of(schema: Any, *, check: bool = True, formats: bool = False) -> Validator:
    """Return the schema made ready; a remote `$ref` is never fetched. `formats`: `format` is checked, too.

    Raise `jsonschema.SchemaError` for what is no schema, unless `check` is off, and `SchemaTooCostly`.
    """
    from jsonschema import Draft202012Validator  # slow to import, and few commands need it
    from jsonschema.validators import validator_for
    from referencing import Registry

    try:
        dialect = validator_for(schema, default=Draft202012Validator)
        if check:
            dialect.check_schema(schema)
            for _, pattern in patterns_in(schema):
                _compiled(pattern)
        if _has(schema, "unevaluatedProperties") and _has(schema, "patternProperties"):
            raise SchemaTooCostly("unevaluatedProperties and patternProperties together cannot be checked")
    except RecursionError:
        raise SchemaTooCostly("the schema is nested too deeply") from None
    except OverflowError as error:  # Python's own engine, of a pattern
        raise SchemaTooCostly(f"a pattern of the schema is none: {error}") from None
    except BROKEN as error:
        raise SchemaTooCostly(f"the schema is none: {type(error).__name__}") from None
    checker = dialect.FORMAT_CHECKER if formats else None
    return Validator(_bounded(dialect)(schema, registry=Registry(), format_checker=checker))


def found(pattern: str, text: str, seconds: float = SLOW_S) -> bool:
    """Return whether the pattern is found in the text. Raise `TimeoutError` where that takes too long."""
    return _compiled(pattern).search(text, timeout=seconds) is not None


def pattern_fault(pattern: str) -> str:
    """Return why a run could not search for the pattern at all, "" where it can."""
    try:
        _compiled(pattern)
        re.compile(pattern)  # so the vocabulary of JSON Schema is checked when a task begins
    except SchemaTooCostly as error:
        return str(error)
    except (re.error, OverflowError, RecursionError) as error:
        return f"the pattern {_short(pattern)!r} is none: {error}"
    return ""


def costly(pattern: str) -> bool:
    """Return whether a pattern explodes on a text that it was not made for; texts of few kinds are tried."""
    letters = dict.fromkeys([c for c in pattern if c.isalnum()][:6] + list("aA0 _-."))
    try:
        for letter in letters:
            found(pattern, letter * 48 + EVIL_TAIL, FAST_S * 4)
    except TimeoutError:
        return True
    except SchemaTooCostly:  # what is no pattern is another finding
        return False
    return False


def patterns_in(schema: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, pattern) of every pattern in a schema."""
    if isinstance(schema, Mapping):
        for key, child in schema.items():
            if key == "pattern" and isinstance(child, str):
                yield (*path, key), child
            elif key == "patternProperties" and isinstance(child, Mapping):
                yield from (((*path, key, pattern), pattern) for pattern in child if isinstance(pattern, str))
            if key not in ("enum", "const", "default", "examples"):
                yield from patterns_in(child, (*path, key))
    elif isinstance(schema, list):
        for index, child in enumerate(schema):
            yield from patterns_in(child, (*path, index))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    import regex

    if (size := written_out(pattern)) > MOST_WRITTEN_OUT:
        raise SchemaTooCostly(f"the pattern {_short(pattern)!r} has {size:,} parts with its repeats written out")
    # Braces that only `regex` would take for a fuzzy match are what every other engine takes them for.
    try:
        return regex.compile(_FUZZY.sub(r"\\{", pattern), regex.V0)
    except (regex.error, OverflowError, RecursionError) as error:
        raise SchemaTooCostly(f"the pattern {_short(pattern)!r} is none: {error}") from None


@lru_cache(maxsize=16)
def _bounded(dialect: Any) -> Any:
    """Return a dialect's validator, with its keywords counted, and those that could take long written anew."""
    from jsonschema.validators import extend

    ours = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        "multipleOf": _multiple_of,
    }
    keywords = {
        name: _counted(ours.get(name, keyword)) for name, keyword in dialect.VALIDATORS.items() if keyword is not None
    }
    return extend(dialect, keywords)  # type: ignore[no-untyped-call]  # the library's


def _counted(keyword: Any) -> Any:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _allowance.get().check()
        return keyword(validator, value, instance, schema)

    return counted


def _error(message: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message)


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and not _allowance.get().found(pattern, instance):
        yield _error(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, rules: Mapping[str, Any], instance: Any, _: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, rule in rules.items():
        for name, value in instance.items():
            if _allowance.get().found(pattern, name):
                yield from validator.descend(value, rule, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    allowance = _allowance.get()
    extras = [name for name in instance if name not in known and not any(allowance.found(p, name) for p in patterns)]
    if validator.is_type(rule, "object"):
        for name in extras:
            yield from validator.descend(instance[name], rule, path=name)
    elif not rule and extras:
        names = ", ".join(map(repr, sorted(extras)))
        if patterns:
            verb = "does" if len(extras) == 1 else "do"
            yield _error(f"{names} {verb} not match any of the regexes: {', '.join(map(repr, sorted(patterns)))}")
        else:
            verb = "was" if len(extras) == 1 else "were"
            yield _error(f"Additional properties are not allowed ({names} {verb} unexpected)")


def _unique_items(validator: Any, wanted: Any, instance: Any, _: Any) -> Iterator[Any]:
    if not wanted or not validator.is_type(instance, "array"):
        return
    seen = set()
    for item in instance:
        if (key := _identity(item)) in seen:
            yield _error(f"{instance!r} has non-unique elements")
            return
        seen.add(key)


def _identity(value: Any) -> Any:
    """Return what is equal for equal JSON values alone: 1 is 1.0, and neither is true."""
    if isinstance(value, Mapping):
        return "object", frozenset((name, _identity(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return "array", tuple(map(_identity, value))
    return type(value) if isinstance(value, bool) else None, value


def _multiple_of(validator: Any, factor: Any, instance: Any, _: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "number"):
        return
    try:
        if isinstance(factor, float):
            quotient = instance / factor
            broken = int(quotient) != quotient
        else:
            broken = bool(instance % factor)
    except OverflowError:  # a whole number that no float holds, or no number at all: 1e999
        broken = isinstance(instance, float) or (Fraction(instance) / Fraction(factor)).denominator != 1
    except ValueError:
        broken = True
    if broken:
        yield _error(f"{instance!r} is not a multiple of {factor}")


def _size(instance: Any) -> int:
    """Return how many values there are in a value."""
    size, waiting = 0, [instance]
    while waiting:
        value = waiting.pop()
        size += 1
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return size


def _has(schema: Any, word: str) -> bool:
    if isinstance(schema, Mapping):
        return word in schema or any(_has(child, word) for child in schema.values())
    return isinstance(schema, list) and any(_has(child, word) for child in schema)


def _short(pattern: str) -> str:
    return pattern if len(pattern) <= 80 else f"{pattern[:79]}…"
