"""What tasks take where they say nothing: retries, and how much of earlier texts goes along."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from agents.summaries import LEAST
from orchestrator.squad.other_formats import DEFAULTS_ADVICE, RETRY_ADVICE, RETRY_NAMES
from orchestrator.squad.plan import RetryCause
from orchestrator.squad.shared_spec import ContextTokens, Positive
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel


class RetrySpec(StrictModel):
    """When failed work is tried again."""

    noun: ClassVar[str] = "a retry"
    other_names: ClassVar[Mapping[str, str]] = RETRY_NAMES
    advice: ClassVar[Mapping[str, str]] = RETRY_ADVICE
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        description="How often the work is tried at most. The first attempt counts too.", examples=[3]
    )
    on: list[RetryCause] = Field(
        ["rate_limit", "timeout"],
        min_length=1,
        description="Failures after which the work is tried again. `truncated` is a text that its model did not "
        "finish.",
        examples=[["timeout", "truncated"]],
    )


def _share_or_tokens(value: object) -> object:
    """Return a share of a room (at most 1), whole tokens, or `off`, which other YAML takes for false."""
    if value is False or value == "off":
        return "off"
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not is_number or not (0 < value <= 1 or (value >= LEAST and value == int(value))):  # type: ignore[operator, call-overload]
        raise ValueError(f"takes a share of the model's room (0.8), tokens ({LEAST} or more), or off")
    return value if value <= 1 else int(value)  # type: ignore[operator, call-overload]


CompactAt = Annotated[
    int | float | Literal["off"],
    BeforeValidator(_share_or_tokens),
    WithJsonSchema(
        {
            "title": f"share (more than 0, at most 1), whole number ({LEAST} or more), or `off`",
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                {"type": "integer", "minimum": LEAST},
                {"enum": ["off", False]},
            ],
        }
    ),
]


class HistorySpec(StrictModel):
    """How much of a long conversation, or of long work with tools, a model is sent."""

    noun: ClassVar[str] = "a history"
    keep_last: Positive | None = Field(
        default=None,
        description="Messages that are sent unchanged; older ones are left out, or summarised where `compact_at` "
        "or `summarise_over_tokens` says so. Default: all that fit.",
        examples=[12],
    )
    summarise_over_tokens: Positive | None = Field(
        default=None,
        description="Older messages are summarised once they have more tokens than this. The same as `compact_at` "
        "with a number of tokens.",
        examples=[12000],
    )
    compact_at: CompactAt | None = Field(
        default=None,
        description="When older messages are summarised: a share of the model's context window, a number of tokens, "
        "or `off`: never. Default: `0.8`.",
        examples=[0.5, "off"],
    )


class ContextSpec(StrictModel):
    """How much of other tasks' outputs a task reads."""

    noun: ClassVar[str] = "a context"
    max_tokens: ContextTokens | None = Field(
        default=None,
        description="Tokens of the outputs that a task reads. A cheap model shortens longer ones. Default: no cap.",
        examples=[3000],
    )


class Defaults(StrictModel):
    """What tasks take where they say nothing themselves."""

    noun: ClassVar[str] = "defaults"
    advice: ClassVar[Mapping[str, str]] = DEFAULTS_ADVICE
    timeout: PositiveDuration | None = Field(
        default=None, description="Time of one attempt of a task. Default: no limit.", examples=["10m"]
    )
    retry: RetrySpec | None = Field(
        default=None,
        description="When a failed task is tried again. Default: never.",
        examples=[{"max_attempts": 3, "on": ["timeout"]}],
    )
    history: HistorySpec | None = Field(
        default=None,
        description="How much of a long conversation, or of long work with tools, is sent to the model.",
        examples=[{"compact_at": 0.8, "keep_last": 12}],
    )
    context: ContextSpec | None = Field(
        default=None, description="How much of other tasks' outputs a task reads.", examples=[{"max_tokens": 3000}]
    )
    max_parallel: Positive | None = Field(
        default=None,
        description="Elements of one `for_each` that are worked on at the same time. Default: those of the squad.",
        examples=[4],
    )
