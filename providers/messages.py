"""What is said to a model and what it says back: frozen values that no wire format shows through.

A `Message` remembers what was derived from it (its bytes in a dialect, its digest, its estimated tokens), so a
transcript of n messages is encoded once per message, not once per turn: the 500th turn pays for the bytes it sends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

from providers.documents.arguments import read_object

T = TypeVar("T")
Role = Literal["system", "user", "assistant", "tool"]

# English text runs at about four bytes a token; scripts of three bytes a character at about one and a half characters
# a token. Bytes / 4 is low for the second by half, so the estimate leans on bytes / 3: too high wastes a little room,
# too low overshoots a limit.
BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 4


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str
    """The text itself."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image's bytes and its media type, `image/png` for example."""

    media_type: str
    """`image/png`, `image/jpeg`, ..."""
    data: bytes = field(repr=False)
    """The bytes of the file."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought aloud. `opaque` is the provider's blob, valid only for the `provider/model` in `made_by`.

    Journals of earlier releases name the provider alone there: which model it was is not known, so it goes to none.
    """

    text: str
    opaque: str | None = field(default=None, repr=False)
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. `arguments` is the JSON text as the model wrote it, joined raw, not yet parsed.

    `opaque` is a provider's blob that came with the call, valid only for the `provider/model` in `made_by`.
    """

    id: str
    """The call's own, as the model or its provider named it."""
    name: str
    """The tool that is called."""
    arguments: str
    """The JSON text as the model wrote it; `parse` reads it."""
    opaque: str | None = field(default=None, repr=False)
    """A provider's blob that came with the call; it is sent back to the same model alone."""
    made_by: str | None = None
    """The `provider/model` that `opaque` is valid for."""

    def parse(self) -> dict[str, Any]:
        """Return the arguments as an object: what `read_object` makes of the text. Raise `ValueError` where it cannot.

        Nothing and `null` are an empty object, and an object that was encoded twice is unwrapped.
        """
        return read_object(self.arguments)[0]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call `call_id`; `is_error` tells the model that the call failed.

    `fence` is set where others wrote the content: the number of the fence that a model reads it in, drawn after it was
    written. `note` is ours, and is told before it, outside of the fence.
    """

    call_id: str
    """The call that it answers."""
    name: str
    """The tool."""
    content: str
    """What the model is told."""
    is_error: bool = False
    """The model is told that the call failed."""
    fence: str = ""
    """Set where others wrote the content: the number of the fence that a model reads it in."""
    note: str = ""
    """Ours, told before the content, outside of the fence."""
    spent: ModelCalls | None = field(default=None, compare=False, repr=False)
    """What the agent spent that did the work, where the tool is one. It is not sent, and in no digest."""


Part = Text | Image | Reasoning | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose words a message holds. None of it is sent, and it is in no digest.

    `who` is an agent, `human`, or `brief` for what a piece of work is told. `untrusted` are the sources of what others
    wrote that the words hold, or that their speaker had read.
    """

    who: str
    untrusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One utterance. `name` is the speaker where several share a role, as in a conversation of agents."""

    role: Role
    """Who speaks."""
    parts: tuple[Part, ...]
    """Texts, images, reasoning, tool calls and results, in order."""
    name: str | None = None
    """The speaker, where several share a role."""
    origin: Origin | None = field(default=None, compare=False, repr=False)
    """Whose words it holds; not sent."""
    _memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The text parts, joined without a separator."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Its tool calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    def memo(self, key: str, make: Callable[[Message], T]) -> T:
        """Return `make(self)`, computed once for each `key` in this message's life. `make` must be pure."""
        found = self._memo.get(key, self)  # `self` is the sentinel: no value derived from a message is the message
        if found is self:
            found = self._memo[key] = make(self)
        return found  # type: ignore[no-any-return]  # the key names the type

    @property
    def tokens(self) -> int:
        """An estimate of its tokens, high rather than low."""
        return self.memo("tokens", _estimate)

    @property
    def digest(self) -> bytes:
        """SHA-256 of its content: equal for equal messages, in any process."""
        return self.memo("digest", _digest)


def system(text: str) -> Message:
    """Return what a model is told first: who it is, and the rules."""
    return Message("system", (Text(text),))


def user(text: str, name: str | None = None) -> Message:
    """Return what a user says; `name` tells speakers apart."""
    return Message("user", (Text(text),), name)


def with_images(text: str, images: Sequence[Image]) -> Message:
    """Return what a user says about images: the text, then each of them."""
    return Message("user", (Text(text), *images))


