"""Answers without a network: `Stub` for people who try things offline, `Scripted` for tests.

Both are `LocalAdapter`s. A stub's answer always says that it is one; nothing configured ever becomes a stub by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from string import Template
from typing import TypeAlias

from providers.adapters import LocalAdapter
from providers.catalog.model import Candidate
from providers.messages import (
    FinishReason,
    Message,
    OutputSchema,
    Part,
    Request,
    Response,
    ToolCall,
    Usage,
    assistant,
    estimate_tokens,
)
from providers.stub.general_texts import GENERAL_CLOSINGS, GENERAL_DOCUMENTS, GENERAL_WORDS
from providers.stub.steering import HUMAN, Steering, beginnings, best_for, steering_of
from providers.stub.texts import ANSWER_TO_PEER, CLOSING, DOCUMENTS, LABEL, MEETING
from providers.stub.topic import Topic, topic_of

ScriptStep: TypeAlias = "str | ToolCall | Message | Response | Exception | Callable[[Request], ScriptStep]"
"""A text, a call (see `tool_call`), a message (see `say`), a whole response, an error to raise, or what makes one of
these from the request."""


class ScriptUsedUp(AssertionError):
    """A scripted adapter was asked once more than its script has answers.

    An assertion, not a `ProviderError`: no router retries it or walks on, so the test that wrote the script sees it.
    """


class Scripted:
    """Answers from a script, one step a request, in order. `requests` holds what was asked.

    After the last step `then` answers; without one `ScriptUsedUp` is raised. So `Scripted([Overloaded("full")],
    then=Stub())` is a stub that fails once. One script belongs to one event loop.
    """

    def __init__(self, steps: Iterable[ScriptStep] = (), *, then: LocalAdapter | None = None) -> None:
        self._steps: Iterator[ScriptStep] = iter(script := tuple(steps))
        self._length = len(script)
        self._then = then
        self.requests: list[Request] = []

    @property
    def used_up(self) -> bool:
        """Whether every step was asked for."""
        return len(self.requests) >= self._length

    def respond(self, request: Request, candidate: Candidate) -> Response:
        """Return the next step as a response. Raise it where it is an error; `ScriptUsedUp` where none is left."""
        self.requests.append(request)
        step = next(self._steps, None)
        if step is None:
            if self._then is None:
                raise ScriptUsedUp(f"the script has {self._length} answers, this is request {len(self.requests)}")
            return self._then.respond(request, candidate)
        return self._play(step, request, candidate)

    def _play(self, step: ScriptStep, request: Request, candidate: Candidate) -> Response:
        match step:
            case Exception():
                raise step
            case Response():
                return step
            case str():
                return _answer(request, assistant(step), candidate.provider.name, candidate.model.name)
            case ToolCall():
                return self._play(say(step), request, candidate)
            case Message():
                said = _with_ids(step, len(self.requests))
                return _answer(request, said, candidate.provider.name, candidate.model.name)
            case _:
                return self._play(step(request), request, candidate)


def say(*parts: str | Part) -> Message:
    """Return what a scripted model says: texts and tool calls in one message."""
    return assistant(*parts)


def tool_call(name: str, /, **arguments: object) -> ToolCall:
    """Return a call for a script. Its id is filled in when it is played: `call-<request>-<place>`."""
    return ToolCall("", name, json.dumps(arguments, ensure_ascii=False))


def _with_ids(message: Message, number: int) -> Message:
    if all(call.id for call in message.tool_calls):
        return message
    parts = tuple(
        replace(part, id=f"call-{number}-{place}") if isinstance(part, ToolCall) and not part.id else part
        for place, part in enumerate(message.parts, 1)
    )
    return Message(message.role, parts, message.name)


def _answer(request: Request, message: Message, provider: str, model: str) -> Response:
    finish = FinishReason.TOOL_CALLS if message.tool_calls else FinishReason.STOP
    return Response(message, finish, Usage(request.input_tokens, output=message.tokens), provider, model, cost=0)


# ---- the offline stub

_CLOSING_WORDS = re.compile(r"say exactly\s*[\"“‘'`](?P<words>[^\"”’'`\n]{1,200})[\"”’'`]", re.IGNORECASE)
SEEN_MESSAGES = 24
INSTRUCTION_CHARS = 20_000
A_ROUND = 3
_IN_CONVERSATION = re.compile(r"^# The conversation$|, it is your turn\b|, you moderate\b", re.MULTILINE)
"""How a prompt tells a participant that it is in a conversation."""


class Stub:
    """Answers offline from the request's own words, in the form of its persona.

    The same request gets the same answer in any process. Free text starts with `texts.LABEL`; an answer to an output
    schema is JSON that validates, or `Unsupported` is raised. No tool is called. Told `say exactly "X"`, it says X
    once it has heard three messages of named speakers, so that a conversation it moderates ends.
    """

    def respond(self, request: Request, candidate: Candidate) -> Response:  # noqa: ARG002  # the stub is always itself
        """Return the stub's answer, at no cost. Raise `Unsupported` where it finds no instance of the output schema."""
        topic = topic_of(request.messages)
        if request.output_schema is not None:
            return _answer(request, assistant(_instance(request.output_schema, topic)), "stub", "stub")
        text = f"{LABEL}\n\n{_text(request, topic)}"
        return _cut(_answer(request, assistant(text), "stub", "stub"), request.max_output_tokens)


