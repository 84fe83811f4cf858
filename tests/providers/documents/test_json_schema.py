"""JSON Schema in bounded time, with the verdicts of the reference validator."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match

from providers.documents.json_schema import SchemaTooCostly, costly, pattern_fault, patterns_in, validator_of
from providers.documents.pattern_size import written_out

EVIL = ["^(a+)+$", "(a*)*$", "^([a-zA-Z]+)*$", r"^(\w+\s?)*$", "^(a|a?)+$", "(x+x+)+y", r"^(.+)+\.(.+)+$"]
"""Those that hang the standard library's engine."""
WORST = "^(a|aa)+$"
"""One that hangs `regex` too."""
LONG = "a" * 60 + "!"
ENOUGH_S = 20.0
"""Of processor time: an unbounded search takes years."""


@pytest.mark.parametrize("pattern", [*EVIL, pytest.param(WORST, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (lambda p: {"pattern": p}, LONG),
        (lambda p: {"patternProperties": {p: True}}, {LONG: 1}),
        (lambda p: {"patternProperties": {p: True}, "additionalProperties": False}, {LONG: 1}),
        (lambda p: {"propertyNames": {"pattern": p}}, {LONG: 1}),
        (lambda p: {"items": {"anyOf": [{"pattern": p}, {"pattern": f"x{p}"}]}}, [LONG, f"{LONG}!", f"{LONG}?"]),
    ],
    ids=["pattern", "patternProperties", "additionalProperties", "propertyNames", "items"],
)
def test_a_pattern_that_explodes_ends(pattern, schema, value):
    began = time.process_time()
    with suppress(SchemaTooCostly):
        validator_of(schema(pattern)).first_error(value)
    assert time.process_time() - began < ENOUGH_S


def test_what_explodes_is_told_by_the_pattern_and_nothing_of_the_text():
    with pytest.raises(
        SchemaTooCostly, match=r"the pattern '\^\(a\|aa\)\+\$' takes too long on a text of 61 characters"
    ):
        validator_of({"pattern": WORST}).first_error(LONG)


def test_a_pattern_that_explodes_is_known_before_it_meets_a_text():
    assert costly(WORST)
    assert costly("^(b|bb|c)*$")


@pytest.mark.parametrize(
    "pattern",
    ["^[a-z]+$", r"^\d{4}-\d\d-\d\d$", "^(draft|final)$", r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "(", r"^v\d+(\.\d+)*$", ""],
)
def test_a_usual_pattern_is_not_costly(pattern):
    assert not costly(pattern)


def test_patterns_are_found_wherever_they_stand():
    schema = {"items": [{"pattern": "a"}], "patternProperties": {"b": {"pattern": "c"}}, "const": {"pattern": "d"}}
    assert sorted(pattern for _, pattern in patterns_in(schema)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {
            "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": True},
            "$ref": "#/$defs/d0",
        },
    ],
    ids=["itself", "twice itself", "in a circle", "doubling"],
)
def test_references_that_lead_nowhere_end(schema):
    with pytest.raises(SchemaTooCostly):
        validator_of(schema).first_error({"a": 1})


def test_many_different_objects_are_compared_in_good_time():
    began = time.process_time()
    assert validator_of({"uniqueItems": True}).is_valid([{"n": n} for n in range(5_000)])
    assert time.process_time() - began < ENOUGH_S


SAME = [
    ({"uniqueItems": True}, [1, True, 0, False, "1", None, [], {}], True),
    ({"uniqueItems": True}, [1, 1.0], False),
    ({"uniqueItems": True}, [{"a": [1, {"b": 2}]}, {"a": [1.0, {"b": 2}]}], False),
    ({"uniqueItems": True}, [{"a": 1}, {"a": True}], True),
    ({"multipleOf": 0.01}, 4.02, False),
    ({"multipleOf": 0.5}, 10**400, True),
    ({"multipleOf": 3}, 10**400, False),
    ({"multipleOf": 0.5}, json.loads("1e999"), False),
    ({"multipleOf": 2}, json.loads("1e999"), False),
    ({"pattern": "^[a-z]{2}$"}, "ab\n", True),
    ({"pattern": "^a{i}$"}, "a{i}", True),
    ({"pattern": "^a{i}$"}, "ab", False),
    ({"pattern": "^a{e<=1}$"}, "b", False),
    ({"pattern": "(?i)^ÄÖ$"}, "äö", True),
    ({"patternProperties": {"^x": {"type": "integer"}}}, {"x1": "no"}, False),
    ({"properties": {"a": True}, "patternProperties": {"^x": True}, "additionalProperties": False}, {"b": 1}, False),
    ({"properties": {"a": True}, "additionalProperties": False}, {"b": 1, "c": 2}, False),
    ({"properties": {"a": True}, "additionalProperties": {"type": "string"}}, {"b": 1}, False),
]


