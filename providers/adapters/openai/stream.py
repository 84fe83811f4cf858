"""A Chat Completions stream, bytes in any pieces to deltas and one `Response`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters.error_report import excerpt
from providers.adapters.openai.decode import ChatAnswer, arguments_in, calls_in, content_in, first_of, raise_error_in
from providers.adapters.openai.errors import error_in
from providers.adapters.openai.reasoning import LeadingThought, details_in, joined, reasoning_in, text_of
from providers.adapters.shapes import mapping, object_in, string
from providers.adapters.sse import EventParser, SseEvent
from providers.catalog.model import Candidate
from providers.documents.unicode import CleanStream, clean
from providers.errors import BadReply, ProviderError, StreamBroken
from providers.messages import Delta, ReasoningDelta, Response, TextDelta, ToolCallDelta


class ChatStream:
    """A `StreamDecoder`. An error behind deltas of the same bytes is raised by the next call, so none is lost."""

    def __init__(self, candidate: Candidate, now: float) -> None:
        self._candidate = candidate
        self._now = now
        self._events = EventParser()
        self._answer = ChatAnswer()
        self._seen = self._done = self._spoke_on = False
        self._error: ProviderError | None = None
        self._text = CleanStream()
        self._leading = LeadingThought()
        self._thought = CleanStream()
        self._said: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []

    @property
    def ended(self) -> bool:
        return self._done or self._error is not None

    @property
    def whole(self) -> bool:
        """Some gateways say a finish reason with every chunk, or with the empty ones before the first word."""
        finish = self._answer.finish
        return bool(finish) and not self._spoke_on and (finish != "stop" or bool(self._said or self._calls))

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        self._raise_pending()
        try:
            for event in self._events.feed(data):
                self._take(event, deltas)
        except ProviderError as error:
            self._error = error
            if not deltas:
                raise
        return deltas

    def finish(self) -> Response:
        self._raise_pending()
        late: list[Delta] = []
        for event in self._events.finish():
            if _is_whole(event[1]):
                self._take(event, late)
        if not self._seen:
            raise self._not_a_stream()
        answer = self._answer
        if not self._done and not answer.finish:
            raise StreamBroken("the stream ended without a finish reason and without its terminator")
        self._flush(late)
        answer.text, answer.reasoning = "".join(self._said), "".join(self._thoughts)
        answer.details = joined(self._details)
        answer.refusal = "".join(self._refusal)
        answer.calls = [call.whole() for call in self._calls]
        return answer.response(self._candidate)

    def _raise_pending(self) -> None:
        if self._error is not None:
            raise self._error

    def _not_a_stream(self) -> ProviderError:
        """Return what a reply amounts to that was no event stream: mostly a plain JSON error under status 200."""
        stray = self._events.stray
        try:
            found = error_in(object_in(stray), {}, self._now, self._candidate.provider.refusals)
        except BadReply:
            found = None
        if found is None and (self._done or not stray):
            return StreamBroken("the stream ended before its first chunk")
        return found or BadReply(f"the reply is no event stream: {excerpt(stray)}")

    def _take(self, event: SseEvent, deltas: list[Delta]) -> None:
        name, data = event
        if self._done:
            return
        if data == b"[DONE]":
            self._flush(deltas)
            self._done = True
            return
        chunk = object_in(data)
        if name == b"error" or "error" in chunk or "choices" not in chunk:
            raise_error_in(chunk, {}, self._now, self._candidate.provider.refusals, certain=name == b"error")
        self._seen = True
        if chunk.get("usage") is not None or "x_groq" in chunk:
            self._answer.bill(chunk)
        choices = chunk.get("choices")
        if choices:
            finished, told = bool(self._answer.finish), len(deltas)
            self._choice(first_of(choices), deltas)
            self._spoke_on |= finished and len(deltas) > told

    def _choice(self, choice: Mapping[str, Any], deltas: list[Delta]) -> None:
        finish = choice.get("finish_reason")
        if finish:
            self._answer.finish = string(finish, "finish_reason")
            raise_error_in(choice, {}, self._now, self._candidate.provider.refusals)
        if delta := choice.get("delta"):
            self._delta(mapping(delta, "delta"), deltas)
        if finish:
            self._flush(deltas)

    def _delta(self, delta: Mapping[str, Any], deltas: list[Delta]) -> None:
        content, thought = delta.get("content"), ""
        if content.__class__ is not str:
            content, thought = content_in(content)
        self._think(delta, thought, deltas)
        if content:
            self._say(self._text.feed(content), deltas)
        if delta.get("refusal"):
            self._refusal.append(string(delta["refusal"], "refusal"))
        if delta.get("tool_calls") or delta.get("function_call"):
            for piece in calls_in(delta):
                self._call(mapping(piece, "a tool call"), deltas)

    def _think(self, delta: Mapping[str, Any], thought: str, deltas: list[Delta]) -> None:
        told = reasoning_in(delta)
        if "reasoning_details" in delta:
            details = details_in(delta)
            self._details += details
            told = told or text_of(details)
        if (thought := told + thought) and (thought := self._thought.feed(thought)):
            self._thoughts.append(thought)
            deltas.append(ReasoningDelta(thought))

    def _say(self, text: str, deltas: list[Delta]) -> None:
        if not self._leading.over:
            thought, text = self._leading.feed(text)
            self._part(thought, text, deltas)
        elif text:
            self._said.append(text)
            deltas.append(TextDelta(text))

    def _part(self, thought: str, text: str, deltas: list[Delta]) -> None:
        if thought:
            self._thoughts.append(thought)
            deltas.append(ReasoningDelta(thought))
        if text:
            self._said.append(text)
            deltas.append(TextDelta(text))

    def _flush(self, deltas: list[Delta]) -> None:
        """Let go of what waited for more: nothing more comes."""
        self._say(self._text.finish(), deltas)
        self._part(*self._leading.finish(), deltas)
        self._part(self._thought.finish(), "", deltas)
        for at, call in enumerate(self._calls):
            if rest := call.finish():
                deltas.append(ToolCallDelta(at, arguments=rest))

    def _call(self, piece: Mapping[str, Any], deltas: list[Delta]) -> None:
        function = mapping(piece.get("function") or {}, "function")
        call_id, name = string(piece.get("id"), "id"), string(function.get("name"), "name")
        at = self._position(piece.get("index"), call_id, name)
        call = self._calls[at]
        # Some vendors repeat id and name in every piece.
        call_id, name = "" if call.id else clean(call_id), "" if call.name else clean(name)
        call.id, call.name = call.id or call_id, call.name or name
        arguments = call.add(arguments_in(function.get("arguments")))
        if call_id or name or arguments:
            deltas.append(ToolCallDelta(at, call_id, name, arguments))

    def _position(self, index: Any, call_id: str, name: str) -> int:
        """Return which call a piece belongs to, and open it where it is new.

        Pieces share an index, says the dialect; but Mistral sends whole calls and no index, and some vendors send 0
        with every call of a parallel turn. So a name opens a call where its id was not seen under that index.
        """
        if index is not None and (index.__class__ is not int or index < 0):
            raise BadReply("a tool call's index is no number")
        for at in range(len(self._calls) - 1, -1, -1):
            call = self._calls[at]
            if call.index != index:
                continue
            if not name or (call_id and call_id == call.id):
                return at
            if index is not None and not (call_id and call.id):
                return at
        self._calls.append(_Call(index))
        return len(self._calls) - 1


class _Call:
    """A tool call on its way."""

    __slots__ = ("_clean", "_pieces", "id", "index", "name")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = self.name = ""
        self._clean = CleanStream()
        self._pieces: list[str] = []

    def add(self, piece: str) -> str:
        piece = self._clean.feed(piece)
        self._pieces.append(piece)
        return piece

    def finish(self) -> str:
        """Return what was held back at the end."""
        rest = self._clean.finish()
        self._pieces.append(rest)
        return rest

    def whole(self) -> tuple[str, str, str]:
        return self.id, self.name, "".join(self._pieces)


def _is_whole(data: bytes) -> bool:
    """Say whether an event that the end cut off from its blank line had come whole before it."""
    if data == b"[DONE]":
        return True
    try:
        object_in(data)
    except BadReply:
        return False
    return True
