"""What a Chat Completions endpoint answers, whole or as a stream, made into one `Response`.

Anything may come back: every level is checked by shape, and what has the wrong one is a `BadReply`, never a KeyError.
Unknown keys are ignored, vendors pad their chunks with them. What only describes the answer (usage, cost) never spoils
it: where it is odd it is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from providers.adapters import HttpReply
from providers.adapters.bodies import LEADING, says_error
from providers.adapters.finish import FAULT, meaning, word_of
from providers.adapters.openai.errors import error_in
from providers.adapters.openai.reasoning import details_in, part_thought, reasoning_in, sealed, text_of
from providers.adapters.openai.usage import read_cost, read_usage, usage_in
from providers.adapters.shapes import (
    credible,
    mapping,
    no_members,
    object_in,
    only_object_in,
    sequence,
    string,
    told_apart,
    tool_call,
)
from providers.catalog.model import Candidate, Price
from providers.catalog.refusals import Refusal
from providers.documents.unicode import clean, cut
from providers.errors import BadReply, Declined, ProviderError, ServerFault
from providers.messages import (
    FinishReason,
    Message,
    Part,
    Reasoning,
    Response,
    Text,
    Usage,
)

NO_ARGUMENTS: tuple[Any, ...] = (None, "", "{}", {}, [])


def read_reply(reply: HttpReply, candidate: Candidate, now: float) -> Response:
    """Return the answer in a 2xx reply, or raise the `ProviderError` that it amounts to."""
    body = body_in(reply.body)
    raise_error_in(body, reply.headers, now, candidate.provider.refusals, certain=speaks_of_error(body))
    choice = first_of(body.get("choices"))
    raise_error_in(choice, reply.headers, now, candidate.provider.refusals)  # OpenRouter: the upstream failed half-way
    message = message_in(choice)
    answer = ChatAnswer()
    text, thought = content_in(message.get("content"))
    leading, answer.text = part_thought(clean(text))
    answer.details = details_in(message)
    answer.reasoning = (reasoning_in(message) or text_of(answer.details)) + thought + leading
    answer.refusal = string(message.get("refusal") or None, "refusal")
    answer.calls = [call for each in calls_in(message) if (call := _call(mapping(each, "a tool call"))) is not None]
    answer.finish = word_of(choice.get("finish_reason")) or word_of(message.get("finish_reason"))
    answer.bill(body, choice)
    return answer.response(candidate)


def body_in(data: bytes) -> dict[str, Any]:
    """Return the reply's object. Gateways put it in an array or under `result`."""
    data = data.lstrip(LEADING)
    return unwrapped(only_object_in(data) if data[:1] == b"[" else object_in(data))


def unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    """Return the reply that a gateway put under `result`, else `body`."""
    inner = body.get("result")
    return inner if isinstance(inner, dict) and "choices" in inner and "choices" not in body else body


def speaks_of_error(body: Mapping[str, Any]) -> bool:
    """Whether a body is no answer, and has the words of an error."""
    return not (body.get("choices") or body.get("usage")) and says_error(body)


class ChatAnswer:
    """What was said so far. One thing both roads lead to: a whole reply fills it at once, a stream bit by bit."""

    __slots__ = ("calls", "cost", "details", "finish", "reasoning", "refusal", "text", "usage")

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.details: list[dict[str, Any]] = []
        self.refusal = ""
        self.calls: list[tuple[str, str, str]] = []  # id, name, arguments
        self.finish = ""
        self.usage: Usage | None = None
        self.cost: int | None = None

    def bill(self, *places: Mapping[str, Any]) -> None:
        """Read the usage in one of the places. The latest counts: figures in a stream are running totals.

        An odd one leaves the usage unknown; one of nothing but zeros says nothing.
        """
        raw = usage_in(*places)
        if raw is None:
            return
        usage = read_usage(raw, places[0].get("timings"))
        if usage is None or usage.total:
            self.usage = usage
        if (cost := read_cost(raw)) is not None:
            self.cost = cost

    def response(self, candidate: Candidate) -> Response:
        """Return the answer, or raise what it amounts to: declined, failed, empty."""
        text, reasoning = clean(self.text), clean(self.reasoning)
        usage = credible(self.usage, said=bool(text or reasoning or self.calls))
        cost = cost_of(candidate.model.price, usage, self.cost)
        fault = self._fault(text, reasoning)
        if fault is not None:
            raise fault.billed(usage or Usage(), cost)
        opaque = sealed(self.details)
        parts: list[Part] = [Reasoning(reasoning, opaque, candidate.maker)] if reasoning or opaque else []
        if text:
            parts.append(Text(text))
        if self.calls:
            parts += told_apart([tool_call(i, *call) for i, call in enumerate(self.calls)])
        return Response(
            message=Message("assistant", tuple(parts)),
            finish=self._finish(),
            usage=usage or Usage(),
            provider=candidate.provider.name,
            model=candidate.model.name,
            cost=cost,
        )

    def _fault(self, text: str, reasoning: str) -> ProviderError | None:
        if self.refusal:
            return Declined(f"the model refuses: {cut(clean(self.refusal), 200)}", category="refusal")
        finish = meaning(self.finish)
        if finish == FAULT:
            return ServerFault(f"the answer ended with finish_reason {cut(clean(self.finish), 40)}")
        if self.calls or text.strip():
            return None
        if finish is FinishReason.CONTENT_FILTER:
            return Declined("a content filter withheld the answer", category="content_filter")
        only = ", only reasoning" if reasoning else ""
        return BadReply(f"the answer is empty (finish_reason {cut(clean(self.finish), 40) or 'missing'}{only})")

    def _finish(self) -> FinishReason:
        """Calls decide where the vendor's word is missing or `stop`, which some send with calls too."""
        found = meaning(self.finish) if self.finish else FinishReason.STOP
        if found in (FinishReason.STOP, FinishReason.TOOL_CALLS):
            return FinishReason.TOOL_CALLS if self.calls else FinishReason.STOP
        return FinishReason(found)


