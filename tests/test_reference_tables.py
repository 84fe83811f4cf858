"""The renderer of JSON Schemas behind the pages of the reference."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from docs.reference.tables import Section, block, cell, code, prose, rendered, slug, written


def row(schema: dict[str, Any], required: bool = False, **more: Any) -> list[str]:
    """Return the cells of the one field that a document with this schema has."""
    whole = {"title": "File", "properties": {"x": schema}, "required": ["x"] if required else [], **more}
    (line,) = [one for one in rendered(whole).splitlines() if one.startswith("| `x`")]
    return [one.strip() for one in re.split(r"(?<!\\)\|", line)[2:-1]]


def kind(schema: dict[str, Any], **more: Any) -> str:
    return row(schema, **more)[0]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "minLength": 1}, "text"),
        ({"type": "string", "minLength": 2, "maxLength": 5}, "text (2 to 5 characters)"),
        ({"type": "string", "pattern": "a|b"}, r"text (matches `a\|b`)"),
        ({"type": "string", "format": "date"}, "text (date)"),
        ({"type": "integer", "minimum": 1}, "whole number (1 or more)"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 2000}, "number (at most 2,000, more than 0)"),
        ({"type": "boolean"}, "`true` or `false`"),
        ({"type": ["string", "null"]}, "text"),
        ({"type": ["string", "integer"]}, "text or whole number"),
        ({}, "any value"),
        ({"const": "a"}, "`a`"),
        ({"enum": ["a", True, None]}, "one of `a`, `true`"),
        ({"enum": ["a"]}, "`a`"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "list of 1 or more texts"),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}, "list of at most 3 `a`, `b`"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "list of lists of whole numbers"),
        ({"type": "array", "uniqueItems": True}, "list of values, each once"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]}, "list of text, then number"),
        ({"type": "object"}, "mapping"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "mapping of names to texts"),
        ({"type": "object", "patternProperties": {"^a": {"type": "number"}}}, "mapping of names to numbers"),
        ({"oneOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "number"}]}, "text or number"),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, "`true`, `false` or text"),
        ({"title": "duration such as `30s`", "anyOf": [{"type": "string"}, {}]}, "duration such as `30s`"),
    ],
)  # fmt: skip
def test_types_stand_in_words(schema: dict[str, Any], words: str) -> None:
    assert kind(schema) == words
    assert kind({"anyOf": [schema, {"type": "null"}]}) == words, "a field that may be null may be left out"


def test_true_is_a_schema() -> None:
    assert "| `x` | any value | none |  |  |" in rendered({"properties": {"x": True}})


def test_mappings_have_sections_that_their_types_link_to() -> None:
    step = {"title": "Step", "description": "A piece.", "properties": {"id": {"type": "string"}}}
    steps = {"type": "array", "items": {"$ref": "#/$defs/StepSpec"}}
    page = rendered({"title": "Task", "properties": {"steps": steps}, "$defs": {"StepSpec": step}})
    assert "| `steps` | list of [steps](#step) |" in page
    assert page.index("## Task") < page.index("## Step\n\nA piece.\n\n| field ")


def test_a_mapping_that_holds_itself_ends() -> None:
    inner = {"properties": {"all": {"type": "array", "items": {"$ref": "#/$defs/C"}}}, "title": "Condition"}
    page = rendered({"properties": {"c": {"$ref": "#/$defs/C"}}, "$defs": {"C": inner}})
    assert page.count("## Condition") == 1
    names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/Names"}}]}
    assert kind({"$ref": "#/$defs/Names"}, **{"$defs": {"Names": names}}) == "text or list of the same again"


def test_two_definitions_with_one_title_have_two_sections() -> None:
    tool = {"title": "Tool", "properties": {}}
    fields = {"a": {"$ref": "#/$defs/ToolEntry"}, "b": {"$ref": "#/$defs/ToolUse"}}
    page = rendered({"properties": fields, "$defs": {"ToolEntry": tool, "ToolUse": tool}})
    assert re.findall(r"\[tool\]\(#([\w-]+)\)", page) == ["tool", "tool-use"]
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == ["The file", "Tool", "Tool use"]


def test_a_discriminator_is_told() -> None:
    union = {
        "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
        "discriminator": {"propertyName": "kind", "mapping": {"a": "#/$defs/A", "b": "#/$defs/B"}},
    }
    parts = {"A": {"title": "Cat", "properties": {}}, "B": {"title": "Dog", "properties": {}}}
    assert kind(union, **{"$defs": parts}) == "[cat](#cat) (`kind: a`) or [dog](#dog) (`kind: b`)"


def test_defaults_and_what_is_required() -> None:
    assert row({"type": "integer", "default": 5}, required=False)[1] == "`5`"
    assert row({"default": ["a", "on"]})[1] == "`[a, on]`", "a word in YAML 1.2"
    assert row({"default": None})[1] == "none"
    assert row({}, required=True)[1] == "**required**"
    assert row({"description": "What is read. Default: `needs`."})[1:3] == ["`needs`", "What is read."]


def test_examples_stand_in_a_cell_or_below() -> None:
    assert row({"examples": [["a", "b"], {"c": "${{ d }}"}]})[3] == "`[a, b]` or `{c: '${{ d }}'}`"
    long = {f"field_{n}": n for n in range(9)}
    page = rendered({"properties": {"x": {"examples": [long]}}})
    assert "| below |" in page
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert yaml.safe_load(example) == {"x": long}


def test_a_page_is_laid_out_by_its_sections() -> None:
    tool = {"title": "Tool", "properties": {"http": {"type": "string"}, "web": {"type": "string"}}}
    schema = {"title": "Squad", "properties": {"tools": {"$ref": "#/$defs/Tool"}}, "$defs": {"Tool": tool}}
    sections = [
        Section("Top", "", text="What it is.", after="And more."),
        Section("Tools"),
        Section("Tools: http", "Tool", only=("http",), level=3),
        Section("Tools: web", "Tool", only=("web",), level=3),
    ]
    page = rendered(schema, sections)
    assert re.findall(r"^#+ .+$", page, re.MULTILINE) == ["## Top", "## Tools", "### Tools: http", "### Tools: web"]
    assert "[tool](#tools-http)" in page
    assert page.count("| `http` |") == 1
    assert rendered(schema, [Section("Top", "")], {"Tool": "tools.md#tool"}).count("## ") == 1
    for wrong in (Section("Top", ""), Section("New", "Nope"), Section("New", "Tool", only=("nope",))):
        with pytest.raises(ValueError, match=r"called 'Top'|no 'Nope'|no field nope"):
            rendered(schema, [sections[0], wrong])


def test_nothing_in_a_cell_breaks_the_table() -> None:
    assert cell("a | b\nc <id> * `*.md` **bold**") == r"a \| b c \<id> \* `*.md` **bold**"
    assert code("a|b`c") == r"``a\|b`c``"
    assert row({"description": "one\n\ntwo | three"})[2] == r"one two \| three"


def test_prose_is_wrapped_and_code_is_not() -> None:
    long = "word " * 100
    lines = prose(f"{long}\n\n```yaml\na: 1\n\n{'b' * 150}: 2\n```\n\n- {long}")
    assert all(len(line) <= 120 for line in lines[:5])
    assert f"{'b' * 150}: 2" in lines
    assert lines[-2] == f"- {long}".strip()
    assert prose("") == []
    assert prose(f"{'a' * 110} `code of a few words`") == ["a" * 110, "`code of a few words`", ""]


def test_values_are_written_as_yaml_12_has_them() -> None:
    assert written({"on": ["yes", True, "true", None, "30s"]}) == "{on: [yes, true, 'true', null, 30s]}"
    assert block({"a": ["x"], "b": "one\ntwo\n"}) == "a:\n  - x\nb: |\n  one\n  two"
    many = {"properties": {"x": {"type": "array", "items": {"$ref": "#/$defs/A"}}}}
    named = {"A": {"title": "Expectation of a value", "properties": {}}}
    assert "[expectations of a value](#expectation-of-a-value)" in rendered({**many, "$defs": named})
    assert slug("MCP server: `x`") == "mcp-server-x"
