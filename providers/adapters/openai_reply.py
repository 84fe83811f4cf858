"""What a Chat Completions endpoint answers, whole or as a stream, made into one `Response`.

Anything may come back: every level is checked by shape, and what has the wrong one is a `BadReply`, never a KeyError.
Unknown keys are ignored, vendors pad their chunks with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from providers.adapters import HttpReply
from providers.adapters.error_report import excerpt
from providers.adapters.openai_errors import error_in
from providers.adapters.shapes import count, mapping, object_in, sequence, string, tool_call
from providers.adapters.sse import Event, EventParser
from providers.catalog import Candidate
from providers.errors import BadReply, Declined, ProviderError, ServerFault, StreamBroken
from providers.messages import (
    Delta,
    FinishReason,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Response,
    Text,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from providers.unicode import CleanStream, clean, cut

# Together's old models say `eos`, Mistral `model_length`, vendors behind aggregators their native words.
FINISHES = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


def read_reply(reply: HttpReply, candidate: Candidate, now: float) -> Response:
    """Return the answer in a 2xx reply, or raise the `ProviderError` that it amounts to."""
    body = object_in(reply.body)
    _raise_error_in(body, reply.headers, now)
    choice = _first(body.get("choices"))
    _raise_error_in(choice, reply.headers, now)  # OpenRouter: the upstream failed half-way
    message = mapping(choice.get("message"), "message")
    answer = Answer()
    answer.text, thought = _content(message.get("content"))
    answer.reasoning = _reasoning(message) + thought
    answer.refusal = string(message.get("refusal"), "refusal")
    for call in sequence(message.get("tool_calls"), "tool_calls"):
        answer.calls.append(_call(mapping(call, "a tool call")))
    answer.finish = string(choice.get("finish_reason"), "finish_reason")
    answer.bill(body)
    return answer.response(candidate)


class Answer:
    """What was said so far. One thing both roads lead to: a whole reply fills it at once, a stream bit by bit."""

    __slots__ = ("calls", "cost", "finish", "reasoning", "refusal", "text", "usage")

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.refusal = ""
        self.calls: list[tuple[str, str, str]] = []  # id, name, arguments
        self.finish = ""
        self.usage: Usage | None = None
        self.cost: int | None = None

    def bill(self, body: Mapping[str, Any]) -> None:
        """Read the usage in `body`, if there is one. The latest counts: figures in a stream are running totals."""
        groq = body.get("x_groq")
        raw = body.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None)
        if raw is None:
            return
        raw = mapping(raw, "usage")
        self.usage = _usage(raw, body.get("timings"))
        self.cost = _cost(raw)

    def response(self, candidate: Candidate) -> Response:
        """Return the answer, or raise what it amounts to: declined, failed, empty."""
        text, reasoning = clean(self.text), clean(self.reasoning)
        if self.refusal:
            raise Declined(f"the model refuses: {cut(clean(self.refusal), 200)}", category="refusal")
        if self.finish == "error":
            raise ServerFault("the answer ended with finish_reason error")
        empty = not self.calls and not text.strip()
        if empty and self.finish == "content_filter":
            raise Declined("a content filter withheld the answer", category="content_filter")
        if empty:
            why = f"finish_reason {cut(clean(self.finish), 40) or 'missing'}" + (
                ", only reasoning" if reasoning else ""
            )
            raise BadReply(f"the answer is empty ({why})")
        parts: list[Part] = [Reasoning(reasoning, made_by=candidate.provider.name)] if reasoning else []
        parts += [Text(text)] if text else []
        parts += [tool_call(i, *call) for i, call in enumerate(self.calls)]
        return Response(
            message=Message("assistant", tuple(parts)),
            finish=self._finish(),
            usage=self.usage or Usage(),
            provider=candidate.provider.name,
            model=candidate.model.name,
            cost=self._cost(candidate),
        )

    def _finish(self) -> FinishReason:
        """Calls decide where the vendor's word is missing, unknown or `stop`, which some send with calls too."""
        found = FINISHES.get(self.finish, FinishReason.STOP)
        if found in (FinishReason.STOP, FinishReason.TOOL_CALLS):
            return FinishReason.TOOL_CALLS if self.calls else FinishReason.STOP
        return found

    def _cost(self, candidate: Candidate) -> int | None:
        """The provider's own figure, else the catalog's price. Without usage only a free model's cost is known."""
        price = candidate.model.price
        if self.cost is not None or price is None:
            return self.cost
        if self.usage is None:
            return 0 if price.input == price.output == 0 else None
        return price.cost(self.usage)


