"""An instance of a JSON Schema, found without a model: the shape first, then sensible words.

At each place a few values are tried, the best first, each validated against the schema there, and the whole at the
end. This is no solver: a schema that it finds no instance of is refused, with the place. No reference is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from jsonschema.exceptions import SchemaError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from providers.documents.json_schema import SchemaTooCostly, found, validator_of
from providers.errors import Unsupported
from providers.stub.candidates import Spot, flags, numbers, rank, strings
from providers.stub.spelling import turned

MOST_PLACES = 5_000
"""Places looked at, at most: a schema that branches at every level ends here, in about a second."""
MOST_VARIANTS = 24
MOST_HOPS = 24
"""References and combinators inside one another at one place."""
OPTIONAL_DEPTH = 4
"""From this depth on, optional properties and items are left out: recursive schemas end."""
MOST_DEPTH = 40
MOST_ITEMS = 1_000


class NoInstance(Unsupported):
    """The offline stub finds no instance of the output schema. `path` is the place in the answer, as a JSONPath.

    The stub would fail in the same way when asked again, so no router retries it.
    """

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"the offline stub cannot answer in this output schema: at {_short(path)}: {why}")
        self.path = path


def sample(schema: Any, subject: str, words: Sequence[str]) -> Any:
    """Return an instance that validates, made of `subject` and `words` (one or more). Raise `NoInstance`."""
    try:
        validator = validator_of(schema, formats=True)
        instance = _Sampler(schema, validator, subject, words).make(schema, Spot())
        error = validator.first_error(instance)
    except SchemaTooCostly as costly:
        raise NoInstance("$", str(costly)) from costly
    except SchemaError as invalid:
        raise NoInstance(invalid.json_path, f"the schema itself is invalid: {invalid.message[:200]}") from invalid
    except Unresolvable as missing:
        raise NoInstance(
            "$", f"the reference {missing.ref!r} is not in the schema, and nothing is fetched"
        ) from missing
    except RecursionError as endless:
        raise NoInstance("$", "the schema refers to itself without end") from endless
    if error:
        raise NoInstance(error.json_path, error.message[:200])
    return instance


class _Sampler:
    def __init__(self, root: Any, validator: Any, subject: str, words: Sequence[str]) -> None:
        resource = Resource.from_contents(root, default_specification=DRAFT202012)
        self._resolver = Registry().with_resource(resource.id() or "", resource).resolver(resource.id() or "")
        self._validator, self._subject, self._words = validator, subject, words
        self._left = MOST_PLACES

    def make(self, schema: Any, spot: Spot) -> Any:
        """Return the first value that is valid at `spot`."""
        self._left -= 1
        if self._left < 0 or spot.depth > MOST_DEPTH:
            raise NoInstance(spot.path, "no instance found within the limits on size and depth")
        valid = self._validator.evolve(schema=schema).is_valid
        failure: NoInstance | None = None
        for flat in sorted(islice(self._variants(schema, MOST_HOPS), MOST_VARIANTS), key=lambda f: _order(f, spot)):
            try:
                return next(value for value in self._values(flat, spot) if valid(value))
            except StopIteration:
                continue
            except NoInstance as inner:
                failure = failure or inner
        why = f"no instance found for {_short(schema)}; the stub takes one from `examples`, if the schema has them"
        raise failure or NoInstance(spot.path, why)

    def _variants(self, schema: Any, hops: int) -> Iterator[Mapping[str, Any]]:
        """Yield flat schemas, without references and combinators, whose instances may satisfy `schema`."""
        self._left -= 1
        if schema is False or hops < 0 or self._left < 0:
            return
        schema = {} if schema is True else schema
        choices = [[part] for part in schema.get("allOf", ())]
        if "$ref" in schema:
            choices.append([self._resolver.lookup(schema["$ref"]).contents])
        choices += [schema[key] for key in ("anyOf", "oneOf") if key in schema]
        if "if" in schema:
            choices.append([{"allOf": [schema["if"], schema.get("then", True)]}, schema.get("else", True)])
        yield from self._joined({k: v for k, v in schema.items() if k not in _COMBINATORS}, choices, hops - 1)

    def _joined(self, flat: Mapping[str, Any], choices: list[Any], hops: int) -> Iterator[Mapping[str, Any]]:
        if not choices:
            yield flat
        for branch in choices[0] if choices else ():
            for variant in self._variants(branch, hops):
                yield from self._joined(_join(flat, variant), choices[1:], hops)

    def _values(self, flat: Mapping[str, Any], spot: Spot) -> Iterator[Any]:
        if "const" in flat or "enum" in flat:
            yield from [flat["const"]] if "const" in flat else sorted(turned(flat["enum"], spot.number), key=rank)
            return
        yield from flat.get("examples", ())
        for kind in _types(flat):
            match kind:
                case "object":
                    yield from self._objects(flat, spot)
                case "array":
                    yield from self._arrays(flat, spot)
                case "string":
                    yield from strings(flat, spot, self._subject, self._words)
                case "integer" | "number":
                    yield from numbers(flat, spot, whole=kind == "integer")
                case "boolean":
                    yield from flags(spot)
                case _:
                    yield None
        yield from [flat["default"]] if "default" in flat else ()

    def _objects(self, flat: Mapping[str, Any], spot: Spot) -> Iterator[dict[str, Any]]:
        """Yield an object with all its properties, then one with those that it must have."""
        least = list(flat.get("required", ()))
        required = [*least, *chain(*flat.get("dependentRequired", {}).values())]
        optional = [name for name in flat.get("properties", {}) if name not in required]
        if spot.depth < OPTIONAL_DEPTH:
            yield self._object(flat, spot, required, optional[: flat.get("maxProperties", 1 << 30) - len(required)])
        yield self._object(flat, spot, required, [])
        yield self._object(flat, spot, least, [])

    def _object(self, flat: Mapping[str, Any], spot: Spot, required: list[str], optional: list[str]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in dict.fromkeys([*flat.get("properties", {}), *required]):
            try:
                if name in required or name in optional:
                    made[name] = self.make(_member_schema(flat, name), spot.member(name))
            except NoInstance:
                if name in required:
                    raise
        is_map = not flat.get("properties") and isinstance(flat.get("additionalProperties"), Mapping)
        wanted = max(flat.get("minProperties", 0), 2 if is_map and spot.depth < OPTIONAL_DEPTH else 0)
        for number in range(1, min(wanted, flat.get("maxProperties", wanted), MOST_ITEMS) + 1 - len(made)):
            name = self.make(_key_schema(flat), Spot("key", spot.name, (number,), spot.depth + 1, spot.path))
            made[name] = self.make(_member_schema(flat, name), spot.member(name).item(number))
        return made

    def _arrays(self, flat: Mapping[str, Any], spot: Spot) -> Iterator[list[Any]]:
        """Yield an array of two or three items where that is allowed, then shorter ones."""
        fixed, least = len(_tuple(flat)), flat.get("minItems", 0)
        if least > MOST_ITEMS:
            raise NoInstance(spot.path, f"{least} items are asked for; the stub makes at most {MOST_ITEMS}")
        usual = fixed if fixed and "items" not in flat else fixed + (3 if spot.depth < 2 else 2)
        counts = (usual if spot.depth < OPTIONAL_DEPTH else least, fixed or 2, 2, 1, least)
        for count in dict.fromkeys(max(least, min(flat.get("maxItems", usual), n)) for n in counts):
            try:
                yield [self.make(_item_schema(flat, n), spot.item(n)) for n in range(1, count + 1)]
            except NoInstance:
                if count == least:
                    raise


_COMBINATORS = frozenset(("$ref", "allOf", "anyOf", "oneOf", "if", "then", "else"))
_HINTS = {
    "object": "properties required additionalProperties patternProperties minProperties propertyNames",
    "array": "items prefixItems minItems maxItems contains uniqueItems",
    "string": "pattern minLength maxLength format",
    "number": "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf",
}


def _types(flat: Mapping[str, Any]) -> list[str]:
    """Return the types to try: those that the schema names, `null` last; else those that its keywords suggest first."""
    if named := flat.get("type"):
        return sorted([named] if isinstance(named, str) else named, key=lambda kind: kind == "null")
    hinted = [kind for kind, keys in _HINTS.items() if flat.keys() & set(keys.split())]
    return list(dict.fromkeys([*hinted, "string", "object", "array", "integer", "number", "boolean", "null"]))


def _order(flat: Mapping[str, Any], spot: Spot) -> tuple[int, int]:
    """Positive verdicts first; deep inside, what needs the least first, so that recursion ends."""
    verdict = rank(flat["const"]) if "const" in flat else min(map(rank, flat.get("enum", ())), default=1)
    nested = bool(flat.keys() & {"properties", "items", "prefixItems"})
    return verdict, (len(flat.get("required", ())) + nested if spot.depth >= OPTIONAL_DEPTH else 0)


def _member_schema(flat: Mapping[str, Any], name: str) -> Any:
    rules = [flat["properties"][name]] if name in flat.get("properties", {}) else []
    rules += [rule for pattern, rule in flat.get("patternProperties", {}).items() if found(pattern, name)]
    if not rules:
        return flat.get("additionalProperties", True)
    return rules[0] if len(rules) == 1 else {"allOf": rules}


def _key_schema(flat: Mapping[str, Any]) -> Any:
    patterns = [{"pattern": pattern} for pattern in flat.get("patternProperties", {})][:1]
    closed = patterns if flat.get("additionalProperties") is False else []
    return {"type": "string", "allOf": [*closed, flat.get("propertyNames", True)]}


def _tuple(flat: Mapping[str, Any]) -> list[Any]:
    """Return the schemas of the first items: `prefixItems`, or the list of `items` in drafts before 2020."""
    rules = flat.get("prefixItems", flat.get("items"))
    return rules if isinstance(rules, list) else []


def _item_schema(flat: Mapping[str, Any], number: int) -> Any:
    fixed = _tuple(flat)
    if number <= len(fixed):
        return fixed[number - 1]
    rest = flat.get("additionalItems" if isinstance(flat.get("items"), list) else "items", True)
    wanted = flat.get("minContains", 1) if "contains" in flat else 0
    return {"allOf": [rest, flat["contains"]]} if number - len(fixed) <= wanted else rest


def _both_types(one: Any, other: Any) -> list[str]:
    pair = [{types} if isinstance(types, str) else set(types) for types in (one, other)]
    wide = [types | {"integer"} if "number" in types else types for types in pair]
    return sorted(wide[0] & wide[1])


def _both_members(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, **{name: {"allOf": [one[name], rule]} if name in one else rule for name, rule in other.items()}}


_JOINS: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("items", "additionalProperties", "contains", "propertyNames"), lambda a, b: {"allOf": [a, b]}),
    **dict.fromkeys(("properties", "patternProperties"), _both_members),
    "required": lambda one, other: [*one, *other],
    "enum": lambda one, other: [value for value in one if value in other],
    "type": _both_types,
}


def _join(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return one flat schema for what satisfies both. Where that cannot be said flatly, `other` stands."""
    return {
        **one,
        **other,
        **{key: _JOINS[key](one[key], other[key]) for key in one.keys() & other.keys() & _JOINS.keys()},
    }


def _short(what: Any) -> str:
    text = what if isinstance(what, str) else json.dumps(what, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else f"{text[:119]}…"
