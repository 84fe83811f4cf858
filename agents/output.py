"""An answer that must satisfy a JSON Schema: read, validated, and explained to the model where it doesn't."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agents.errors import OutputInvalid
from providers.errors import BadReply
from providers.messages import FinishReason, OutputSchema, Response

EXCERPT = 200
"""Characters of an answer that an error shows."""
MESSAGE = 300
"""Characters of a validator's message: some quote the whole instance."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """Where and how an answer breaks its schema. `path` is a JSONPath."""

    path: str
    message: str
    excerpt: str

    def error(self) -> OutputInvalid:
        return OutputInvalid(self.path, self.message, self.excerpt)


class WrongShape(BadReply):
    """An attempt's answer breaks its schema: another candidate may do better."""

    def __init__(self, invalid: Invalid) -> None:
        super().__init__(f"the answer breaks its schema at {invalid.path}: {invalid.message}")
        self.invalid = invalid


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema made ready: what the request carries, what validates the answer, and the schema's digest."""

    schema: OutputSchema
    validator: Any
    digest: bytes

    def read(self, response: Response) -> Any | Invalid:
        """Return the answer as the JSON value it is, or how it breaks the schema."""
        text = response.text
        if response.finish is FinishReason.LENGTH:
            return Invalid("$", "it was cut off at the length limit; answer more briefly", text[:EXCERPT])
        try:
            value = json.loads(_unfenced(text), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            return Invalid("$", f"it is not JSON: {error}", text[:EXCERPT])
        from jsonschema.exceptions import best_match

        broken = best_match(self.validator.iter_errors(value))
        return value if broken is None else Invalid(broken.json_path, broken.message[:MESSAGE], text[:EXCERPT])

    def accept(self, response: Response) -> None:
        """Raise `WrongShape` for a final answer that breaks the schema. It runs inside the attempt."""
        if not response.tool_calls and isinstance(read := self.read(response), Invalid):
            raise WrongShape(read)


def shape_of(schema: OutputSchema | Mapping[str, Any]) -> Shape:
    """Return the schema made ready; equal schemas are made ready once. Raise `ValueError` where it is no schema."""
    wanted = schema if isinstance(schema, OutputSchema) else OutputSchema(schema)
    return _shape(wanted.name, json.dumps(wanted.schema))


@lru_cache(maxsize=128)
def _shape(name: str, text: str) -> Shape:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    schema = json.loads(text)
    dialect = validator_for(schema, default=Draft202012Validator)
    try:
        dialect.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"output_schema is no JSON Schema: {error.json_path}: {error.message[:MESSAGE]}") from None
    # An empty registry: a remote `$ref` fails instead of being fetched.
    validator = dialect(schema, registry=Registry())
    # A model writes properties in the order in which they stand: it is kept. Validation knows no order: the digest,
    # by which recorded answers are found, is the same for all.
    told = f"{name}\0{json.dumps(schema, sort_keys=True)}"
    return Shape(OutputSchema(schema, name), validator, hashlib.sha256(told.encode()).digest())


def _unfenced(text: str) -> str:
    """Return what stands in a fence, and behind a thought whose first tag never came."""
    text = text.strip()
    if text[:1] not in ("{", "[", '"'):
        text = text.rpartition("</think>")[2].strip()
    if len(text) >= 6 and text.startswith("```") and text.endswith("```"):
        text = text[3:-3]
        return text[4:] if text[:4].lower() == "json" else text
    return text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
