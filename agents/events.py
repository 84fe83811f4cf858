"""What an agent lets others see while it works. Observations only; the providers' events pass through the same `emit`.

All of them happen inside a durable step, and are recorded with it: a step that is replayed emits none of them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from providers.messages import Estimate, FinishReason, Usage


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A model call of this piece of work begins."""

    agent: str
    turn: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The model answered. A turn whose call raised has no such event."""

    agent: str
    turn: int
    provider: str
    model: str
    usage: Usage
    cost: int | None
    """What was billed, in micro-USD; None: unknown."""
    finish: FinishReason
    """Why the model stopped: `stop`, `length`, `tool_calls` or `content_filter`."""
    estimate: Estimate | None = None
    """What the caps counted where the provider sent no sound usage."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The model asked for a tool."""

    turn: int
    call: int
    name: str
    arguments: str = field(default="", compare=False)
    """The beginning of their JSON text; empty in what earlier releases recorded. All of them are in the step of the
    turn."""


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A call of a tool is over."""

    turn: int
    call: int
    name: str
    ok: bool
    """False: the model was told of an error."""
    ms: float
    arguments: str = field(default="", compare=False)
    """As in `ToolStarted`."""
    result: str = field(default="", compare=False)
    """The beginning of what the model was told; the step has all of it."""
    untrusted: bool = field(default=False, compare=False)
    """Others wrote the result, and the model read it inside a fence."""


@dataclass(frozen=True, slots=True)
class RiskyCallHeld:
    """A call of a risky tool was not simply made, because its agent had read what others wrote."""

    turn: int
    call: int
    name: str
    sources: tuple[str, ...]
    """What the agent had read that others wrote."""
    becomes: Literal["ask", "deny"]
    """`ask`: a person is asked; `deny`: the call is refused."""


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """An agent wrote a file."""

    path: str
    """The file's path in that folder."""
    folder: str
    """The workspace, or the run's folder."""
    untrusted: tuple[str, ...] = ()
    """Sources of what others wrote that the agent had read by then, and that the file may hold; empty: it holds no
    words of others any more."""


@dataclass(frozen=True, slots=True)
class HistoryFitted:
    """No provider takes all of a turn's request: its older middle is left out, and the model is told so."""

    agent: str
    turn: int
    left_out: int
    """Messages that are not sent."""
    shortened: int
    """Results of tools that are sent without their middle."""
    tokens: int
    """Tokens of the request, as an estimate."""
    room: int
    """What it was fitted to, in tokens, as an estimate."""


@dataclass(frozen=True, slots=True)
class HistorySummarised:
    """A model was asked to make a summary of an agent's older messages, and of the summary before them."""

    agent: str
    turn: int
    messages: int
    """How many older messages."""
    tokens: int
    """Of the request."""
    summary_tokens: int
    """Of the answer."""
    failed: str = ""
    """Why there is no summary, or why it is of no use; then all that was said is sent as far as it fits."""


@dataclass(frozen=True, slots=True)
class ContextSummarised:
    """A model was asked to shorten a text of a task's context that was too long."""

    agent: str
    turn: int
    source: str
    """What the text is."""
    tokens: int
    """Of the request."""
    summary_tokens: int
    """Of the answer."""
    failed: str = ""
    """Why there is no summary, or why it is of no use; then the text goes without its middle."""


@dataclass(frozen=True, slots=True)
class GuardrailChecked:
    """A guardrail looked at a text: what an agent is told (`input`), or its answer (`output`)."""

    turn: int
    """The number of the model call; 0: what the agent is told."""
    side: Literal["input", "output"]
    """Which text: what the agent is told, or its answer."""
    check: str
    """The name of the check."""
    passed: bool
    """Whether the text is in order."""
    on_fail: str = ""
    """What follows where it did not pass."""
    why: str = ""
    """What is wrong where it did not pass."""


@dataclass(frozen=True, slots=True)
class MemoryRecalled:
    """An agent was told of these before it began to work: ids of records, and passages of documents (`a.md:3-9`)."""

    agent: str
    records: tuple[str, ...]
    """Ids of records of its memory."""
    passages: tuple[str, ...] = ()
    """Passages of documents: file and lines."""


@dataclass(frozen=True, slots=True)
class TextsEmbedded:
    """A provider made vectors of so many texts for the memory of an agent."""

    agent: str
    texts: int
    """How many texts."""
    provider: str
    model: str
    usage: Usage
    cost: int | None
    """What was billed, in micro-USD; None: unknown."""
    estimate: Estimate | None = None
    """What the caps counted where the provider sent no sound usage."""


@dataclass(frozen=True, slots=True)
class MemoryByWords:
    """What an agent remembers is found by words alone for now, though by meaning too is wished for: why, as far as the
    first failure says. Told once a run for each model."""

    agent: str
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class KnowledgeRead:
    """The index of a knowledge folder is up to date."""

    folder: str
    """The folder's path."""
    files: int
    """Files that it holds now."""
    chunks: int
    """Pieces of text that it holds now."""
    changed: int = 0
    """Files that were read again."""
    gone: int = 0
    """Files that are no longer in it."""
    unread: tuple[str, ...] = ()
    """Files that it cannot hold, and why; the first few."""
    unread_count: int = 0
    """How many files it cannot hold."""


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A tool tells how far it is."""

    turn: int
    call: int
    name: str
    text: str
    """What the tool says."""
    done: float | None = None
    """How much is done, where the tool knows."""
    total: float | None = None
    """How much there is to do, where the tool knows."""


@dataclass(frozen=True, slots=True)
class RepeatStopped:
    """A call was not made: it had been made before with these arguments, and had the same result each time."""

    turn: int
    call: int
    name: str
    times: int
    """How often it had been made."""
    is_last: bool = False
    """The model was told so before, and its next turn is its last."""