def _instance(wanted: OutputSchema, topic: Topic) -> str:
    from providers.stub.instances import sample  # jsonschema is slow to import, and few requests need it

    return json.dumps(sample(wanted.schema, topic.subject, topic.words), ensure_ascii=False, indent=1)


def _text(request: Request, topic: Topic) -> str:
    persona = (request.needs.persona or "").casefold().replace("_", "-").replace(" ", "-")
    heard = [m for m in request.messages[-SEEN_MESSAGES:] if m.name and m.role == "user"]
    words = _closing_words(request.messages)
    seed = _seed(request)
    steering = steering_of(request.messages)
    if steering is not None and (steered := _steered(steering, request, topic, persona)) is not None:
        return steered
    if words and len(heard) >= A_ROUND:
        return f"{_closing(persona, topic, seed)}\n\n{words}"
    if not (words or heard or _in_conversation(request.messages)):
        return _document(persona, topic, seed)
    said = _words(persona, topic, seed)
    return f"{Template(ANSWER_TO_PEER).substitute(peer=heard[-1].name)}\n\n{said}" if heard else said


def _steered(steering: Steering, request: Request, topic: Topic, persona: str) -> str | None:
    """Return the answer to a prompt that steers a conversation, None where it is what anybody would say."""
    seed = _seed(request)
    if steering.kind != "work":
        topic = topic_of(request.messages[:-1])  # the prompt's words are the conversation's, not the subject's
    said = _words(persona, topic, seed)
    heard = {m.name for m in request.messages if m.role == "user"} - {None}
    is_first = not heard - {HUMAN} if steering.kind == "hand_over" else not heard
    match steering.kind:
        case "pick" if steering.agents:
            return f"NEXT: {steering.agents[seed[0] % len(steering.agents)]}"
        case "hand_over" if is_first and steering.agents:
            return f"{said}\n\nHANDOFF: {best_for(steering, f'{topic.task} {topic.subject}')}"
        case "delegate" if is_first and steering.agents:
            parts = (f"DELEGATE {name}: {topic.task} Do your part of it." for name in steering.agents)
            return "\n".join([said, "", *parts])
        case "delegate" | "conclude":
            return _closing(persona, topic, seed)
        case "summarise":
            return f"No model made this: it is how each paragraph begins.\n\n{beginnings(request.messages)}"
        case "work":
            return _document(persona, topic, seed)
    return None


def _document(persona: str, topic: Topic, seed: bytes) -> str:
    if persona in DOCUMENTS:
        return _fill(DOCUMENTS[persona], topic, seed)
    return _fill(GENERAL_DOCUMENTS.get(persona, GENERAL_DOCUMENTS[""]), topic.of_the_request, seed)


