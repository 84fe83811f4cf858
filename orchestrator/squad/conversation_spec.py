"""A conversation as a squad file writes it: who talks, by which pattern, and when it ends."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from orchestrator.squad.plan import KnownPattern
from orchestrator.squad.shared_spec import BudgetSpec, NonEmpty, Positive
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel


class TerminateSpec(StrictModel):
    """When a conversation ends. One condition, or several joined by `any` or `all`."""

    noun: ClassVar[str] = "a condition"
    any: list[TerminateSpec] | None = Field(default=None, min_length=1, description="Ends when one of these holds")
    all: list[TerminateSpec] | None = Field(default=None, min_length=1, description="Ends when all of these hold")
    max_turns: Positive | None = Field(
        default=None, description="Utterances; the conclusion of a moderator comes on top"
    )
    text: NonEmpty | None = Field(default=None, description="A participant says this, outside of quotations and code")
    from_: NonEmpty | None = Field(default=None, alias="from", description="Whose text counts; with `text` only")
    no_progress_rounds: Positive | None = Field(default=None, description="Rounds that brought nothing new")
    tokens: Positive | None = Field(default=None, description="Tokens of the conversation")
    time: PositiveDuration | None = Field(default=None, description="Since it began")
    function: NonEmpty | None = Field(default=None, description="A name that the embedding application registered")


class ConversationSpec(StrictModel):
    """Agents, and people, who talk until a condition holds."""

    noun: ClassVar[str] = "a conversation"
    pattern: KnownPattern = Field(default="round_robin", description="Who speaks when")
    participants: list[NonEmpty] = Field(min_length=1, description="Agents, or human")
    moderator: NonEmpty | None = Field(
        default=None, description="An agent that has the last word, and in a party says who speaks next"
    )
    speakers_per_round: Positive | None = Field(default=None, description="In a party")
    independent_first_round: bool = Field(
        default=False, description="The first round is spoken without reading the others"
    )
    terminate: TerminateSpec = Field(description="When it ends")
    budget: BudgetSpec | None = Field(default=None, description="Caps of the conversation")