def assistant(*parts: str | Part, name: str | None = None) -> Message:
    """Return what a model said: texts and tool calls, in order."""
    return Message("assistant", tuple(Text(p) if isinstance(p, str) else p for p in parts), name)


def tool(*results: ToolResult) -> Message:
    return Message("tool", results)


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` is, high rather than low."""
    return len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN + 1


def _estimate(message: Message) -> int:
    return TOKENS_PER_MESSAGE + sum(_part_tokens(part) for part in message.parts)


def _part_tokens(part: Part) -> int:
    match part:
        case Text(text) | Reasoning(text):
            return estimate_tokens(text)
        case ToolCall(_, name, arguments):
            return estimate_tokens(name) + estimate_tokens(arguments)
        case ToolResult(_, name, content):
            return estimate_tokens(name) + estimate_tokens(content)
        case Image():
            return 1024  # vendors bill an image by its tiles: 85 to 1,600 tokens for the usual sizes


def _digest(message: Message) -> bytes:
    seal = hashlib.sha256(f"{message.role}\0{message.name or ''}".encode("utf-8", "surrogatepass"))
    for part in message.parts:
        data = part.data if isinstance(part, Image) else b""
        fields = [type(part).__name__, *(str(getattr(part, slot)) for slot in _told(part))]
        head = "\0".join(fields).encode("utf-8", "surrogatepass")
        # Lengths first: no two different part lists share a byte string.
        seal.update(b"%d:%d:" % (len(head), len(data)) + head + data)
    return seal.digest()


def _told(part: Part) -> tuple[str, ...]:
    """Return the fields that a digest reads. Late ones of a call and of a result count only where they are set."""
    if isinstance(part, ToolCall):
        return part.__slots__ if part.opaque or part.made_by else part.__slots__[:3]
    if isinstance(part, ToolResult):
        return part.__slots__[: 6 if part.note else 5 if part.fence else 4]
    return tuple(slot for slot in part.__slots__ if slot != "data")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it: a name, what it does, and a JSON Schema (an object) of its parameters."""

    name: str
    """What the model calls it."""
    description: str
    """What the model is told of it."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """A JSON Schema of type `object`."""


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A JSON Schema that the final text must satisfy, and the name that dialects ask for."""

    schema: Mapping[str, Any]
    """A JSON Schema (2020-12)."""
    name: str = "output"
    """What dialects that want a name are told."""


class Capability(StrEnum):
    """What a model can do, beside writing text."""

    TOOLS = "tools"
    """It calls tools."""
    JSON_SCHEMA = "json_schema"
    """Its answer can be held to a JSON Schema."""
    VISION = "vision"
    """It sees images."""
    REASONING = "reasoning"
    """It thinks before it answers."""
    PREFILL = "prefill"
    """It continues the assistant's message that a transcript ends in."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request requires of the candidate that answers it. All of it is for choosing; none of it is sent.

    `agent` and `persona` are looked up in the policy's `agents`; `tier` is the persona's own, used where the policy
    says nothing. `model` pins one candidate ("provider/model"). `chain` names candidates, or `provider/*`, that are
    asked in this order, and then the policy's last resort; it outranks the policy's own word on the agent. `deadline_s`
    are seconds from now for the whole turn. `run` is whose turn it is: where turns wait for a limit, runs are served
    side by side.
    """

    agent: str | None = None
    """Looked up in the policy's `agents`."""
    persona: str | None = None
    """Looked up there, too."""
    tier: str | None = None
    """The persona's own, used where the policy says nothing."""
    model: str | None = None
    """Pins one candidate, `provider/model`."""
    task_type: str | None = None
    """Looked up in the policy's `task_types`."""
    capabilities: frozenset[Capability] = frozenset()
    """What the model must be able to do."""
    deadline_s: float | None = None
    """Seconds from now for the whole turn."""
    run: str | None = None
    """Whose turn it is: where turns wait for a limit, runs are served side by side."""
    chain: tuple[str, ...] = ()
    """Candidates, or `provider/*`, asked in this order, then the policy's last resort."""


@dataclass(frozen=True, slots=True)
class Request:
    """One turn to be answered: the messages in order, what may be called, what the answer must look like."""

    messages: tuple[Message, ...]
    """What is said, in order."""
    tools: tuple[ToolSpec, ...] = ()
    """What the model may call."""
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or a tool's name."""
    output_schema: OutputSchema | None = None
    """What the answer must look like; None: any text."""
    max_output_tokens: int | None = None
    """Tokens of the answer, at most; None: as the model has it."""
    temperature: float | None = None
    """None: the vendor's default."""
    stop: tuple[str, ...] = ()
    """Texts at which the answer ends."""
    seed: int | None = None
    """For answers that are alike, where the model takes one."""
    effort: Literal["low", "medium", "high"] | None = None
    """How much a model that reasons should think. Not sent to one that does not, or has no word for it."""
    needs: Needs = Needs()
    """What is required of who answers; not sent."""
    tools_needed: bool = True
    """Whether a model must be able to call tools; else one that cannot is asked without them."""

    @property
    def input_tokens(self) -> int:
        """An estimate of what the request costs to read, high rather than low."""
        schema = estimate_tokens(json.dumps(self.output_schema.schema)) if self.output_schema else 0
        tools = sum(estimate_tokens(t.name + t.description + json.dumps(t.parameters)) for t in self.tools)
        return sum(m.tokens for m in self.messages) + tools + schema


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as a disjoint ledger: the five figures never overlap, and their sum is what was billed for."""

    input: int = 0
    """Tokens of the request that no cache had."""
    cache_read: int = 0
    """Tokens of the request that a cache had."""
    cache_write: int = 0
    """Tokens of the request that were put into a cache."""
    output: int = 0
    """Tokens of the answer, without reasoning."""
    reasoning: int = 0
    """Tokens of what the model thought."""

    @property
    def total(self) -> int:
        """All five figures together."""
        return self.input + self.cache_read + self.cache_write + self.output + self.reasoning

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """What several calls of models took together."""

    usage: Usage = Usage()
    """Tokens, as the providers reported them."""
    cost: int | None = 0
    """micro-USD; None: that of some call is unknown."""
    counted: int = 0
    """Tokens as caps count them: with estimates where a provider did not report its usage."""
    calls: int = 0
    """How many."""

    def __add__(self, other: ModelCalls) -> ModelCalls:
        cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        return ModelCalls(self.usage + other.usage, cost, self.counted + other.counted, self.calls + other.calls)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one exchange with one candidate ended. `error` is a class name, None when it answered."""

    provider: str
    model: str
    outcome: Literal["ok", "failed", "cancelled"]
    status: int | None = None
    error: str | None = None
    detail: str | None = None
    ms: float = 0.0
    account: int = 1
    """The number of the provider's key."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an answer is taken to have used, by what was sent and said. `cost` is micro-USD, None: unknown.

    It is what caps and limits count where a provider sends no figures, or odd ones.
    """

    usage: Usage
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer, which model gave it and what it cost. `cost` is micro-USD; None means unknown, never free.

    A `usage` of nothing but zeros is unknown; the manager then says in `estimate` what its caps have counted.
    """

    message: Message
    """The answer."""
    finish: FinishReason
    """Why the model stopped."""
    usage: Usage = Usage()
    """Tokens; nothing but zeros: unknown."""
    provider: str = ""
    """Who answered."""
    model: str = ""
    """Which of its models."""
    cost: int | None = None
    """Micro-USD; None: unknown, never free."""
    attempts: tuple[Attempt, ...] = ()
    """How each attempt ended, failed ones included."""
    latency_ms: float = 0.0
    """Milliseconds of the attempt that answered."""
    estimate: Estimate | None = None
    """What caps have counted where the usage is unknown."""

    @property
    def counted(self) -> Usage:
        """What caps count: its usage, or the estimate where that is unknown."""
        return self.usage if self.estimate is None else self.estimate.usage

    @property
    def text(self) -> str:
        """The text of the answer, its parts joined."""
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the answer, in order."""
        return self.message.tool_calls


Accept = Callable[[Response], None]
"""Raises `BadReply` for an answer that will not do; the attempt then counts as failed."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str
    """To be put behind what came before."""


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of what the model thinks aloud."""

    text: str
    """To be put behind what came before."""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next piece of tool call number `index`; `id` and `name` come with the first."""

    index: int
    """Which call of the answer."""
    id: str = ""
    """With the first piece only."""
    name: str = ""
    """With the first piece only."""
    arguments: str = ""
    """The next piece of its JSON text."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The stream broke: what came before is void, and a new answer begins."""

    reason: str
    """Why it broke."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The stream broke: here is the seam. What follows goes on from what came before it."""

    reason: str
    """Why it broke."""


Delta = TextDelta | ReasoningDelta | ToolCallDelta | Restarted | Resumed

Hear = Callable[[Delta], None]
"""Is told of an answer as it comes. It returns at once: the answer does not wait for listeners."""
