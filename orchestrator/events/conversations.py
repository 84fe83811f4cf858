"""What is said in conversations and chats, and how they end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A person said something in a chat."""

    number: int
    """The number of the exchange, from 1; its work is the task `say-NUMBER`."""
    agent: str
    """The agent that it was said to."""
    text: str
    """What was said."""


@dataclass(frozen=True, slots=True)
class ExchangesUndone:
    """These exchanges of a chat are no longer sent to a model. They stay on record, and were paid for."""

    numbers: tuple[int, ...]
    """Of the exchanges, from 1."""


@dataclass(frozen=True, slots=True)
class ChatPartner:
    """From here on a chat is with this agent."""

    agent: str
    """The agent that answers."""
    model: str | None = None
    """The model that it asks; None: as its squad says."""


@dataclass(frozen=True, slots=True)
class MessageSpoken:
    """A participant spoke in a conversation.

    Records of earlier releases lack the fields after `round`.
    """

    speaker: str
    """The agent that spoke; `human`: a person."""
    text: str
    """What was said."""
    round: int
    """From 1."""
    conversation: str = field(default="", compare=False)
    heard: tuple[str, ...] | None = field(default=None, compare=False)
    """Who is shown it from its next turn on, beside its speaker: of those who take part, moderate or pick."""
    asked: tuple[str, ...] = field(default=(), compare=False)
    """The agents that it delegates to: each is shown its own part only."""


EndKind = Literal[
    "",
    "max_turns",
    "text",
    "no_progress_rounds",
    "tokens",
    "time",
    "function",
    "stop_message",
    "handoff",
    "source",
    "message",
    "tool",
    "external",
    "all",
    "budget",
    "pattern",
    "no_reply",
]
"""What ends a conversation: the word of its `terminate`, its own budget, its pattern, or that a person does not reply.
Older records lack it."""


@dataclass(frozen=True, slots=True)
class ControlUnread:
    """A line that says who speaks next could not be followed exactly."""

    conversation: str
    speaker: str
    """Who wrote the line."""
    line: str
    """The line."""
    fault: str
    """`nobody`: those who were silent longest speak. `ambiguous`: those that are certain speak, else as before.
    `several`: the last line that names somebody counts, and the first names in it. Of a selector, which picks one:
    `several`: it named more of those who may speak; `ineligible`: it named others, so the one speaks that was silent
    longest."""
    why: str
    """In words."""


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """A conversation is over."""

    conversation: str
    reason: str
    """The condition that held, as `max_turns 24`."""
    turns: int
    """All that were spoken."""
    kind: EndKind = ""
    """Which condition it is."""
    budget: str = ""
    """The cap of the conversation's own budget that left no room for a turn."""
    unread: int = 0
    """Lines about the next speaker that could not be followed."""