def _words(persona: str, topic: Topic, seed: bytes) -> str:
    if persona in MEETING:
        return _fill(MEETING[persona], topic, seed)
    return _fill(GENERAL_WORDS.get(persona, GENERAL_WORDS[""]), topic.of_the_request, seed)


def _closing(persona: str, topic: Topic, seed: bytes) -> str:
    if persona in MEETING:
        return _fill(CLOSING, topic, seed)
    return _fill(GENERAL_CLOSINGS.get(persona, GENERAL_CLOSINGS[""]), topic.of_the_request, seed)


def _in_conversation(messages: Sequence[Message]) -> bool:
    told = (*messages[:2], *messages[-1:])
    return any(m.name is None and _IN_CONVERSATION.search(m.text[-INSTRUCTION_CHARS:]) for m in told)


def _closing_words(messages: Sequence[Message]) -> str | None:
    """The words that end the conversation, where an instruction (not a peer) names them."""
    told = [m for m in (*messages[:1], *messages[-SEEN_MESSAGES:]) if m.role in ("system", "user") and not m.name]
    for message in reversed(told):
        if found := _CLOSING_WORDS.search(message.text[-INSTRUCTION_CHARS:]):
            return str(found["words"])
    return None


def _seed(request: Request) -> bytes:
    seal = hashlib.sha256(f"{request.needs.persona}\0{len(request.messages)}".encode("utf-8", "surrogatepass"))
    for message in (*request.messages[:1], *request.messages[-SEEN_MESSAGES:]):
        seal.update(message.digest)
    return seal.digest()


_PER_WORD = re.compile(r"\$(each|name)\b")


def _fill(form: str, topic: Topic, seed: bytes) -> str:
    """Return `form` with its placeholders filled in. What is filled in is never read as a form."""
    ranked = sorted(
        ((seed[n] % 5 + 1, seed[n + 8] % 5 + 1, word) for n, word in enumerate(topic.words)),
        key=lambda risk: -risk[0] * risk[1],
    )
    first = re.sub(r"[^a-z0-9]+", "_", topic.words[0].casefold()).strip("_")
    ident = first if first[:1].isalpha() else "feature"
    a, b, c = (f'"{word}"' for word in (topic.words * 3)[:3])
    fixed = {
        "task": topic.task,
        "topic": topic.subject,
        "basis": "; ".join(topic.basis) or "the task alone",
        "ident": ident,
        "class_name": "".join(part.capitalize() for part in ident.split("_")),
        "a": a,
        "b": b,
        "c": c,
    }

    def each(block: str) -> Iterator[str]:
        rows = ranked if "$score" in block else [(0, 0, word) for word in topic.words]
        for n, (p, i, word) in enumerate(rows, 1):
            given = {**fixed, "each": f'"{word}"', "name": word, "n": n, "p": p, "i": i, "score": p * i}
            yield Template(block).substitute(given)

    def paragraph(block: str) -> str:
        if block.startswith("#") and _PER_WORD.search(block.split("\n", 1)[0]):
            return "\n\n".join(each(block))
        lines = (
            each(line) if _PER_WORD.search(line) else [Template(line).substitute(fixed)] for line in block.split("\n")
        )
        return "\n".join(filled for group in lines for filled in group)

    return "\n\n".join(paragraph(block) for block in form.strip().split("\n\n"))


def _cut(answer: Response, cap: int | None) -> Response:
    """Return `answer` with as many whole lines as `cap` tokens allow: a budget holds for the stub too."""
    if cap is None or answer.usage.output <= cap:
        return answer
    lines, room = [], cap - 4
    for line in answer.text.splitlines(keepends=True):
        room -= estimate_tokens(line)
        if room < 0:
            break
        lines.append(line)
    message = assistant("".join(lines).rstrip() or LABEL)
    usage = replace(answer.usage, output=min(message.tokens, cap))
    return replace(answer, message=message, usage=usage, finish=FinishReason.LENGTH)
