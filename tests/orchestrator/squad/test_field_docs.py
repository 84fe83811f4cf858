"""Each field of the files that people write is described, with an example that is valid."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from orchestrator.cli.commands.schema import SCHEMAS
from orchestrator.evals.spec import SuiteSpec
from orchestrator.squad.spec import SquadSpec
from personas.persona import PersonaSpec
from providers.documents.models import StrictModel

DOCUMENTS = {"squad": SquadSpec, "persona": PersonaSpec, "tests": SuiteSpec}
PUT_IN_PLACE = {"output_schema"}
"""Fields in which the path of a file is replaced by what it holds before the model reads them."""


def models_in(kind: Any, seen: set[type[StrictModel]]) -> Iterator[type[StrictModel]]:
    """Yield the models that a type mentions, each once, and those that these mention in turn."""
    if isinstance(kind, type) and issubclass(kind, StrictModel) and kind not in seen:
        seen.add(kind)
        yield kind
        for field in kind.model_fields.values():
            yield from models_in(field.annotation, seen)
    for inner in get_args(kind):
        yield from models_in(inner, seen)


FIELDS = {
    f"{model.__name__}.{field.alias or name}": (kind, model, field.alias or name, field)
    for kind, document in DOCUMENTS.items()
    for model in models_in(document, set())
    for name, field in model.model_fields.items()
}


@lru_cache
def schema_of(kind: str) -> dict[str, Any]:
    return SCHEMAS[kind]()


def test_the_fields_are_found() -> None:
    assert len(FIELDS) > 200
    assert {"TaskSpec.if", "StepSpec.id", "McpSpec.url", "PersonaSpec.extends", "TerminateSpec.from"} <= set(FIELDS)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_each_field_has_a_description_and_an_example(kind: str) -> None:
    schema = schema_of(kind)
    parts = {"": schema, **schema.get("$defs", {})}
    lacking = {
        f"{part}.{name}": word
        for part, body in parts.items()
        for name, field in body.get("properties", {}).items()
        for word in ("description", "examples")
        if not field.get(word)
    }
    assert lacking == {}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_each_default_is_valid(kind: str) -> None:
    schema = schema_of(kind)
    parts = {"": schema, **schema.get("$defs", {})}
    fields = {f"{part}.{name}": one for part, body in parts.items() for name, one in body.get("properties", {}).items()}
    defaults = {name: one for name, one in fields.items() if "default" in one}
    assert defaults
    for name, one in defaults.items():
        assert (
            list(Draft202012Validator({**one, "$defs": schema.get("$defs", {})}).iter_errors(one["default"])) == []
        ), name


def test_descriptions_are_sentences() -> None:
    told = {name: field.description or "" for name, (_, _, _, field) in FIELDS.items()}
    assert {name: text for name, text in told.items() if not text.endswith(".") or not text[:1].isupper()} == {}


@pytest.mark.parametrize("name", FIELDS)
def test_each_example_is_valid(name: str) -> None:
    kind, model, alias, field = FIELDS[name]
    schema = schema_of(kind)
    part = schema if model is DOCUMENTS[kind] else schema["$defs"][model.__name__]
    editor = Draft202012Validator({**part["properties"][alias], "$defs": schema.get("$defs", {})})
    for example in field.examples or ():
        assert list(editor.iter_errors(example)) == []
        if not (alias in PUT_IN_PLACE and isinstance(example, str)):
            assert faults(model, alias, example) == []


def faults(model: type[StrictModel], alias: str, example: Any) -> list[Any]:
    """Return what is wrong with the field, whatever else the model requires."""
    try:
        model.model_validate({alias: example})
    except ValidationError as error:
        return [found for found in error.errors() if found["loc"][0] == alias]
    return []
