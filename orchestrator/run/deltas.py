"""What a run's agents say as they say it: observed, numbered, kept for a while, and never recorded.

The journal has each answer once it is whole. What is told here of an answer at work is gone with its process.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from agents.events import TurnEnded
from agents.run_context import ListenTo
from orchestrator.events import Event
from orchestrator.units import StepPath, Unit, path_of
from providers.messages import (
    Delta,
    FinishReason,
    Reasoning,
    ReasoningDelta,
    Response,
    Restarted,
    Resumed,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)

KEPT = 2_000_000
"""About so many characters of deltas are kept for who reads slowly or comes back."""
OF_EACH = 200
"""Characters that a delta counts for beside its text."""


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    """The answer is over. `ok`: it is whole and stands; else there is none, and what was told of it is void."""

    ok: bool
    """The answer is whole and stands; else there is none, and what was told of it is void."""
    finish: FinishReason | None = None
    """Why the model stopped; None where there is no answer."""
    provider: str = ""
    """The provider that answered; empty where none did."""
    model: str = ""
    """The model that answered."""


@dataclass(frozen=True, slots=True)
class RunDelta:
    """The next piece of one agent's answer in a run.

    `unit`, `step` and `turn` are its place; several answers at once are told in turns. `attempt` counts the answers
    that were begun there, from 1: a `Restarted` voids the one before. `anew`: the answer is told from its beginning
    here, so forget what you have of it. `recorded`: it comes from the journal. `position` is for who comes back:
    `run.stream(after=position)`.
    """

    run_id: str
    """The run."""
    position: str
    """Give it to `run.stream(after=position)` to go on behind this delta."""
    unit: Unit
    """The task, or its element, whose agent speaks."""
    step: StepPath
    """The place in the unit's work."""
    turn: int
    """The model call, from 1."""
    agent: str
    """Who speaks."""
    delta: Delta | AnswerEnded
    """A piece of the answer, or that it is over."""
    attempt: int = 1
    """The answers that were begun at this place, from 1: a `Restarted` voids the one before."""
    anew: bool = False
    """The answer is told from its beginning here: forget what you have of it."""
    recorded: bool = False
    """It comes from the journal."""

    @property
    def answer(self) -> tuple[Unit, StepPath, int]:
        """Which answer it belongs to."""
        return self.unit, self.step, self.turn


class Position(NamedTuple):
    """How much of a stream was seen: the answers that had ended on record, and the deltas of one process."""

    ended: int
    number: int = 0
    process: str = ""

    def __str__(self) -> str:
        return f"{self.ended}.{self.number}.{self.process}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the position that a text says. Raise `ValueError`."""
        match text.split("."):
            case [ended, number, process] if ended.isdecimal() and number.isdecimal():
                return cls(int(ended), int(number), process)
            case ["0"]:
                return cls(0)
        raise ValueError(
            f"{text!r} is not a position in a stream: give the `position` of a delta, or '0' for all of it"
        )


class DeltaLog:
    """The deltas of one run in this process, newest last, as far as they are kept.

    `ended` is the number of answers that ended before, in the order of the run's record.
    """

    def __init__(self, run_id: str, ended: int = 0) -> None:
        self.run_id = run_id
        self.ended = self.began = ended
        self.mark = secrets.token_hex(4)
        self.last = 0
        """The number of the newest delta."""
        self.is_over = False
        self._kept: deque[tuple[int, int, RunDelta]] = deque()
        self._size = 0
        self._open: dict[_Heard, None] = {}
        self._waiting: list[Any] = []

    def listen_to(self, unit: Unit) -> ListenTo:
        """Return what hears the turns of a unit."""
        return lambda step, turn, agent: _Heard(self, unit, step, turn, agent)

    def saw(self, event: Event) -> None:
        """Count the answers in the order in which they are recorded."""
        if isinstance(event.data, TurnEnded):
            self.ended += 1

    def close(self) -> None:
        """Take note that nothing more will come."""
        self.is_over = True
        self._wake()

    def add(self, heard: _Heard, delta: Delta | AnswerEnded, *, anew: bool = False, is_counted: bool = False) -> None:
        """Keep the next delta. `is_counted`: its answer is counted among those that have ended, and is not told yet."""
        self.last += 1
        ended = max(self.ended - 1, self.began) if is_counted else self.ended
        told = heard.told(delta, f"{ended}.{self.last}.{self.mark}", anew=anew)
        size = OF_EACH + _size_of(delta)
        self._kept.append((self.last, size, told))
        self._size += size
        while self._size > KEPT and len(self._kept) > 1:
            self._size -= self._kept.popleft()[1]
        if self._waiting:
            self._wake()

    def keeps(self, number: int) -> bool:
        """Return whether all after a number is kept."""
        return number == self.last or (bool(self._kept) and self._kept[0][0] <= number + 1)

    def after(self, number: int) -> list[RunDelta]:
        """Return the deltas after a number; pieces of one text that follow each other as one."""
        new = []
        for each, _, delta in reversed(self._kept):
            if each <= number:
                break
            new.append(delta)
        return joined(reversed(new))

    def so_far(self) -> list[RunDelta]:
        """Return what has come of the answers that are at work, each from its beginning."""
        position = str(Position(self.ended, self.last, self.mark))
        return [delta for heard in self._open for delta in heard.so_far(position)]

    def wake(self, event: Any) -> None:
        """Set `event` when something new comes."""
        self._waiting.append(event)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()

    def begins(self, heard: _Heard) -> None:
        self._open[heard] = None

    def ends(self, heard: _Heard) -> None:
        self._open.pop(heard, None)


