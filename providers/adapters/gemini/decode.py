"""What generateContent answers, whole or as a stream, made into one `Response`.

A stream's events are whole replies, each with the next parts: so one `GeminiAnswer` takes the only reply of a call, or
all of a stream's, one after the other. Sources: recorded traffic and google-genai 3.4.0 (SDK), 2026-11.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from providers.adapters import HttpReply
from providers.adapters.bodies import LEADING, BodyReader, says_error
from providers.adapters.error_report import excerpt
from providers.adapters.finish import FAULT, meaning, word_of
from providers.adapters.gemini.errors import error_in
from providers.adapters.json_objects import ObjectParser
from providers.adapters.shapes import (
    NoCount,
    count,
    credible,
    decode_json,
    figures,
    mapping,
    no_members,
    object_in,
    part_of,
    sequence,
    string,
)
from providers.catalog.model import Candidate
from providers.documents.unicode import CleanStream, clean, clean_json, cut
from providers.errors import BadReply, Declined, ProviderError, StreamBroken, Unsupported
from providers.messages import (
    Delta,
    FinishReason,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

MADE_UP = "local_"
"""How the ids begin that we give to calls which came without: they say nothing to the endpoint."""

FILTERED = {
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
}
# The model's draft was no answer. Words that are not known here are read as in every dialect.
BROKE_OFF = {
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "NO_IMAGE",
    "IMAGE_OTHER",
    "OTHER",
}


def read_reply(reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:
    """Return the answer in a 2xx reply, or raise the `ProviderError` that it amounts to."""
    answer = GeminiAnswer(request, candidate, now)
    for chunk in _chunks(reply.body):
        answer.take(chunk, [])
    return answer.response()


def _chunks(body: bytes) -> list[dict[str, Any]]:
    """Return the replies in a body: one, or an array of them as a stream has it without `alt=sse`."""
    if body.lstrip(LEADING)[:1] != b"[":
        return [object_in(body.lstrip(LEADING))]
    parser = ObjectParser()
    chunks = [object_in(each) for each in parser.feed(body)]
    if parser.inside or not chunks:
        raise BadReply(f"the reply is not an array of objects: {excerpt(body)}")
    return chunks


class GeminiAnswer:
    """What was said so far."""

    def __init__(self, request: Request, candidate: Candidate, now: float) -> None:
        self._candidate = candidate
        self._now = now
        self._turn = len(request.messages)
        self._finish = self._why = self._blocked = self._reply_id = ""
        self._said = self._spoke_on = False
        self._usage: Any = None
        self._parts: list[Part] = []
        self._ids: set[str] = set()
        self._kind: type[Text | Reasoning] | None = None  # of the text that may go on
        self._pieces: list[str] = []
        self._clean = CleanStream()

    @property
    def ended(self) -> bool:
        return bool(self._finish or self._blocked)

    @property
    def whole(self) -> bool:
        """Old models and some gateways say STOP with every chunk, or with the empty ones before the first word."""
        return self.ended and not self._spoke_on and (self._finish != "STOP" or self._said)

    def take(self, chunk: Mapping[str, Any], deltas: list[Delta]) -> None:
        """Add what `chunk` says, and what is new in it to `deltas`. Raise an error that it holds."""
        if not chunk.get("candidates") and "error" not in chunk and says_error(chunk):
            chunk = {"error": chunk}
        found = error_in(chunk, self._now, self._candidate.provider.refusals)
        if found is not None:
            raise found
        if "responseId" in chunk:
            self._reply_id = string(chunk["responseId"], "responseId")
        if usage := chunk.get("usageMetadata"):  # running totals: the last one counts
            self._usage = usage
        if feedback := chunk.get("promptFeedback"):
            reason = string(mapping(feedback, "promptFeedback").get("blockReason"), "blockReason")
            self._blocked = reason or self._blocked
        for each in sequence(chunk.get("candidates"), "candidates"):
            candidate = mapping(each or {}, "candidate")
            if candidate and not candidate.get("index"):  # more than one come only where more are asked for
                finished, told = bool(self._finish), len(deltas)
                self._take(candidate, deltas)
                self._said = self._said or any(not isinstance(delta, ReasoningDelta) for delta in deltas[told:])
                self._spoke_on |= finished and len(deltas) > told
                break

    def _take(self, candidate: Mapping[str, Any], deltas: list[Delta]) -> None:
        content = mapping(candidate.get("content") or {}, "content")
        parts = [mapping(part, "part") for part in sequence(content.get("parts"), "parts") if part is not None]
        for part in parts:
            self._part(part, deltas)
        if reason := candidate.get("finishReason"):
            self._finish = word_of(reason)
            self._why = string(candidate.get("finishMessage"), "finishMessage")
        elif any("functionCall" in part or part.get("text") for part in parts):
            self._finish = ""  # the answer goes on: what came before ended nothing

    def _part(self, part: Mapping[str, Any], deltas: list[Delta]) -> None:
        """Take a text, a thought or a call. What the vendor's own tools did (code, its output) is not the answer."""
        signature = None
        if "thoughtSignature" in part:
            signature = clean(string(part["thoughtSignature"], "thoughtSignature")) or None
        call = part.get("functionCall")
        if call:
            self._call(mapping(call, "functionCall"), signature, deltas)
        elif "text" in part:
            self._say(Reasoning if part.get("thought") is True else Text, string(part["text"], "text"), deltas)
            if signature is not None:
                self._close(deltas, signature)

    def _say(self, kind: type[Text | Reasoning], text: str, deltas: list[Delta]) -> None:
        if kind is not self._kind:
            self._close(deltas)
            self._kind = kind
        if text:
            self._add(self._clean.feed(text), deltas)

    def _add(self, text: str, deltas: list[Delta]) -> None:
        if text:
            self._pieces.append(text)
            deltas.append(TextDelta(text) if self._kind is Text else ReasoningDelta(text))

    def _close(self, deltas: list[Delta], signature: str | None = None) -> None:
        """End the text that was going on. A text's signature stands behind it as reasoning without words."""
        self._add(self._clean.finish(), deltas)
        kind, self._kind = self._kind, None
        text, self._pieces = "".join(self._pieces), []
        maker = self._candidate.maker
        if kind is Text:
            self._parts += [Text(text)] if text else []
            self._parts += [Reasoning("", signature, maker)] if signature else []
        elif text or signature:
            self._parts.append(Reasoning(text, signature, maker))

    def _call(self, call: Mapping[str, Any], signature: str | None, deltas: list[Delta]) -> None:
        self._close(deltas)
        name, given = clean(string(call.get("name"), "name")), call.get("args")
        if not name and not given:
            return
        arguments = _arguments(given)
        if not name:
            raise BadReply("a function call has no name")
        index = len(self._ids)
        own = clean(string(call.get("id"), "id"))
        call_id = own if own and own not in self._ids else self._made_up(index, name, arguments)
        self._ids.add(call_id)
        made_by = self._candidate.maker if own or signature else None
        self._parts.append(ToolCall(call_id, name, arguments, signature, made_by))
        deltas.append(ToolCallDelta(index, call_id, name, arguments))

    def _made_up(self, index: int, name: str, arguments: str) -> str:
        """Return an id: the same for the same reply, another for another turn, since other dialects need it unique."""
        seed = json.dumps([self._reply_id, self._turn, index, name, arguments])
        return MADE_UP + hashlib.sha256(seed.encode()).hexdigest()[:24]

    def response(self) -> Response:
        """Return the answer, or raise what it amounts to: declined, failed, empty."""
        self._close([])
        message = Message("assistant", tuple(self._parts))
        usage = credible(_usage(self._usage), said=bool(self._parts))
        try:
            finish = self._sound_finish(empty=not message.tool_calls and not message.text.strip())
        except ProviderError as error:
            error.billed(usage or Usage(), self._cost(usage))
            raise
        if finish is FinishReason.STOP and message.tool_calls:  # the dialect's word for both
            finish = FinishReason.TOOL_CALLS
        return Response(
            message=message,
            finish=finish,
            usage=usage or Usage(),
            provider=self._candidate.provider.name,
            model=self._candidate.model.name,
            cost=self._cost(usage),
        )

    def _sound_finish(self, *, empty: bool) -> FinishReason:
        reason = self._blocked or self._finish
        words = cut(clean(f"{reason}: {self._why}" if self._why else reason), 200)
        if self._blocked or reason in FILTERED or meaning(reason) is FinishReason.CONTENT_FILTER:
            if not empty:
                return FinishReason.CONTENT_FILTER
            if reason == "LANGUAGE":
                raise Unsupported("the model does not speak the language that this asks for")
            what = "prompt was refused" if self._blocked else "answer was withheld"
            raise Declined(f"the {what} ({words})", category=clean(reason)[:40].lower())
        if reason == "MISSING_THOUGHT_SIGNATURE":
            raise Unsupported(f"a tool call went back without its signature ({words})")
        found = meaning(reason)
        if reason in BROKE_OFF or found == FAULT:
            raise BadReply(f"the model broke off ({words})")
        if empty:
            raise BadReply(f"the answer is empty (finishReason {words or 'missing'})")
        if not reason:
            raise BadReply("the answer has no finishReason")
        return FinishReason(found)

    def _cost(self, usage: Usage | None) -> int | None:
        """Return the catalog's price. Without usage only a free model's is known."""
        price = self._candidate.model.price
        if price is None or usage is None:
            return 0 if price is not None and price.input == price.output == 0 else None
        return price.cost(usage)


