"""A conversation as a squad file writes it: who talks, by which pattern, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag

from orchestrator.squad.other_formats import CONDITION_NAMES, CONVERSATION_ADVICE, CONVERSATION_NAMES, EXAMPLES
from orchestrator.squad.plan import OnSilence, PatternName
from orchestrator.squad.shared_spec import BudgetSpec, NonEmpty, Positive
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel


class TerminateSpec(StrictModel):
    """When a conversation ends. One condition, or several joined by `any` or `all`."""

    noun: ClassVar[str] = "a condition"
    other_names: ClassVar[Mapping[str, str]] = CONDITION_NAMES
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
    stop_message: bool | None = Field(default=None, description="A participant writes STOP in its own line")
    handoff: NonEmpty | None = Field(default=None, description="The word is handed over to this participant")
    source: NonEmpty | list[NonEmpty] | None = Field(default=None, description="One of these had a turn")
    message: NonEmpty | None = Field(default=None, description="This participant said something")
    tool: NonEmpty | None = Field(default=None, description="A participant called this tool")
    external: bool | None = Field(default=None, description="The embedding application ends it")


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "text"


class SelectorSpec(StrictModel):
    """Who picks the next speaker: an agent, or a model of a tier that does nothing else."""

    noun: ClassVar[str] = "a selector"
    agent: NonEmpty | None = Field(default=None, description="An agent, or human")
    tier: NonEmpty | None = Field(default=None, description="Or the class of models that picks; default: worker")


SelectorRef = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[SelectorSpec, Tag("mapping")], Discriminator(_kind)
]


class NestedSpec(StrictModel):
    """A conversation that takes part in another: what it comes to is what it says there."""

    noun: ClassVar[str] = "a participant"
    conversation: NonEmpty = Field(description="The conversation that is held when it is its turn")


class HumanSpec(StrictModel):
    """How long a person who takes part is waited for."""

    noun: ClassVar[str] = "a human"
    timeout: PositiveDuration = Field(description="For each reply, from the question on; the run need not be at work")
    on_timeout: OnSilence = Field(
        default="skip", description="The turn is passed over, the conversation ends, or its task fails"
    )


ParticipantRef = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[NestedSpec, Tag("mapping")], Discriminator(_kind)
]
ROUNDS = 3
MOST_ROUNDS = 1000


class ConversationSpec(StrictModel):
    """Agents, and people, who talk until a condition holds."""

    noun: ClassVar[str] = "a conversation"
    other_names: ClassVar[Mapping[str, str]] = CONVERSATION_NAMES
    advice: ClassVar[Mapping[str, str]] = CONVERSATION_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    pattern: PatternName = Field(default="round_robin", description="Who speaks when")
    participants: list[ParticipantRef] = Field(min_length=1, description="Agents, human, or other conversations")
    moderator: NonEmpty | None = Field(
        default=None, description="An agent that has the last word, and in a party says who speaks next"
    )
    judge: NonEmpty | None = Field(default=None, description="The moderator of a debate")
    manager: NonEmpty | None = Field(default=None, description="The moderator of a hierarchical conversation")
    speakers_per_round: Positive | None = Field(default=None, description="In a party")
    rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = Field(
        default=None, description=f"Of a debate, or of delegations; default: {ROUNDS}"
    )
    positions: dict[NonEmpty, NonEmpty] | None = Field(
        default=None, description="What each side of a debate stands for"
    )
    independent_first_round: bool = Field(
        default=False, description="The first round is spoken without reading the others"
    )
    selector: SelectorRef | None = Field(
        default=None, description="Who picks the next speaker; default: the moderator, else a model of the tier worker"
    )
    allow_repeated_speaker: bool | None = Field(
        default=None, description="Whether one may be picked twice in a row; default: false"
    )
    transitions: dict[NonEmpty, list[NonEmpty]] | None = Field(
        default=None, description="Who may be picked after whom; after others anybody"
    )
    handoffs: dict[NonEmpty, list[NonEmpty]] | None = Field(
        default=None, description="To whom each may hand over; others to anybody"
    )
    human: HumanSpec | None = Field(default=None, description="How long a person is waited for; default: for ever")
    mentions: bool | None = Field(
        default=None, description="Whether a participant that is mentioned (@ann) speaks next; default: false"
    )
    max_turns_per_speaker: Positive | dict[NonEmpty, Positive] | None = Field(
        default=None, description="How often each participant speaks at most, or those that are named"
    )
    terminate: TerminateSpec | None = Field(
        default=None, description="When it ends; a debate and a hierarchical one also end by their rounds"
    )
    budget: BudgetSpec | None = Field(default=None, description="Caps of the conversation")


def names_of(spec: ConversationSpec) -> list[str]:
    """Return what the participants of a conversation are called in it."""
    return [one.conversation if isinstance(one, NestedSpec) else one for one in spec.participants]
