"""What several parts of a squad file share: kinds of values, and the caps of a budget."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from orchestrator.squad.plan import Budget, OnExceed
from providers.budgets import micro_usd
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel

Positive = Annotated[int, Field(ge=1)]
NonEmpty = Annotated[str, Field(min_length=1)]


class BudgetSpec(StrictModel):
    """Caps that no call may pass; each is reserved before a call and settled after it."""

    noun: ClassVar[str] = "a budget"
    max_cost: float | None = Field(default=None, ge=0, description="USD")
    max_tokens: Positive | None = Field(default=None, description="Tokens, read and written")
    max_time: PositiveDuration | None = Field(default=None, description="Time on the clock")
    max_turns: Positive | None = Field(default=None, description="Model calls")
    on_exceed: OnExceed = Field(default="stop", description="What happens where a cap leaves no room")


def budget(spec: BudgetSpec | None) -> Budget | None:
    """Return the caps with money in micro-USD."""
    if spec is None:
        return None
    cost = None if spec.max_cost is None else micro_usd(spec.max_cost)
    return Budget(cost, spec.max_tokens, spec.max_time, spec.max_turns, spec.on_exceed)


def bounds(caps: Budget | None) -> bool:
    """Whether these caps end any conversation: money does not, where a model costs nothing."""
    return caps is not None and not (caps.max_tokens is None and caps.max_time is None and caps.max_turns is None)