class ContentStream:
    """A `StreamDecoder`. An error behind deltas of the same bytes is raised by the next call, so none is lost."""

    def __init__(self, request: Request, candidate: Candidate, now: float) -> None:
        self._answer = GeminiAnswer(request, candidate, now)
        self._bodies = BodyReader()
        self._seen = self._done = False
        self._error: ProviderError | None = None

    @property
    def ended(self) -> bool:
        return self._done or self._error is not None

    @property
    def whole(self) -> bool:
        return self._answer.whole

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        self._raise_pending()
        try:
            for _, body in self._bodies.feed(data):
                self._take(body, deltas)
        except ProviderError as error:
            self._error = error
            if not deltas:
                raise
        return deltas

    def finish(self) -> Response:
        self._raise_pending()
        for _, body in self._bodies.finish():
            self._take(body, [])
        if not self._seen:
            if stray := self._bodies.stray:
                raise BadReply(f"the reply is not an event stream: {excerpt(stray)}")
            raise StreamBroken("the stream ended before its first event")
        if not self._answer.ended:
            raise StreamBroken("the stream ended without a finishReason")
        if self._bodies.torn:  # where every chunk has a finishReason, it may have held more of the answer
            raise StreamBroken("the stream ended in the middle of an event")
        return self._answer.response()

    def _raise_pending(self) -> None:
        if self._error is not None:
            raise self._error

    def _take(self, body: dict[str, Any] | None, deltas: list[Delta]) -> None:
        if body is None:  # `[DONE]` is not Google's, but gateways add it
            self._done = True
            return
        self._answer.take(body, deltas)
        self._seen = True


