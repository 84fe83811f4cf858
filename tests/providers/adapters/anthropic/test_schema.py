"""JSON Schema in the subset of the Messages dialect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from providers.adapters.anthropic.schema import MAX_OPTIONAL, MAX_UNIONS, subset
from providers.stub.instances import sample

TEXT = {"type": "string"}


def closed(**properties) -> dict:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def test_objects_are_closed_at_every_level():
    inner = {"properties": {"n": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"a": inner, "b": {"type": "array", "items": inner}}, "required": ["a"]}
    wanted = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    assert subset(schema) == {
        "type": "object",
        "properties": {"a": wanted, "b": {"type": "array", "items": wanted}},
        "required": ["a"],
        "additionalProperties": False,
    }


def test_what_is_not_taken_is_told():
    number = {"type": "integer", "minimum": 1, "maximum": 5, "description": "Stars.", "title": "Stars", "x-ui": 1}
    words = {
        "type": "array",
        "items": {"type": "string", "format": "date", "pattern": "^2"},
        "minItems": 1,
        "maxItems": 3,
    }
    assert subset(closed(n=number, w=words)) == closed(
        n={"type": "integer", "title": "Stars", "description": "Stars. (minimum: 1, maximum: 5)"},
        w={
            "type": "array",
            "items": {"type": "string", "format": "date", "description": '(pattern: "^2")'},
            "minItems": 1,
            "description": "(maxItems: 3)",
        },
    )


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        ({"enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}),
        ({"type": "integer", "const": 1, "default": 1}, {"const": 1, "description": "(default: 1)"}),
        ({"oneOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"allOf": [TEXT], "title": "T"}, {**TEXT, "title": "T"}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
    ],
)
def test_nodes_of_other_kinds(node, wanted):
    assert subset(closed(x=node)) == closed(x=wanted)


def test_definitions_are_kept_and_closed():
    schema = {**closed(x={"$ref": "#/$defs/X"}), "$defs": {"X": {"type": "object", "properties": {"t": TEXT}}}}
    assert subset(schema) == {
        **closed(x={"$ref": "#/$defs/X"}),
        "$defs": {"X": {"type": "object", "properties": {"t": TEXT}, "additionalProperties": False}},
    }


@pytest.mark.parametrize(
    "node",
    [
        {},
        True,
        {"type": "object"},
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "properties": {"a": TEXT}, "required": ["b"]},
        {"type": "array"},
        {"type": "array", "prefixItems": [TEXT], "items": TEXT},
        {"enum": [{"a": 1}]},
        {"enum": []},
        {"allOf": [{"properties": {"a": TEXT}}, {"properties": {"b": TEXT}}]},
        {"anyOf": [{"properties": {"a": TEXT}}], "properties": {"b": TEXT}},
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
        {"$ref": "$defs/none"},
        {"$ref": "https://elsewhere.test/schema"},
    ],
)
def test_what_can_not_be_said_is_not_said(node):
    assert subset(closed(x=node)) is None


def test_a_recursion_can_not_be_said():
    tree = closed(children={"type": "array", "items": {"$ref": "#/$defs/tree"}})
    assert subset({"$ref": "#/$defs/tree", "$defs": {"tree": tree}}) is None
    parent = closed(child={"$ref": "#/definitions/child"})
    family = {"parent": parent, "child": closed(parent={"$ref": "#/definitions/parent"})}
    assert subset({"$ref": "#/definitions/parent", "definitions": family}) is None
    deep = TEXT
    for _ in range(2000):
        deep = {"type": "array", "items": deep}
    assert subset(deep) is None


def test_a_lattice_of_references_takes_no_time():
    def twice(n: int) -> dict:
        return closed(a={"$ref": f"#/$defs/d{n}"}, b={"$ref": f"#/$defs/d{n}"})

    schema = {**twice(0), "$defs": {f"d{n}": twice(n + 1) for n in range(60)} | {"d60": TEXT}}
    assert subset(schema) == schema


def test_too_many_options_and_unions_can_not_be_said():
    fields = {f"f{n}": TEXT for n in range(MAX_OPTIONAL + 1)}
    assert subset({**closed(**fields), "required": ["f0"]}) is not None
    assert subset({**closed(**fields), "required": []}) is None
    unions = {f"f{n}": {"type": ["string", "null"]} for n in range(MAX_UNIONS + 1)}
    assert subset(closed(**unions)) is None


leaves = st.one_of(
    st.builds(lambda low: {"type": "integer", "minimum": low, "maximum": low + 9}, st.integers(-9, 9)),
    st.builds(lambda length: {"type": "string", "maxLength": length}, st.integers(1, 9)),
    st.just({"type": "boolean"}),
    st.just({"enum": ["a", 1, None]}),
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda item: {"type": "array", "items": item, "minItems": 2, "maxItems": 3}, inner),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(
            lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)[:1]}
        ),
    ),
    max_leaves=8,
)


@given(schemas)
def test_what_satisfies_a_schema_satisfies_its_translation(schema):
    translated = subset(schema)
    assert translated is not None
    value = sample(schema, "a subject", ["word"])
    Draft202012Validator(schema).validate(value)
    Draft202012Validator(translated).validate(value)
    assert_in_subset(translated)


def assert_in_subset(node: dict) -> None:
    assert node.keys() <= {
        "type", "enum", "anyOf", "properties", "required", "additionalProperties", "items", "minItems", "description",
    }  # fmt: skip
    assert node.get("minItems", 0) in (0, 1)
    if node.get("type") == "object":
        assert node["additionalProperties"] is False
    items = [node["items"]] if "items" in node else []
    for child in [*node.get("properties", {}).values(), *node.get("anyOf", []), *items]:
        assert_in_subset(child)