class ChatStream:
    """A `StreamDecoder`. An error behind deltas of the same bytes is raised by the next call, so none is lost."""

    def __init__(self, candidate: Candidate, now: float) -> None:
        self._candidate = candidate
        self._now = now
        self._events = EventParser()
        self._answer = Answer()
        self._seen = self._done = False
        self._error: ProviderError | None = None
        self._text = CleanStream()
        self._thought = CleanStream()
        self._said: list[str] = []
        self._thoughts: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []

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
        answer.text = "".join(self._said) + self._text.finish()
        answer.reasoning = "".join(self._thoughts) + self._thought.finish()
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
            found = error_in(object_in(stray), {}, self._now)
        except BadReply:
            found = None
        if found is None and (self._done or not stray):
            return StreamBroken("the stream ended before its first chunk")
        return found or BadReply(f"the reply is no event stream: {excerpt(stray)}")

    def _take(self, event: Event, deltas: list[Delta]) -> None:
        name, data = event
        if self._done:
            return
        if data == b"[DONE]":
            self._done = True
            return
        chunk = object_in(data)
        if name == b"error" or "error" in chunk or "choices" not in chunk:
            _raise_error_in(chunk, {}, self._now, certain=name == b"error")
        self._seen = True
        if chunk.get("usage") is not None or "x_groq" in chunk:
            self._answer.bill(chunk)
        choices = chunk.get("choices")
        if choices:
            self._choice(_first(choices), deltas)

    def _choice(self, choice: Mapping[str, Any], deltas: list[Delta]) -> None:
        finish = choice.get("finish_reason")
        if finish:
            self._answer.finish = string(finish, "finish_reason")
            _raise_error_in(choice, {}, self._now)
        delta = choice.get("delta")
        if not delta:
            return
        delta = mapping(delta, "delta")
        content, thought = delta.get("content"), ""
        if content.__class__ is not str:
            content, thought = _content(content)
        thought = _reasoning(delta) + thought
        if thought and (thought := self._thought.feed(thought)):
            self._thoughts.append(thought)
            deltas.append(ReasoningDelta(thought))
        if content and (content := self._text.feed(content)):
            self._said.append(content)
            deltas.append(TextDelta(content))
        if delta.get("refusal"):
            self._refusal.append(string(delta["refusal"], "refusal"))
        if delta.get("tool_calls"):
            for piece in sequence(delta["tool_calls"], "tool_calls"):
                self._call(mapping(piece, "a tool call"), deltas)

    def _call(self, piece: Mapping[str, Any], deltas: list[Delta]) -> None:
        function = mapping(piece.get("function") or {}, "function")
        call_id, name = string(piece.get("id"), "id"), string(function.get("name"), "name")
        at = self._position(piece.get("index"), call_id, name)
        call = self._calls[at]
        # Some vendors repeat id and name in every piece.
        call_id, name = "" if call.id else clean(call_id), "" if call.name else clean(name)
        call.id, call.name = call.id or call_id, call.name or name
        arguments = call.add(_arguments(function.get("arguments")))
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

    def whole(self) -> tuple[str, str, str]:
        return self.id, self.name, "".join(self._pieces) + self._clean.finish()


def _is_whole(data: bytes) -> bool:
    """Say whether an event that the end cut off from its blank line had come whole before it."""
    if data == b"[DONE]":
        return True
    try:
        object_in(data)
    except BadReply:
        return False
    return True


