"""An answer as a value of a type of the program: a pydantic model, a dataclass, a list of either. Imported on use.

The model is shown the type's JSON Schema. The answer is read by pydantic itself, so what no schema can say (validators,
conversions, fields that depend on each other) holds too, and goes back to the model where it does not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from agents.output import Shape, Unfit
from agents.signature import untitled
from providers.messages import OutputSchema

MOST_TOLD = 5
"""Mistakes that a model is told of at once."""
_not_in_a_name = re.compile(r"[^A-Za-z0-9_-]+").sub


def typed_shape(output_type: Any) -> Shape | None:
    """Return what an answer must be to become a value of this type, None for `str`: any text will do.

    Raise `ValueError` for a type that has no JSON Schema.
    """
    if output_type is str:
        return None
    try:
        return _shape(output_type)
    except TypeError:  # it cannot be remembered: no hash
        return _made(output_type)


@lru_cache(maxsize=128)
def _shape(output_type: Any) -> Shape:
    return _made(output_type)


def _made(output_type: Any) -> Shape:
    name = getattr(output_type, "__name__", None) or "output"
    try:
        adapter = TypeAdapter(output_type)
        schema = untitled(adapter.json_schema())
    except (PydanticUserError, NameError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ValueError(f"output_type {name} has no JSON Schema: {why}") from error
    told = _not_in_a_name("_", name).strip("_")[:64] or "output"
    digest = hashlib.sha256(f"{told}\0{json.dumps(schema, sort_keys=True)}".encode()).digest()
    return Shape(OutputSchema(schema, told), None, digest, _reader(adapter))


def _reader(adapter: TypeAdapter[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            # As JSON, in which a date may be a text though the model is strict.
            return adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            found = error.errors(include_url=False)
            told = "; ".join(
                one["msg"] if number == 0 else f"at {_path(one['loc'])}: {one['msg']}"
                for number, one in enumerate(found[:MOST_TOLD])
            )
            more = len(found) - MOST_TOLD
            raise Unfit(_path(found[0]["loc"]), f"{told}; and {more} more" if more > 0 else told) from None

    return read


def _path(places: tuple[int | str, ...]) -> str:
    """Return pydantic's place of a mistake as a JSONPath."""
    return "$" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in places)
