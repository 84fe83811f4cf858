"""What several parts of a squad file share: kinds of values, and the caps of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from orchestrator.squad.other_formats import BUDGET_NAMES
from orchestrator.squad.plan import Budget, OnExceed
from providers.budgets import micro_usd
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel

Positive = Annotated[int, Field(ge=1)]
NonEmpty = Annotated[str, Field(min_length=1)]
Expression = Annotated[NonEmpty, Field(pattern=r"\S", title="text with `${{ }}`")]
"""A text in which `${{ }}` may hold expressions. Blanks alone say nothing."""


def _condition(value: object) -> object:
    return f"${{{{ {str(value).lower()} }}}}" if isinstance(value, bool) else value


Condition = Annotated[
    NonEmpty,
    BeforeValidator(_condition, json_schema_input_type=bool | str),
    Field(title="condition: one `${{ }}`, or `true` or `false`"),
]
"""An expression, or `true` or `false` as YAML has them."""


def _as_it_is(value: object) -> object:
    return value


Schema = Annotated[
    dict[str, Any],
    BeforeValidator(_as_it_is, json_schema_input_type=dict[str, Any] | str),
    Field(title="JSON Schema, or the path of its file"),
]
"""A JSON Schema; what names its file was replaced by what that holds before fields are read."""
ContextTokens = Annotated[int, Field(ge=256)]
"""Less than that says nothing of several texts."""


def kind_of_text_or_mapping(value: object) -> str:
    """Return by which of the tags `text` and `mapping` a field is read that may be written as either."""
    return "mapping" if isinstance(value, dict | StrictModel) else "text"


class BudgetSpec(StrictModel):
    """Caps that no model call may pass. Each call reserves what it may cost before it is sent; its true cost is settled
    after it. Caps nest: a call needs room in the budget of the run, of its task, its conversation and its agent."""

    noun: ClassVar[str] = "a budget"
    other_names: ClassVar[Mapping[str, str]] = BUDGET_NAMES
    max_cost: float | None = Field(
        default=None,
        ge=0,
        description="USD. A model without a known price counts as 0: cap its tokens. Default: no cap.",
        examples=[0.50],
    )
    max_tokens: Positive | None = Field(
        default=None, description="Tokens, read and written together. Default: no cap.", examples=[200000]
    )
    max_time: PositiveDuration | None = Field(
        default=None,
        description="Time on the clock since it began; waiting for a person does not count. Default: no cap.",
        examples=["30m"],
    )
    max_turns: Positive | None = Field(default=None, description="Model calls. Default: no cap.", examples=[40])
    on_exceed: OnExceed = Field(
        default="stop",
        description="What happens where a cap leaves no room for the next call: `stop` ends the run, `pause` keeps it "
        "so that `runs resume` goes on with a larger cap, `downgrade_tier` goes on with the next cheaper tier.",
        examples=["pause"],
    )


def budget(spec: BudgetSpec | None) -> Budget | None:
    """Return the caps with money in micro-USD."""
    if spec is None:
        return None
    cost = None if spec.max_cost is None else micro_usd(spec.max_cost)
    return Budget(cost, spec.max_tokens, spec.max_time, spec.max_turns, spec.on_exceed)


def bounds(caps: Budget | None) -> bool:
    """Whether these caps end any conversation: money does not, where a model costs nothing."""
    return caps is not None and not (caps.max_tokens is None and caps.max_time is None and caps.max_turns is None)