def _arguments(value: Any) -> str:
    """Return the arguments as JSON text: the dialect's are an object, absent where a function takes none.

    Proxies of other dialects send the text of one.
    """
    try:
        value = decode_json(value or "{}") if isinstance(value, str) else value
        arguments = clean_json(mapping({} if value is None or no_members(value) else value, "args"))
        return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"a function call's args are not JSON ({type(error).__name__})") from None


def _usage(raw: Any) -> Usage | None:
    """Return the ledger, None where what stands there cannot be one."""
    try:
        return _ledger(figures(raw))
    except NoCount:
        return None


def _ledger(raw: Mapping[str, Any]) -> Usage:
    """Return the ledger. The prompt's tokens include the cached ones here; the candidates' exclude the thoughts."""
    prompt, thoughts = count(raw.get("promptTokenCount")), count(raw.get("thoughtsTokenCount"))
    read = part_of(count(raw.get("cachedContentTokenCount")), prompt)
    tools, said = count(raw.get("toolUsePromptTokenCount")), raw.get("candidatesTokenCount")
    total = count(raw.get("totalTokenCount"))
    if said is None:  # left out where it is 0, and sometimes where it isn't
        said = max(0, total - prompt - tools - thoughts)
    if total:
        part_of(prompt + count(said), total)
    return Usage(prompt - read + tools, read, 0, count(said), thoughts)
