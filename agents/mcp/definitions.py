"""What a server says of its tools: kept, compared, and named for a model. Pure; nothing that it says is trusted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from providers.documents.json_schema import SchemaTooCostly, validator_of
from providers.documents.unicode import clean

SEPARATOR = "__"
MOST_NAME = 64
"""Characters of a tool's name that every provider takes."""
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Definition:
    """One tool as its server defines it. `read_only` and `idempotent` are the server's own words, hints at most."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(repr=False)
    read_only: bool = False
    idempotent: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of all that a model reads of it, and of what it says it does."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object; `definition_of` makes it again."""
        return {
            "name": self.name,
            "description": self.description,
            "schema": dict(self.schema),
            "read_only": self.read_only,
            "idempotent": self.idempotent,
        }


def definition_of(document: Mapping[str, Any]) -> Definition:
    """Return the definition that `document` was made of."""
    return Definition(
        document["name"],
        document["description"],
        document["schema"],
        document["read_only"],
        document["idempotent"],
    )


def defined(name: str, description: str | None, schema: Any, hints: Any, most_bytes: int) -> Definition | str:
    """Return the definition that a server sent, or the words for why it cannot be used.

    `hints` are its annotations, as an object with `read_only_hint` and `idempotent_hint`, or None.
    """
    if not name or len(name) > 128:
        return "it has no name, or one of more than 128 characters"
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        return "its input schema does not describe an object"
    try:
        size = len(json.dumps([name, description, schema]))
    except (ValueError, TypeError, RecursionError):
        return "its input schema is no JSON"
    if size > most_bytes:
        return f"its definition has {size:,} bytes; {most_bytes:,} are read"
    if fault := _schema_fault(schema):
        return fault
    whole = {"type": "object", "properties": {}, **schema}
    says = (bool(getattr(hints, "read_only_hint", False)), bool(getattr(hints, "idempotent_hint", False)))
    return Definition(clean(name), clean(description or ""), whole, *says)


def _schema_fault(schema: Mapping[str, Any]) -> str:
    """Return why a schema is none, empty where it is one. A provider would refuse every request that shows it.

    A schema that is one, but that costs too much to check, fails the calls of its tool alone.
    """
    from jsonschema.exceptions import SchemaError  # slow to import, and only servers need it

    try:
        validator_of(schema).first_error({})
    except SchemaError as error:
        return f"its input schema is none: {error.json_path}: {error.message[:200]}"
    except SchemaTooCostly as error:
        return f"its input schema cannot be used: {error}" if "the schema is none" in str(error) else ""
    return ""


def tool_name(server: str, tool: str) -> str:
    """Return the name under which a model calls a server's tool: `git__log`, of the characters that providers take.

    A longer one is cut, and ends in a piece of its digest.
    """
    name = _FOREIGN.sub("_", f"{server}{SEPARATOR}{tool}")
    if len(name) <= MOST_NAME:
        return name
    return f"{name[: MOST_NAME - 9]}_{hashlib.sha256(f'{server}/{tool}'.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class DefinitionChange:
    """One tool that is not what was accepted. `what`: new, gone, or the fields that changed."""

    tool: str
    what: str

    def __str__(self) -> str:
        return f"{self.tool}: {self.what}"


def changes(accepted: Iterable[Definition], now: Iterable[Definition]) -> tuple[DefinitionChange, ...]:
    """Return how a server's tools differ from those that were accepted, in the order of their names."""
    old, new = ({one.name: one for one in side} for side in (accepted, now))
    found = []
    for name in sorted({**old, **new}):
        if name not in new:
            found.append(DefinitionChange(name, "gone"))
        elif name not in old:
            found.append(DefinitionChange(name, "new"))
        elif fields := _differing(old[name], new[name]):
            found.append(DefinitionChange(name, f"another {' and '.join(fields)}"))
    return tuple(found)


def _differing(one: Definition, other: Definition) -> Sequence[str]:
    before, after = one.document(), other.document()
    return [name.replace("_", "-") for name in before if before[name] != after[name]]
