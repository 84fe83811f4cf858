"""An instance of a JSON Schema (Draft 2020-12), found without a model: the shape first, then sensible words.

`sample` tries a few values at each place, best first, checks each against the schema there, and the whole at the end.
It is no solver: what it cannot find it refuses, and it never fetches a reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from providers.stub.sample_values import infer_type, join, name_is_positive, numbers, rank, strings

Json: TypeAlias = Any
Schema: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Schema | bool

BUDGET = 5_000
"""Places looked at, at most: a schema that branches at every level ends here, in about a second."""
VARIANTS = 24
REFERENCE_HOPS = 24
OPTIONAL_DEPTH = 4
"""From this depth on, optional properties and optional items are left out: recursive schemas end."""
MAX_DEPTH = 40
MAX_ITEMS = 1_000


class Unsatisfiable(ValueError):
    """No instance was found. Says at which place, and what stands there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the instance a value stands: its property's name, the nearest array's, and the places in arrays."""

    name: str = ""
    group: str = ""
    numbers: tuple[int, ...] = ()
    depth: int = 0
    path: str = "$"

    def member(self, name: str) -> Place:
        return replace(self, name=name, depth=self.depth + 1, path=f"{self.path}.{name}")

    def item(self, number: int) -> Place:
        group, at = self.name or self.group, (*self.numbers, number)
        return replace(self, group=group, numbers=at, depth=self.depth + 1, path=f"{self.path}[{number - 1}]")


def sample(schema: Rule, subject: str, words: Sequence[str]) -> Json:
    """Return an instance that validates, made of `subject` and `words` (three or more). Raise `Unsatisfiable`."""
    try:
        Draft202012Validator.check_schema(schema)
        sampler = _Sampler(schema, subject, tuple(words))
        instance = sampler.make(schema, Place())
        sampler.prove(instance)
    except SchemaError as error:
        raise Unsatisfiable(f"the schema itself is invalid at {error.json_path}: {error.message}") from error
    except Unresolvable as error:
        raise Unsatisfiable(f"the reference {error.ref!r} is not in the schema, and nothing is fetched") from error
    except RecursionError as error:
        raise Unsatisfiable("the schema refers to itself without end") from error
    return instance


class _Sampler:
    def __init__(self, root: Rule, subject: str, words: tuple[str, ...]) -> None:
        # An empty registry: a remote `$ref` fails, it is not fetched.
        self._validator = Draft202012Validator(root, registry=Registry(), format_checker=FormatChecker())
        resource = Resource.from_contents(root, default_specification=DRAFT202012)
        self._resolver = Registry().with_resource(resource.id() or "", resource).resolver(resource.id() or "")
        self._subject, self._words = subject, words
        self._left = BUDGET

    def prove(self, instance: Json) -> None:
        """Raise `Unsatisfiable` where the whole does not validate, though each part did."""
        if error := next(self._validator.iter_errors(instance), None):
            raise Unsatisfiable(f"at {error.json_path}: {error.message[:200]}")

    def make(self, schema: Rule, place: Place) -> Json:
        """Return the first value that is valid at `place`."""
        self._left -= 1
        if self._left < 0 or place.depth > MAX_DEPTH:
            raise Unsatisfiable(f"no instance found at {_short(place.path)} within the limits on size and depth")
        flats = sorted(islice(self._variants(schema, REFERENCE_HOPS), VARIANTS), key=lambda f: _order(f, place))
        validator = self._validator.evolve(schema=schema)
        failure: Unsatisfiable | None = None
        for flat in flats:
            try:
                for value in self._values(flat, place):
                    if validator.is_valid(value):
                        return value
            except Unsatisfiable as inner:
                failure = failure or inner
        raise failure or Unsatisfiable(f"no instance found at {_short(place.path)} for {_short(schema)}")

    # -- combinators: a schema as a choice of flat ones

    def _variants(self, schema: Rule, hops: int) -> Iterator[Schema]:
        """Flat schemas, without references and combinators, whose instances may satisfy `schema`."""
        self._left -= 1
        if schema is False or hops < 0 or self._left < 0:
            return
        if schema is True:
            yield {}
            return
        flat = {key: value for key, value in schema.items() if key not in _COMBINATORS}
        yield from self._expand(flat, self._choices(schema), hops - 1)

    def _choices(self, schema: Schema) -> list[list[Rule]]:
        choices: list[list[Any]] = [[part] for part in schema.get("allOf", ())]
        choices += [[self._resolver.lookup(schema[key]).contents] for key in ("$ref", "$dynamicRef") if key in schema]
        choices += [list(schema[key]) for key in ("anyOf", "oneOf") if key in schema]
        if "if" in schema:
            choices.append([{"allOf": [schema["if"], schema.get("then", True)]}, schema.get("else", True)])
        choices += [[part] for part in schema.get("dependentSchemas", {}).values()]
        return choices

    def _expand(self, flat: Schema, choices: list[list[Rule]], hops: int) -> Iterator[Schema]:
        if not choices:
            yield flat
            return
        for branch in choices[0]:
            for variant in self._variants(branch, hops):
                yield from self._expand(join(flat, variant), choices[1:], hops)

    # -- values of a flat schema, best first

    def _values(self, flat: Schema, place: Place) -> Iterator[Json]:
        if "const" in flat:
            yield flat["const"]
            return
        if "enum" in flat:
            turn = place.numbers[-1] - 1 if place.numbers else 0
            options = list(flat["enum"])
            turned = options[turn % len(options) :] + options[: turn % len(options)] if options else []
            yield from sorted(turned, key=rank)
            return
        yield from flat.get("examples", ())
        for kind in infer_type(flat):
            yield from self._values_of(kind, flat, place)
        if "default" in flat:
            yield flat["default"]

    def _values_of(self, kind: str, flat: Schema, place: Place) -> Iterator[Json]:
        match kind:
            case "object":
                yield from self._objects(flat, place)
            case "array":
                yield from self._arrays(flat, place)
            case "string":
                yield from strings(flat, place.name, place.group, place.numbers, self._subject, self._words)
            case "integer" | "number":
                yield from numbers(flat, place.name, place.numbers, whole=kind == "integer")
            case "boolean":
                yield from (True, False) if name_is_positive(place.name) else (False, True)
            case _:
                yield None

    def _objects(self, flat: Schema, place: Place) -> Iterator[dict[str, Json]]:
        required = [*flat.get("required", ())]
        for names in flat.get("dependentRequired", {}).values():
            required += names
        optional = [name for name in flat.get("properties", {}) if name not in required]
        if place.depth < OPTIONAL_DEPTH:
            room = max(0, flat.get("maxProperties", len(required) + len(optional)) - len(required))
            yield self._object(flat, place, required, optional[:room])
        yield self._object(flat, place, required, [])
        yield self._object(flat, place, list(flat.get("required", ())), [])

    def _object(self, flat: Schema, place: Place, required: list[str], optional: list[str]) -> dict[str, Json]:
        made: dict[str, Json] = {}
        for name in dict.fromkeys([*flat.get("properties", {}), *required]):
            if name in required:
                made[name] = self.make(_member_schema(flat, name), place.member(name))
            elif name in optional:
                try:
                    made[name] = self.make(_member_schema(flat, name), place.member(name))
                except Unsatisfiable:
                    continue  # an optional property that cannot be is left out
        return self._with_more(made, flat, place)

    def _with_more(self, made: dict[str, Json], flat: Schema, place: Place) -> dict[str, Json]:
        """Add members with names of our own: where `minProperties` asks, or where the schema is a map."""
        is_map = not flat.get("properties") and isinstance(flat.get("additionalProperties"), Mapping)
        wanted = max(flat.get("minProperties", 0), 2 if is_map and place.depth < OPTIONAL_DEPTH else 0)
        wanted = min(wanted, flat.get("maxProperties", wanted), MAX_ITEMS)
        number = 0
        while len(made) < wanted and number < 2 * MAX_ITEMS:
            number += 1
            name = self._new_name(flat, place, number)
            if name not in made:
                made[name] = self.make(_member_schema(flat, name), place.member(name).item(number))
        return made

    def _new_name(self, flat: Schema, place: Place, number: int) -> str:
        asked = [{"pattern": pattern} for pattern in flat.get("patternProperties", {})]
        rule: Any = asked[0] if asked and flat.get("additionalProperties") is False else {}
        names = flat.get("propertyNames", True)
        rule = {"type": "string", "allOf": [rule, names]} if names is not True else {"type": "string", **rule}
        at = Place(name="key", group=place.name or "key", numbers=(number,), depth=place.depth + 1, path=place.path)
        return str(self.make(rule, at))

    def _arrays(self, flat: Schema, place: Place) -> Iterator[list[Json]]:
        fixed, least = flat.get("prefixItems", []), flat.get("minItems", 0)
        if least > MAX_ITEMS:
            raise Unsatisfiable(f"{place.path} asks for {least} items; the sampler makes at most {MAX_ITEMS}")
        usual = len(fixed) if fixed and "items" not in flat else len(fixed) + (3 if place.depth < 2 else 2)
        most = flat.get("maxItems", usual)
        if place.depth >= OPTIONAL_DEPTH:
            usual = least
        for count in dict.fromkeys(max(least, min(most, n)) for n in (usual, len(fixed), 2, 1, least)):
            try:
                yield [self.make(_item_schema(flat, n), place.item(n)) for n in range(1, count + 1)]
            except Unsatisfiable:
                if count == least:
                    raise


_COMBINATORS = frozenset(("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"))


def _order(flat: Schema, place: Place) -> tuple[int, int]:
    """Positive verdicts first; deep inside, what needs the least first, so that recursion ends."""
    verdict = rank(flat["const"]) if "const" in flat else min(map(rank, flat.get("enum", ())), default=1)
    nested = "properties" in flat or "items" in flat or "prefixItems" in flat
    return verdict, (len(flat.get("required", ())) + nested if place.depth >= OPTIONAL_DEPTH else 0)


def _member_schema(flat: Schema, name: str) -> Rule:
    rules = [flat["properties"][name]] if name in flat.get("properties", {}) else []
    rules += [rule for pattern, rule in flat.get("patternProperties", {}).items() if re.search(pattern, name)]
    if not rules:
        rules = [flat.get("additionalProperties", flat.get("unevaluatedProperties", True))]
    return rules[0] if len(rules) == 1 else {"allOf": rules}


def _item_schema(flat: Schema, number: int) -> Rule:
    fixed = flat.get("prefixItems", [])
    if number <= len(fixed):
        return fixed[number - 1]  # type: ignore[no-any-return]  # JSON
    rest = flat.get("items", flat.get("unevaluatedItems", True))
    if "contains" in flat and number - len(fixed) <= min(flat.get("minContains", 1), flat.get("maxContains", 1 << 30)):
        return {"allOf": [rest, flat["contains"]]}
    return rest  # type: ignore[no-any-return]  # JSON


def _short(what: Rule | str) -> str:
    text = what if isinstance(what, str) else json.dumps(what, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else f"{text[:119]}…"