def _raise_error_in(body: Mapping[str, Any], headers: Mapping[str, str], now: float, *, certain: bool = False) -> None:
    found = error_in(body, headers, now, certain=certain)
    if found is not None:
        raise found


def _first(choices: Any) -> Mapping[str, Any]:
    if not sequence(choices, "choices"):
        raise BadReply("the reply has no choices")
    return mapping(choices[0], "first choice")


def _content(content: Any) -> tuple[str, str]:
    """Return text and reasoning. Mistral's magistral models send a list of chunks, thinking among them."""
    if content is None or isinstance(content, str):
        return content or "", ""
    text, thought = [], []
    for item in sequence(content, "content"):
        chunk = mapping(item, "content chunk")
        if chunk.get("type") == "thinking":
            inner = chunk.get("thinking")
            pieces = [{"text": inner}] if isinstance(inner, str) else sequence(inner, "thinking")
            thought += [string(mapping(piece, "thinking chunk").get("text"), "text") for piece in pieces]
        elif chunk.get("type") == "text":
            text.append(string(chunk.get("text"), "text"))
    return "".join(text), "".join(thought)


def _reasoning(message: Mapping[str, Any]) -> str:
    """Return the reasoning in either of its two fields. NVIDIA NIM fills both with the same text: it counts once."""
    first, second = message.get("reasoning_content"), message.get("reasoning")
    if not first and not second:
        return ""
    first, second = string(first, "reasoning_content"), string(second, "reasoning")
    return first if first == second else first + second


def _call(call: Mapping[str, Any]) -> tuple[str, str, str]:
    function = mapping(call.get("function"), "function")
    return (
        string(call.get("id"), "id"),
        string(function.get("name"), "name"),
        _arguments(function.get("arguments")),
    )


def _arguments(value: Any) -> str:
    """Return JSON text. The dialect's arguments are a string; some Cloudflare and Mistral models send the object."""
    if isinstance(value, dict):
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        except RecursionError:
            raise BadReply("a tool call's arguments are nested too deep") from None
    return string(value, "arguments")


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return mapping(usage.get(name) or {}, name)


def _usage(raw: Mapping[str, Any], timings: Any) -> Usage:
    """Return the ledger. Prompt tokens include the cached ones here, completion tokens the reasoning.

    Where the parts exceed the whole (OpenRouter was seen with 11 reasoning of 10 completion tokens) the whole holds.
    """
    prompt, completion = count(raw.get("prompt_tokens")), count(raw.get("completion_tokens"))
    # xAI and Google leave the reasoning out of the completion, but bill it and count it in the total.
    completion = max(completion, count(raw.get("total_tokens")) - prompt)
    details = _details(raw, "prompt_tokens_details")
    local = timings.get("cache_n") if isinstance(timings, dict) else None
    if isinstance(local, int) and local < 0:  # llama.cpp's "not measured"
        local = None
    places = (
        details.get("cached_tokens"),
        raw.get("prompt_cache_hit_tokens"),  # DeepSeek
        raw.get("num_cached_tokens"),  # Mistral
        raw.get("cached_tokens"),  # Together
        local,  # llama.cpp
    )
    read = min(max(map(count, places)), prompt)
    write = min(count(details.get("cache_write_tokens")), prompt - read)
    reasoning = min(count(_details(raw, "completion_tokens_details").get("reasoning_tokens")), completion)
    return Usage(prompt - read - write, read, write, completion - reasoning, reasoning)


def _cost(raw: Mapping[str, Any]) -> int | None:
    """Return micro-USD, rounded up, of the provider's own figure, where it sends one (OpenRouter does).

    With a key of one's own upstream OpenRouter's `cost` is its fee alone; the upstream bill stands beside it.
    """
    usd = _usd(raw.get("cost"))
    if usd is not None and raw.get("is_byok") is True:
        usd += _usd(_details(raw, "cost_details").get("upstream_inference_cost")) or 0
    return None if usd is None else math.ceil(round(usd * 1e6, 6))


def _usd(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
    return float(value) if known else None