class _Heard:
    """One turn that is heard."""

    def __init__(self, log: DeltaLog, unit: Unit, step: StepPath, turn: int, agent: str) -> None:
        self._log, self._attempt = log, 1
        self._place = (unit, step, turn, agent)
        self._deltas: list[Delta] = []
        """Of the answer as it stands, without what is void."""
        self._has_begun = False
        log.begins(self)

    def take(self, delta: Delta) -> None:
        self._take(delta)

    def end(self, response: Response | None) -> None:
        ended = AnswerEnded(ok=False)
        if response is not None:
            self._complete(response)
            ended = AnswerEnded(True, response.finish, response.provider, response.model)
        self._log.ends(self)
        self._log.add(self, ended)

    def so_far(self, position: str) -> list[RunDelta]:
        """Return what stands, from the answer's beginning."""
        return from_the_beginning(joined(self.told(delta, position) for delta in self._deltas))

    def told(self, delta: Delta | AnswerEnded, position: str, *, anew: bool = False) -> RunDelta:
        return RunDelta(self._log.run_id, position, *self._place, delta, self._attempt, anew)

    def _take(self, delta: Delta, *, is_counted: bool = False) -> None:
        if isinstance(delta, Restarted):
            self._attempt += 1
            self._deltas.clear()
        else:
            self._deltas.append(delta)
        self._log.add(self, delta, anew=not self._has_begun, is_counted=is_counted)
        self._has_begun = True

    def _complete(self, response: Response) -> None:
        """Tell all of the answer where something else was told, or nothing."""
        text = "".join(delta.text for delta in self._deltas if isinstance(delta, TextDelta))
        calls = {delta.index for delta in self._deltas if isinstance(delta, ToolCallDelta)}
        if text == response.text and len(calls) == len(response.tool_calls):
            return
        if self._deltas:
            self._take(Restarted("the answer came to something else"), is_counted=True)
        for delta in deltas_of(response):
            self._take(delta, is_counted=True)


class CallsWhole:
    """Passes deltas on, each tool call as one: a secret in its arguments could not be seen in pieces."""

    def __init__(self) -> None:
        self._calls: dict[Any, RunDelta] = {}

    def add(self, delta: RunDelta) -> list[RunDelta]:
        """Return what is whole now."""
        before, piece = self._calls.pop(delta.answer, None), delta.delta
        if not isinstance(piece, ToolCallDelta):
            return [delta] if before is None else [before, delta]
        if before is not None:
            begun = before.delta
            assert isinstance(begun, ToolCallDelta), "only calls are held"
            if begun.index == piece.index:
                piece = replace(begun, arguments=begun.arguments + piece.arguments)
                before = None
        self._calls[delta.answer] = replace(delta, delta=piece)
        return [] if before is None else [before]


def deltas_of(response: Response) -> list[Delta]:
    """Return a whole answer as deltas, one for each of its parts."""
    found: list[Delta] = []
    calls = 0
    for part in response.message.parts:
        match part:
            case Text(text):
                found.append(TextDelta(text))
            case Reasoning(text) if text:
                found.append(ReasoningDelta(text))
            case ToolCall(id, name, arguments):
                found.append(ToolCallDelta(calls, id, name, arguments))
                calls += 1
            case _:
                pass  # a model says nothing else
    return found


