"""Types that fields of several kinds of file have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from providers.documents.quantities import parse_duration, parse_share


def _seconds(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("invalid-duration", "{text}", {"text": str(error)}) from None


def _more_than_none(seconds: float) -> float:
    if seconds <= 0:
        raise PydanticCustomError("out-of-range", "a duration here must be more than 0")
    return seconds


def _share(value: object) -> float:
    try:
        return parse_share(value)
    except ValueError as error:
        raise PydanticCustomError("invalid-value", "{text}", {"text": str(error)}) from None


def _one_word(name: str) -> str:
    if not name or any(map(str.isspace, name)):
        raise PydanticCustomError(
            "invalid-name", "{text}", {"text": f"{name!r} must be one word: no spaces, not empty"}
        )
    return name


Duration = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=str | float),
    Field(description="500ms, 5s, 10m, 2h, 3d, or a number of seconds"),
]
PositiveDuration = Annotated[Duration, AfterValidator(_more_than_none)]
Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=str | float)]
Word = Annotated[str, AfterValidator(_one_word)]