def cost_of(price: Price | None, usage: Usage | None, told: int | None) -> int | None:
    """Return the provider's own figure, else the catalog's price. Without usage only a free model's cost is known.

    A provider's 0 is believed of a model that has no known price, of no other: it may only be missing.
    """
    if told or (told == 0 and price is None):
        return told
    if price is None or usage is None:
        return 0 if price is not None and price.input == price.output == 0 else None
    return price.cost(usage)


def calls_in(message: Mapping[str, Any]) -> Sequence[Any]:
    """Return the tool calls, or the one `function_call` of the dialect's first form. Empty entries are padding."""
    calls = message.get("tool_calls")
    found = [call for call in sequence([calls] if isinstance(calls, dict) else calls or None, "tool_calls") if call]
    legacy = message.get("function_call")
    return [{"function": legacy}] if legacy and not found else found


def raise_error_in(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    now: float,
    refusals: Sequence[Refusal],
    *,
    certain: bool = False,
) -> None:
    found = error_in(body, headers, now, refusals, certain=certain)
    if found is not None:
        raise found


def first_of(choices: Any) -> Mapping[str, Any]:
    """Return the first of a reply's choices: only one is asked for, whatever a proxy makes of that."""
    found = [mapping(choice, "choice") for choice in sequence(choices, "choices") if choice is not None]
    if not found:
        raise BadReply("the reply has no choices")
    return next((choice for choice in found if choice.get("index") == 0), found[0])


def message_in(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a whole choice says. Azure leaves the message out where its filter withheld it."""
    for key in ("message", "delta"):
        if (message := choice.get(key)) is not None:
            return {"content": message} if isinstance(message, str) else mapping(message, key)
    return {"content": choice["text"]} if isinstance(choice.get("text"), str) else {}


def content_in(content: Any) -> tuple[str, str]:
    """Return text and reasoning. Mistral's magistral models send a list of chunks, thinking among them.

    Cloudflare's models send the object that a schema asked for as it is, and a token of digits as a number: the text of
    these is their JSON.
    """
    if content is None or isinstance(content, str):
        return content or "", ""
    if isinstance(content, int | float):
        return _json_text(content, "content"), ""
    if isinstance(content, dict):
        if content.get("type") != "text" or not isinstance(content.get("text"), str):
            return _json_text(content, "content"), ""
        content = [content]
    chunks = sequence(content, "content")
    if chunks and all(isinstance(chunk, dict) and "type" not in chunk for chunk in chunks):
        return _json_text(chunks, "content"), ""
    text, thought = [], []
    for chunk in chunks:
        said, thinks = _chunk(chunk)
        text.append(said)
        thought.append(thinks)
    return "".join(text), "".join(thought)


def _chunk(chunk: Any) -> tuple[str, str]:
    """Return the text and the reasoning of one part of a content. Kinds that are not known here say nothing."""
    if chunk is None or isinstance(chunk, str):
        return chunk or "", ""
    chunk = mapping(chunk, "content chunk")
    if chunk.get("type") in ("text", "output_text"):
        return string(chunk.get("text"), "text"), ""
    if chunk.get("type") != "thinking":
        return "", ""
    inner = chunk.get("thinking")
    pieces = [{"text": inner}] if isinstance(inner, str) else sequence(inner, "thinking")
    return "", "".join([string(mapping(piece, "thinking chunk").get("text"), "text") for piece in pieces])


def function_in(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a call's function. Some proxies leave that level out."""
    found = call.get("function")
    return mapping(found, "function") if found else call if "name" in call or "arguments" in call else {}


def _call(call: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return id, name and arguments; None for an entry that names nothing and gives nothing."""
    function = function_in(call)
    name, arguments = string(function.get("name"), "name"), function.get("arguments")
    if not name and arguments in NO_ARGUMENTS:
        return None
    return id_in(call), name, arguments_in(arguments)


def id_in(call: Mapping[str, Any]) -> str:
    value = call.get("id")
    return str(value) if value.__class__ is int else string(value, "id")


def arguments_in(value: Any) -> str:
    """Return JSON text. The dialect's arguments are a string; some Cloudflare and Mistral models send what it says."""
    if value is None or isinstance(value, str):
        return value or ""
    return "{}" if no_members(value) else _json_text(value, "a tool call's arguments")


def _json_text(value: Any, what: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise BadReply(f"{what} nests too deep, or holds no JSON number") from None
