"""A conversation as a squad file writes it: who talks, by which pattern, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag

from orchestrator.squad.other_formats import (
    CONDITION_NAMES,
    CONVERSATION_ADVICE,
    CONVERSATION_NAMES,
    EXAMPLES,
    PATTERNS,
)
from orchestrator.squad.plan import OnSilence, PatternName
from orchestrator.squad.shared_spec import BudgetSpec, NonEmpty, Positive, kind_of_text_or_mapping
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel


class TerminateSpec(StrictModel):
    """When a conversation ends: one condition, or several below `any` or `all`. Conditions are asked after each
    utterance, or after each round of those who speak at the same time. One of them must be sure to come: `max_turns`,
    `tokens` or `time`."""

    noun: ClassVar[str] = "a condition"
    other_names: ClassVar[Mapping[str, str]] = CONDITION_NAMES
    any: list[TerminateSpec] | None = Field(
        default=None,
        min_length=1,
        description="Ends when one of these holds.",
        examples=[[{"max_turns": 12}, {"text": "DONE"}]],
    )
    all: list[TerminateSpec] | None = Field(
        default=None,
        min_length=1,
        description="Ends when all of these hold. What was said or done once holds from then on.",
        examples=[[{"text": "OK", "from": "ann"}, {"text": "OK", "from": "bob"}]],
    )
    max_turns: Positive | None = Field(
        default=None,
        description="Ends after so many utterances. The conclusion of a moderator is not counted.",
        examples=[12],
    )
    text: NonEmpty | None = Field(
        default=None,
        description="Ends when a participant says this, outside of quotations and code.",
        examples=["DONE"],
    )
    from_: NonEmpty | None = Field(
        default=None,
        alias="from",
        description="The participant whose `text` counts. Default: any.",
        examples=["ann"],
    )
    no_progress_rounds: Positive | None = Field(
        default=None, description="Ends after so many rounds in a row with hardly a new word.", examples=[2]
    )
    tokens: Positive | None = Field(
        default=None, description="Ends when the conversation has used so many tokens.", examples=[20000]
    )
    time: PositiveDuration | None = Field(
        default=None,
        description="Ends when so much time has passed since it began; waiting for people does not count.",
        examples=["10m"],
    )
    function: NonEmpty | None = Field(
        default=None,
        description="Ends when a function says so that the embedding program registered by this name.",
        examples=["enough"],
    )
    stop_message: bool | None = Field(
        default=None, description="Ends when a participant writes `STOP` in a line of its own.", examples=[True]
    )
    handoff: NonEmpty | None = Field(
        default=None, description="Ends when another one hands over to this participant.", examples=["human"]
    )
    source: NonEmpty | list[NonEmpty] | None = Field(
        default=None, description="Ends when one of these participants had a turn.", examples=["ann", ["ann", "bob"]]
    )
    message: NonEmpty | None = Field(
        default=None, description="Ends when this participant said something.", examples=["ann"]
    )
    tool: NonEmpty | None = Field(
        default=None, description="Ends when a participant called this tool.", examples=["edit_file"]
    )
    external: bool | None = Field(
        default=None,
        description="May be ended from outside: by `orchestrator runs conclude`, or by the embedding program.",
        examples=[True],
    )


class SelectorSpec(StrictModel):
    """Who picks the next speaker: an agent, or a model of a tier that does nothing else."""

    noun: ClassVar[str] = "a selector"
    agent: NonEmpty | None = Field(default=None, description="An agent of the squad, or `human`.", examples=["lead"])
    tier: NonEmpty | None = Field(
        default=None, description="Or the class of models that picks. Default: `worker`.", examples=["worker"]
    )


SelectorRef = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[SelectorSpec, Tag("mapping")], Discriminator(kind_of_text_or_mapping)
]


class NestedSpec(StrictModel):
    """A conversation that takes part in another: what it comes to is what it says there. It has a budget of its own,
    and may be at most four deep."""

    noun: ClassVar[str] = "a participant"
    conversation: NonEmpty = Field(
        description="The conversation that takes place when it is its turn.", examples=["review"]
    )


class HumanSpec(StrictModel):
    """How long to wait for a person who takes part."""

    noun: ClassVar[str] = "a human"
    timeout: PositiveDuration = Field(
        description="Time on the clock for each reply, from the question on, also while the run is stopped.",
        examples=["3d"],
    )
    on_timeout: OnSilence = Field(
        default="skip",
        description="What happens then: `skip` passes the turn over, `end` ends the conversation, `fail` fails its "
        "task.",
        examples=["end"],
    )


ParticipantRef = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[NestedSpec, Tag("mapping")], Discriminator(kind_of_text_or_mapping)
]
ROUNDS = 3
MOST_ROUNDS = 1000


class ConversationSpec(StrictModel):
    """Agents, and people, who talk until a condition holds. A `moderator` has the last word, which is the result;
    without one the words of the last round are."""

    noun: ClassVar[str] = "a conversation"
    other_names: ClassVar[Mapping[str, str]] = CONVERSATION_NAMES
    advice: ClassVar[Mapping[str, str]] = CONVERSATION_ADVICE
    value_advice: ClassVar[Mapping[str, str]] = PATTERNS
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    pattern: PatternName = Field(default="round_robin", description="Who speaks when.", examples=["debate"])
    participants: list[ParticipantRef] = Field(
        min_length=1,
        description="Who takes part: agents, `human` (a person), or other conversations.",
        examples=[["ann", "bob"], ["ann", "human", {"conversation": "review"}]],
    )
    moderator: NonEmpty | None = Field(
        default=None,
        description="An agent that has the last word, and in a party says who speaks next. A party needs one. "
        "Default: there is none.",
        examples=["lead"],
    )
    judge: NonEmpty | None = Field(
        default=None, description="In a debate: the agent that hears all and decides at the end.", examples=["arbiter"]
    )
    manager: NonEmpty | None = Field(
        default=None,
        description="In a hierarchical conversation: the agent that delegates work and concludes.",
        examples=["lead"],
    )
    speakers_per_round: Positive | None = Field(
        default=None,
        description="In a party: how many participants speak before the moderator does. Default: `3`.",
        examples=[2],
    )
    rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = Field(
        default=None,
        description="In a debate, how often each side speaks; in a hierarchical conversation, how often the manager "
        f"delegates. Default: `{ROUNDS}`.",
        examples=[2],
    )
    positions: dict[NonEmpty, NonEmpty] | None = Field(
        default=None,
        description="In a debate: the position of each side, by participant.",
        examples=[{"ann": "tabs", "bob": "spaces"}],
    )
    independent_first_round: bool = Field(
        default=False,
        description="Whether the participants speak in the first round without reading each other.",
        examples=[True],
    )
    selector: SelectorRef | None = Field(
        default=None,
        description="In the pattern `selector`: who picks the next speaker. Default: the moderator, else a model of "
        "the tier `worker`.",
        examples=["lead", {"tier": "worker"}],
    )
    allow_repeated_speaker: bool | None = Field(
        default=None,
        description="In the pattern `selector`: whether a participant may be picked twice in a row. Default: `false`.",
        examples=[True],
    )
    transitions: dict[NonEmpty, list[NonEmpty]] | None = Field(
        default=None,
        description="In the pattern `selector`: which participants may be picked after which. After one that is not "
        "named here any may be. Default: any after any.",
        examples=[{"dev": ["human"]}],
    )
    handoffs: dict[NonEmpty, list[NonEmpty]] | None = Field(
        default=None,
        description="In the pattern `handoff`: to which participants each may hand over. One that is not named here "
        "may hand over to any. Default: any to any.",
        examples=[{"triage": ["billing", "tech"]}],
    )
    human: HumanSpec | None = Field(
        default=None,
        description="How long to wait for a person who takes part. Default: forever.",
        examples=[{"timeout": "3d", "on_timeout": "skip"}],
    )
    mentions: bool | None = Field(
        default=None,
        description="Whether a participant that is mentioned (`@ann`) speaks next. Default: `false`.",
        examples=[True],
    )
    max_turns_per_speaker: Positive | dict[NonEmpty, Positive] | None = Field(
        default=None,
        description="How often each participant speaks at most, or those that are named. Default: no limit.",
        examples=[3, {"ann": 3}],
    )
    terminate: TerminateSpec | None = Field(
        default=None,
        description="When it ends. It may be left out in a debate and a hierarchical conversation, which end by their "
        "rounds.",
        examples=[{"max_turns": 6}, {"any": [{"max_turns": 12}, {"text": "DONE"}]}],
    )
    budget: BudgetSpec | None = Field(
        default=None, description="Caps of the conversation, its conclusion included.", examples=[{"max_tokens": 50000}]
    )


def names_of(spec: ConversationSpec) -> list[str]:
    """Return what the participants of a conversation are called in it."""
    return [one.conversation if isinstance(one, NestedSpec) else one for one in spec.participants]
