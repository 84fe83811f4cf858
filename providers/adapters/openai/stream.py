"""A Chat Completions stream, bytes in any pieces to deltas and one `Response`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters.bodies import Body, BodyReader
from providers.adapters.error_report import excerpt
from providers.adapters.finish import word_of
from providers.adapters.openai.calls import StreamedCalls
from providers.adapters.openai.choices import OneChoice
from providers.adapters.openai.decode import (
    ChatAnswer,
    calls_in,
    content_in,
    message_in,
    raise_error_in,
    speaks_of_error,
    unwrapped,
)
from providers.adapters.openai.errors import error_in
from providers.adapters.openai.reasoning import LeadingThought, details_in, joined, reasoning_in, text_of
from providers.adapters.shapes import mapping, object_in, string
from providers.catalog.model import Candidate
from providers.documents.unicode import CleanStream
from providers.errors import BadReply, ProviderError, StreamBroken
from providers.messages import Delta, ReasoningDelta, Response, TextDelta


class ChatStream:
    """A `StreamDecoder`. An error behind deltas of the same bytes is raised by the next call, so none is lost.

    An answer is whole where the terminator `[DONE]` came, or a finish reason that nothing was said behind. Behind some
    aggregators every chunk that speaks has one: then, and where a call shares its chunk and no usage tells of the end,
    only the terminator will do, or a reason in a chunk of its own. Without any reason half a call is no answer.
    """

    def __init__(self, candidate: Candidate, now: float) -> None:
        self._candidate = candidate
        self._now = now
        self._refusals = candidate.provider.refusals
        self._bodies = BodyReader()
        self._choices = OneChoice()
        self._answer = ChatAnswer()
        self._seen = self._done = False
        self._heard = 0
        """How many pieces said something."""
        self._unsure = self._with_call = self._spoke_last = False
        self._error: ProviderError | None = None
        self._text = CleanStream()
        self._leading = LeadingThought()
        self._thought = CleanStream()
        self._said: list[str] = []
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._refusal: list[str] = []
        self._calls = StreamedCalls()

    @property
    def ended(self) -> bool:
        return self._done or self._error is not None

    @property
    def whole(self) -> bool:
        """Some gateways say `stop` with the empty chunks before the first word."""
        empty = self._answer.finish == "stop" and not self._heard
        return not empty and not self._unfinished()

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        self._raise_pending()
        if self._done:
            return deltas
        try:
            for body in self._bodies.feed(data):
                if self._take(body, deltas):  # what comes behind the end is nobody's
                    break
        except ProviderError as error:
            self._error = error
            if not deltas:
                raise
        return deltas

    def finish(self) -> Response:
        self._raise_pending()
        late: list[Delta] = []
        if not self._done:
            for body in self._bodies.finish():
                self._take(body, late)
        if not self._seen:
            raise self._not_a_stream()
        answer = self._answer
        if not self._done and (broken := self._unfinished()):
            raise self._stray_error() or StreamBroken(f"the stream ended {broken}")
        self._flush(late)
        answer.text, answer.reasoning = "".join(self._said), "".join(self._thoughts)
        answer.details = joined(self._details)
        answer.refusal = "".join(self._refusal)
        answer.calls = self._calls.whole()
        if not answer.finish and self._calls.half:
            raise StreamBroken("the stream ended in the middle of a tool call, without a finish reason")
        return answer.response(self._candidate)

    def _unfinished(self) -> str:
        """Return how a stream without its terminator is not whole, "" where it is."""
        if not self._answer.finish:
            return "without a finish reason and without its terminator"
        if self._unsure or (self._with_call and self._answer.usage is None):
            return "without its terminator, and its finish reasons end nothing"
        return "in the middle of an event" if self._bodies.torn and self._spoke_last else ""

    def _raise_pending(self) -> None:
        if self._error is not None:
            raise self._error

    def _stray_error(self) -> ProviderError | None:
        """Return the error that stands outside of all events: a plain JSON error under status 200."""
        try:
            return error_in(object_in(self._bodies.stray), {}, self._now, self._refusals)
        except BadReply:
            return None

    def _not_a_stream(self) -> ProviderError:
        """Return what a reply amounts to that was no event stream."""
        stray = self._bodies.stray
        if not stray and self._bodies.bare and not self._bodies.torn:
            return BadReply("the reply is JSON, but no answer")
        if not stray or self._done:
            return self._stray_error() or StreamBroken("the stream ended before its first chunk")
        return self._stray_error() or BadReply(f"the reply is not an event stream: {excerpt(stray)}")

    def _take(self, body: Body, deltas: list[Delta]) -> bool:
        """Take the next chunk; return whether it was the last."""
        name, chunk = body
        if chunk is None:
            self._flush(deltas)
            self._done = True
            return True
        if name == b"error" or "error" in chunk or "choices" not in chunk:
            chunk = unwrapped(chunk)
            raise_error_in(chunk, {}, self._now, self._refusals, certain=name == b"error" or speaks_of_error(chunk))
        choice = self._choices.ours(chunk.get("choices"))
        if choice is None:
            self._seen = self._seen or "choices" in chunk or not self._bodies.bare
        else:
            self._seen = True
            self._choice(choice, deltas)
        if chunk.get("usage") is not None or "x_groq" in chunk:
            self._answer.bill(chunk)
        elif choice is not None and "usage" in choice:  # Moonshot
            self._answer.bill(choice)
        return self._done

    def _choice(self, choice: Mapping[str, Any], deltas: list[Delta]) -> None:
        if "error" in choice:
            raise_error_in(choice, {}, self._now, self._refusals)
        before, calls = self._heard, self._calls.heard  # how much was said before this chunk
        delta = choice.get("delta")
        if delta:
            delta = {"content": delta} if delta.__class__ is str else mapping(delta, "delta")
            self._delta(delta, deltas)
        elif "message" in choice or "text" in choice:
            self._whole(choice, deltas)
        finish = choice.get("finish_reason") or (delta and delta.get("finish_reason"))
        spoke = self._heard > before
        if spoke and self._answer.finish:
            self._unsure = True
        if finish and (word := word_of(finish)):
            self._answer.finish, self._spoke_last = word, spoke
            self._with_call = self._calls.heard > calls
            self._unsure = self._unsure and spoke  # one that comes alone is the last
            self._flush(deltas)

    def _whole(self, choice: Mapping[str, Any], deltas: list[Delta]) -> None:
        """Take the message of a whole answer: the only thing that comes, or at the end once more what was said."""
        if "text" in choice and "message" not in choice:
            self._delta(message_in(choice), deltas)
        elif not self._heard and (message := message_in(choice)):
            self._delta(message, deltas)
            word = word_of(choice.get("finish_reason")) or word_of(message.get("finish_reason"))
            self._answer.finish = word or self._answer.finish or "stop"
            self._flush(deltas)
            self._done = True

    def _delta(self, delta: Mapping[str, Any], deltas: list[Delta]) -> None:
        content, thought = delta.get("content"), ""
        if content.__class__ is not str:
            content, thought = content_in(content)
        self._think(delta, thought, deltas)
        if content:
            self._heard += 1
            self._say(self._text.feed(content), deltas)
        if delta.get("refusal"):
            self._heard += 1
            self._refusal.append(string(delta["refusal"], "refusal"))
        if delta.get("tool_calls") or delta.get("function_call"):
            for piece in calls_in(delta):
                self._heard += self._calls.take(mapping(piece, "a tool call"), deltas)

    def _think(self, delta: Mapping[str, Any], thought: str, deltas: list[Delta]) -> None:
        told = reasoning_in(delta)
        if "reasoning_details" in delta:
            details = details_in(delta)
            self._details += details
            told = told or text_of(details)
        if thought := told + thought:
            self._heard += 1
            thought = self._thought.feed(thought)
        if thought:
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
        self._calls.finish(deltas)