def from_the_beginning(deltas: Sequence[RunDelta]) -> list[RunDelta]:
    """Return an answer's deltas, of which the first says that they are all of it."""
    return [replace(deltas[0], anew=True), *deltas[1:]] if deltas else []


def joined(deltas: Iterable[RunDelta]) -> list[RunDelta]:
    """Return the deltas with those as one that follow each other and are pieces of one text."""
    found: list[RunDelta] = []
    pieces: list[RunDelta] = []
    for delta in deltas:
        if pieces and not _goes_on(pieces[-1], delta):
            found.append(_one(pieces))
            pieces = []
        pieces.append(delta)
    if pieces:
        found.append(_one(pieces))
    return found


def _goes_on(before: RunDelta, delta: RunDelta) -> bool:
    if delta.anew or before.attempt != delta.attempt or before.answer != delta.answer:
        return False
    match before.delta, delta.delta:
        case (TextDelta(), TextDelta()) | (ReasoningDelta(), ReasoningDelta()):
            return True
        case ToolCallDelta(index=one), ToolCallDelta(index=other):
            return one == other
    return False


def _one(pieces: Sequence[RunDelta]) -> RunDelta:
    """Return as one what the pieces of one text say together."""
    first, said = pieces[0], [piece.delta for piece in pieces]
    if len(pieces) == 1:
        return first
    whole: Delta
    match first.delta:
        case TextDelta():
            whole = TextDelta("".join(piece.text for piece in said if isinstance(piece, TextDelta)))
        case ReasoningDelta():
            whole = ReasoningDelta("".join(piece.text for piece in said if isinstance(piece, ReasoningDelta)))
        case ToolCallDelta() as call:
            whole = replace(call, arguments="".join(p.arguments for p in said if isinstance(p, ToolCallDelta)))
        case _:
            raise AssertionError("nothing else comes in pieces")
    return replace(first, position=pieces[-1].position, delta=whole)


def _size_of(delta: Delta | AnswerEnded) -> int:
    match delta:
        case TextDelta(text) | ReasoningDelta(text):
            return len(text)
        case ToolCallDelta(arguments=arguments):
            return len(arguments)
    return 0


def delta_json(delta: RunDelta) -> dict[str, Any]:
    """Return a delta as the document that `--json --stream` shows."""
    kind, fields = _kind_of(delta.delta)
    return {
        "type": "delta",
        "run_id": delta.run_id,
        "position": delta.position,
        "unit": path_of(delta.unit, delta.step),
        "place": {**delta.unit._asdict(), "step": list(delta.step), "turn": delta.turn},
        "agent": delta.agent,
        "attempt": delta.attempt,
        "anew": delta.anew,
        "recorded": delta.recorded,
        "kind": kind,
        **fields,
    }


def delta_of(document: Mapping[str, Any]) -> RunDelta:
    """Return the delta of which `delta_json` made a document."""
    place = document["place"]
    return RunDelta(
        document["run_id"],
        document["position"],
        Unit(place["task"], place["key"], place["attempt"]),
        tuple(place["step"]),
        place["turn"],
        document["agent"],
        _told_in(document),
        document["attempt"],
        document["anew"],
        document["recorded"],
    )


def _told_in(document: Mapping[str, Any]) -> Delta | AnswerEnded:
    match document["kind"]:
        case "text":
            return TextDelta(document["text"])
        case "reasoning":
            return ReasoningDelta(document["text"])
        case "tool_call":
            return ToolCallDelta(*(document[name] for name in ("index", "id", "name", "arguments")))
        case "restarted":
            return Restarted(document["reason"])
        case "resumed":
            return Resumed(document["reason"])
        case _:
            finish = None if document["finish"] is None else FinishReason(document["finish"])
            return AnswerEnded(document["ok"], finish, document["provider"], document["model"])


def _kind_of(delta: Delta | AnswerEnded) -> tuple[str, dict[str, Any]]:
    match delta:
        case TextDelta(text):
            return "text", {"text": text}
        case ReasoningDelta(text):
            return "reasoning", {"text": text}
        case ToolCallDelta(index, id, name, arguments):
            return "tool_call", {"index": index, "id": id, "name": name, "arguments": arguments}
        case Restarted(reason):
            return "restarted", {"reason": reason}
        case Resumed(reason):
            return "resumed", {"reason": reason}
        case AnswerEnded(ok, finish, provider, model):
            told = None if finish is None else finish.value
            return "ended", {"ok": ok, "finish": told, "provider": provider, "model": model}
