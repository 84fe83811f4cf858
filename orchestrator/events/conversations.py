"""What is said in conversations and chats, and how they end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A person said something to `agent` in a chat: exchange `number`, from 1. Its work is the task `say-NUMBER`."""

    number: int
    agent: str
    text: str
    """What was said."""


@dataclass(frozen=True, slots=True)
class ExchangesUndone:
    """These exchanges of a chat are no longer told to anybody. They stay on record, and were paid for."""

    numbers: tuple[int, ...]
    """Of the exchanges, from 1."""


@dataclass(frozen=True, slots=True)
class ChatPartner:
    """From here on a chat is with `agent`, who asks `model`; None: as its squad says."""

    agent: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class MessageSpoken:
    """An utterance in a conversation, in round `round`, from 1.

    Records of earlier releases lack what stands below `round`.
    """

    speaker: str
    """The agent that spoke; `human`: a person."""
    text: str
    """What was said."""
    round: int
    conversation: str = field(default="", compare=False)
    heard: tuple[str, ...] | None = field(default=None, compare=False)
    """Who is shown it from its next turn on, beside its speaker: of those who take part, moderate or pick."""
    asked: tuple[str, ...] = field(default=(), compare=False)
    """Whom it delegates to: each is shown its own part alone."""


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
    """A line that says who speaks next could not be followed to the letter: `why` says so in words.

    `fault` is `nobody` (those who were silent longest speak), `ambiguous` (those that are certain speak, else as
    before) or `several` (the last line that names somebody counts, and the first names in it). `speaker` wrote `line`.
    A selector's answer, which picks one, is `several` where it names more of those who may speak, and `ineligible`
    where it names others: then the one speaks that has been silent longest.
    """

    conversation: str
    speaker: str
    line: str
    fault: str
    why: str


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """A conversation is over. `reason` is the condition that held, `max_turns 24` for example; `kind` which one it is.

    `turns` counts all utterances. `budget` is the cap of the conversation's own budget that left no room for a turn.
    `unread` counts the control lines that could not be followed.
    """

    conversation: str
    reason: str
    turns: int
    kind: EndKind = ""
    budget: str = ""
    unread: int = 0
