"""The JSON Schema (2020-12) of a kind of file, for editors and for the reference: made of the model that reads it."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from providers.documents.fields import DURATION
from providers.documents.models import StrictModel
from providers.documents.quantities import duration_text

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def file_schema(model: type[StrictModel], kind: str) -> dict[str, Any]:
    """Return the schema of the files that `model` reads.

    `kind` names it: `squad`. Its `$id` is a URN, so that no program looks for it on the network. Each mapping has the
    title that messages call it by; descriptions and examples are those of the model's fields.
    """
    made = model.model_json_schema(by_alias=True, schema_generator=_ForPeople)
    head = {name: made.pop(name) for name in ("title", "description")}
    return {"$schema": DRAFT, "$id": f"urn:squad-orchestrator:schema:{kind}", **head, **made}


class _ForPeople(GenerateJsonSchema):
    """Titles in words, and no defaults that only say that nothing is said."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # as in pydantic
        return False  # "Max Turns" tells a reader of `max_turns` nothing

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002  # as there
        return value  # fields and examples stand in the order in which people write them

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, StrictModel) and model.noun != StrictModel.noun:
            name = model.noun.removeprefix("an ").removeprefix("a ")
            made["title"] = name[0].upper() + name[1:]
            if told := made.get("description"):  # editors show the lines of a docstring as so many paragraphs
                made["description"] = "\n\n".join(" ".join(part.split()) for part in told.split("\n\n"))
        return made

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        match made.get("default"):
            case None:
                made.pop("default", None)
            case _ if is_dataclass(schema.get("default")):  # what a text was read into: the field's words tell the text
                made.pop("default")
            case dict() as fields:
                made["default"] = {name: value for name, value in fields.items() if value is not None}
            case float() as seconds if made.get("title") == DURATION:
                made["default"] = duration_text(seconds)
        return made