@pytest.mark.parametrize(("schema", "value", "valid"), SAME)
@pytest.mark.parametrize("dialect", [Draft202012Validator, Draft4Validator])
def test_verdicts_and_messages_are_those_of_the_reference_validator(schema, value, valid, dialect):
    if dialect is Draft4Validator:
        schema = json.loads(
            json.dumps(schema).replace('{"a": true}', '{"a": {}}').replace('{"^x": true}', '{"^x": {}}')
        )
    named = {"$schema": dialect.META_SCHEMA.get("$id", dialect.META_SCHEMA.get("id")), **schema}
    ours = validator_of(named).first_error(value)
    assert (ours is None) == valid
    try:
        theirs = best_match(dialect(schema).iter_errors(value))
    except OverflowError:
        return  # the reference has no answer there
    assert (ours and ours.message) == (theirs and theirs.message)


def test_what_is_no_schema_and_what_cannot_be_bounded_is_refused_at_once():
    with pytest.raises(SchemaError):
        validator_of({"type": "strin"})
    with pytest.raises(SchemaTooCostly):
        validator_of({"patternProperties": {"a": True}, "unevaluatedProperties": False})


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("", 0),
        ("abc", 3),
        (r"^[a-z\]]+\d*$", 4),
        ("a{3}b", 4),
        ("(ab){3}|c", 8),
        ("(a{2,9}){3,}", 6),
        ("(a{0,5}){0}", 1),
        ("a{i}", 4),
        (r"\(a{2}\)", 4),
        ("[(]{5}", 5),
        ("((a{1000}){1000}){1000}", 10**9),
        ("((((a{1000}){1000}){1000}){1000}){1000}", 10**12),
        ("a{" + "9" * 5000 + "}", 10**12),
        ("(" * 3 + "a{7}", 7),
        (")a", 2),
    ],
)
def test_repeats_within_repeats_multiply(pattern, parts):
    assert written_out(pattern) == parts


@pytest.mark.parametrize("pattern", ["((a{1000}){1000}){1000}", "a{1,4294967295}", "a{999999999}", "(" * 5000])
def test_a_pattern_that_would_fill_the_memory_or_is_none_is_refused_at_once(pattern):
    """Both where the schema is made ready, and where a tool's schema that is taken as it stands meets a value."""
    assert pattern_fault(pattern)
    began = time.process_time()
    for schema, value in (({"pattern": pattern}, "aa"), ({"patternProperties": {pattern: True}}, {"aa": 1})):
        with pytest.raises((SchemaTooCostly, SchemaError)):
            validator_of(schema)
        with pytest.raises(SchemaTooCostly):
            validator_of(schema, check=False).first_error(value)
    assert time.process_time() - began < ENOUGH_S


@pytest.mark.parametrize("pattern", ["^a{1,1000}$", "^[A-Za-z0-9+/]{4000}$", r"^(\d{1,3}\.){3}\d{1,3}$", "^a{i}$", ""])
def test_a_usual_pattern_can_be_searched_for(pattern):
    assert pattern_fault(pattern) == ""


def some_schema(rng: Random, depth: int = 3) -> Any:
    """Return a schema at random, of every kind of keyword."""
    inner = (lambda: some_schema(rng, depth - 1)) if depth else (lambda: rng.choice([True, {}, {"type": "string"}]))
    some = {
        "type": lambda: rng.choice(["string", "integer", "number", "object", "array", "boolean", ["null", "string"]]),
        "enum": lambda: rng.sample([1, True, "a", None, [1], {"a": 1}, 1.0], 3),
        "const": lambda: rng.choice([0, False, "a", [1, 2]]),
        "pattern": lambda: rng.choice(["^a", "b$", "[0-9]+", "^(a|b)*$"]),
        "minLength": lambda: rng.randrange(3),
        "minimum": lambda: rng.randrange(3),
        "multipleOf": lambda: rng.choice([1, 2, 0.5]),
        "uniqueItems": lambda: rng.choice([True, False]),
        "items": inner,
        "prefixItems": lambda: [inner(), inner()],
        "contains": inner,
        "maxItems": lambda: rng.randrange(3),
        "properties": lambda: {"a": inner(), "b": inner()},
        "patternProperties": lambda: {"^a": inner(), "b$": inner()},
        "additionalProperties": inner if rng.random() < 0.5 else (lambda: False),
        "propertyNames": inner,
        "required": lambda: rng.sample(["a", "b", "c"], 1),
        "dependentSchemas": lambda: {"a": inner()},
        "minProperties": lambda: rng.randrange(3),
        "allOf": lambda: [inner(), inner()],
        "anyOf": lambda: [inner(), inner()],
        "oneOf": lambda: [inner(), inner()],
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
    }
    return {name: some[name]() for name in rng.sample(sorted(some), rng.choice([1, 2, 2, 3]))}


def some_value(rng: Random, depth: int = 2) -> Any:
    plain = [0, 1, 2.5, -1, True, False, None, "", "a", "ab", "7b"]
    if not depth or rng.random() < 0.4:
        return rng.choice(plain)
    if rng.random() < 0.5:
        return [some_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {name: some_value(rng, depth - 1) for name in rng.sample(["a", "b", "c", "ab"], rng.randrange(4))}


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 60))])
def test_random_schemas_get_the_verdicts_of_the_reference_validator(seed):
    rng = Random(seed)
    for _ in range(25):
        schema = some_schema(rng)
        ours, theirs = validator_of(schema, check=False), Draft202012Validator(schema)
        for _ in range(4):
            value = some_value(rng)
            assert ours.is_valid(value) == theirs.is_valid(value), (schema, value)
