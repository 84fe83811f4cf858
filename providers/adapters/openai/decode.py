"""What a Chat Completions endpoint answers, whole or as a stream, made into one `Response`.

Anything may come back: every level is checked by shape, and what has the wrong one is a `BadReply`, never a KeyError.
Unknown keys are ignored, vendors pad their chunks with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from providers.adapters import HttpReply
from providers.adapters.openai.errors import error_in
from providers.adapters.openai.reasoning import details_in, part_thought, reasoning_in, sealed, text_of
from providers.adapters.shapes import count, mapping, object_in, sequence, string, told_apart, tool_call
from providers.catalog.model import Candidate
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
    raise_error_in(body, reply.headers, now, candidate.provider.refusals)
    choice = first_of(body.get("choices"))
    raise_error_in(choice, reply.headers, now, candidate.provider.refusals)  # OpenRouter: the upstream failed half-way
    message = mapping(choice.get("message"), "message")
    answer = ChatAnswer()
    text, thought = content_in(message.get("content"))
    leading, answer.text = part_thought(clean(text))
    answer.details = details_in(message)
    answer.reasoning = (reasoning_in(message) or text_of(answer.details)) + thought + leading
    answer.refusal = string(message.get("refusal"), "refusal")
    if calls := calls_in(message):
        answer.calls = [_call(mapping(call, "a tool call")) for call in calls]
    answer.finish = string(choice.get("finish_reason"), "finish_reason")
    answer.bill(body)
    return answer.response(candidate)


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
        fault = self._fault(text, reasoning)
        if fault is not None:
            raise fault.billed(self.usage, self._cost(candidate))
        opaque = sealed(self.details)
        parts: list[Part] = [Reasoning(reasoning, opaque, candidate.maker)] if reasoning or opaque else []
        if text:
            parts.append(Text(text))
        if self.calls:
            parts += told_apart([tool_call(i, *call) for i, call in enumerate(self.calls)])
        return Response(
            message=Message("assistant", tuple(parts)),
            finish=self._finish(),
            usage=self.usage or Usage(),
            provider=candidate.provider.name,
            model=candidate.model.name,
            cost=self._cost(candidate),
        )

    def _fault(self, text: str, reasoning: str) -> ProviderError | None:
        if self.refusal:
            return Declined(f"the model refuses: {cut(clean(self.refusal), 200)}", category="refusal")
        if self.finish == "error":
            return ServerFault("the answer ended with finish_reason error")
        if self.calls or text.strip():
            return None
        if self.finish == "content_filter":
            return Declined("a content filter withheld the answer", category="content_filter")
        only = ", only reasoning" if reasoning else ""
        return BadReply(f"the answer is empty (finish_reason {cut(clean(self.finish), 40) or 'missing'}{only})")

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


def calls_in(message: Mapping[str, Any]) -> Sequence[Any]:
    """Return the tool calls, or the one `function_call` of the dialect's first form."""
    calls = sequence(message.get("tool_calls"), "tool_calls")
    legacy = message.get("function_call")
    return [{"function": legacy}] if legacy and not calls else calls


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
    if not sequence(choices, "choices"):
        raise BadReply("the reply has no choices")
    return mapping(choices[0], "first choice")


def content_in(content: Any) -> tuple[str, str]:
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


def _call(call: Mapping[str, Any]) -> tuple[str, str, str]:
    function = mapping(call.get("function"), "function")
    return (
        string(call.get("id"), "id"),
        string(function.get("name"), "name"),
        arguments_in(function.get("arguments")),
    )


def arguments_in(value: Any) -> str:
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
    read = min(max([count(told) for told in places if told is not None], default=0), prompt)
    write = min(count(details.get("cache_write_tokens")), prompt - read) if details else 0
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
    if value is None:
        return None
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
    return float(value) if known else None
