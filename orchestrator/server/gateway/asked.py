"""What a request to the gateway asks, whatever dialect it came in, and what all dialects read alike. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.server.gateway.failures import GatewayFailure, invalid
from providers.documents.unicode import clean_json_text
from providers.messages import (
    Capability,
    Delta,
    Image,
    Message,
    Needs,
    OutputSchema,
    Request,
    Response,
    ToolSpec,
)

B = TypeVar("B", bound=BaseModel)
_SUBJECT = re.compile(r"^(Input|List|Value) ")
EFFORTS: Mapping[str, Literal["low", "medium", "high"]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
ANY_OBJECT = OutputSchema({"type": "object"}, "object")
"""What an answer that must be a JSON object of any shape is held to."""
MOST_ITEMS = 10_000
"""Messages of a request, and parts of all of them together. While a request is read, no other is answered."""
MOST_TOOLS = 2_000
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
DialectEvent = tuple[str | None, Any]
"""An event of a stream: its name, where the dialect gives it one, and what it says."""


@dataclass(frozen=True, slots=True)
class CompletionAsked:
    """A request that was read. `ignored` are the fields that it sets and that change nothing here."""

    model: str
    request: Request
    stream: bool = False
    include_usage: bool = False
    ignored: tuple[str, ...] = ()
    by_functions: bool = False
    """Whether the client knows functions alone, which came before tools."""


class DialectReply(Protocol):
    """Writes the answer to one request as a dialect has it. A stream is `opening`, each `piece`, `closing`."""

    ending: bytes
    """What comes after the last event of a stream that ended well."""

    def whole(self, response: Response) -> dict[str, Any]:
        """Return the body of a whole answer."""
        ...

    def opening(self) -> Iterable[DialectEvent]: ...

    def piece(self, delta: Delta) -> Iterable[DialectEvent]: ...

    def closing(self, response: Response) -> Iterable[DialectEvent]: ...

    def broken(self, failure: GatewayFailure) -> Iterable[DialectEvent]:
        """Return what ends a stream that broke."""
        ...


class Lenient(BaseModel):
    """Reads what it knows of an object, and no more: clients send what is newer than we are."""

    model_config = ConfigDict(extra="ignore")


def read_body(kind: type[B], body: bytes) -> B:
    """Return a body's fields. Raise `GatewayFailure` that names the first of them that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        if b"\\u" in body and "escape" in str(error):  # a text that a client cut within an emoji
            return _mended(kind, body)
        raise _unreadable(error) from None


def _mended(kind: type[B], body: bytes) -> B:
    """Return the fields of a body in which half a character is told as U+FFFD. Raise `GatewayFailure`."""
    try:
        return kind.model_validate_json(clean_json_text(body.decode("utf-8", "replace")))
    except ValidationError as error:
        raise _unreadable(error) from None


def _unreadable(error: ValidationError) -> GatewayFailure:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # Of what may be a text or a list, both are told: a list is not wrong for being no text.
    first = next((one for one in found if one["type"] not in ("string_type", "list_type")), found[0])
    if first["type"] == "json_invalid":
        return invalid(f"the body is not JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    path = ""
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part != "str":  # the names of a union's members are no fields
            path += f".{part}" if path else part
    if first["type"] == "missing":
        return invalid(f"missing required parameter: '{path}'", path, "missing_required_parameter")
    said = _SUBJECT.sub("", first["msg"])
    return invalid(f"invalid value for '{path}': it {said[:1].lower()}{said[1:]}" if path else said, path or None)


@dataclass(slots=True)
class CallsMade:
    """The calls of tools in a transcript so far: an answer to one names its tool."""

    names: dict[str, str] = field(default_factory=dict)

    def made(self, ident: str | None, name: str) -> str:
        """Take a call; return its id, which is made where the client gives none."""
        ident = ident or f"call-{len(self.names) + 1}"
        self.names[ident] = name
        return ident

    def name_of(self, ident: str, at: str, field: str) -> str:
        """Return the tool that the call with this id was of. Raise `GatewayFailure` where there was none."""
        if ident not in self.names:
            text = f"{at} answers the call '{ident[:80]}', which no message before it makes"
            raise invalid(text, f"{at}.{field}")
        return self.names[ident]


def image_of(url: str, at: str) -> Image:
    """Return the image of a `data:` URL. Others are not fetched: a client could have the server ask anything."""
    head, comma, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise invalid(f"'{at}' names an image by its address; send it as data:image/png;base64,...", at)
    return image_in(head[len("data:") : -len(";base64")], data, at)


def image_in(media_type: str, data: str, at: str) -> Image:
    """Return an image that came in base64."""
    try:
        return Image(media_type, base64.b64decode(data, validate=True))
    except ValueError:
        raise invalid(f"'{at}' holds no base64", at) from None


def checked_choice(choice: str, tools: Sequence[ToolSpec]) -> str:
    """Return which tools may be called, as a request has it. Raise `GatewayFailure` for a tool that is not offered."""
    if choice in ("auto", "none", "required"):
        return choice if tools else "auto"
    if all(tool.name != choice for tool in tools):
        raise invalid(f"'tool_choice' names the tool '{choice[:80]}', which is not among the tools", "tool_choice")
    return choice


def refuse_excess(request: Request) -> None:
    """Raise `GatewayFailure` for a request that has more parts than it may."""
    if sum(len(message.parts) for message in request.messages) > MOST_ITEMS:
        raise invalid(f"a request holds at most {MOST_ITEMS:,} messages and parts of them", "messages")


def needs_of(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Needs:
    """Return what a transcript demands of a model."""
    return Needs(capabilities=frozenset(_capabilities(messages, tools)))


def _capabilities(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Iterator[Capability]:
    if tools:
        yield Capability.TOOLS
    if any(isinstance(part, Image) for message in messages for part in message.parts):
        yield Capability.VISION
