"""Types that fields of several kinds of file have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError

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


# What editors are told.
DURATION = "duration such as `30s`"
_DURATION_TEXT = {
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)?\s*$",
}
_SOME_DURATION_TEXT = {
    **_DURATION_TEXT,
    "pattern": r"^\s*(?!0+(\.0+)? ?[a-z]*\s*$)[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)?\s*$",
}
PERCENT = r"^\s*0*(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?) ?%\s*$"
_PERCENT_TEXT = {
    "title": "percentage such as `20%`",
    "type": "string",
    "pattern": PERCENT,
}


def _told(*kinds: dict[str, Any], **more: Any) -> WithJsonSchema:
    return WithJsonSchema({**more, "anyOf": list(kinds)})


Duration = Annotated[
    float, BeforeValidator(_seconds), _told(_DURATION_TEXT, {"type": "number", "minimum": 0}, title=DURATION)
]
PositiveDuration = Annotated[
    float,
    BeforeValidator(_seconds),
    AfterValidator(_more_than_none),
    _told(_SOME_DURATION_TEXT, {"type": "number", "exclusiveMinimum": 0}, title=DURATION),
]
Share = Annotated[
    float,
    BeforeValidator(_share),
    _told(_PERCENT_TEXT, {"type": "number", "minimum": 0, "maximum": 1}, title="share such as `20%` or `0.2`"),
]
Word = Annotated[str, AfterValidator(_one_word)]


def _no_truth(value: object) -> object:
    # Python has it that True is 1.
    if isinstance(value, bool):
        raise PydanticKnownError("literal_error", {"expected": "1"})
    return value


FormatVersion = Annotated[Literal[1], BeforeValidator(_no_truth)]
