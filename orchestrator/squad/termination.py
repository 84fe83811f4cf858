"""When a conversation ends: one class a condition, and what can be told of a condition before anybody speaks. Pure.

Whether one holds is for `orchestrator/run/conversations/ending.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, assert_never


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds when one of its conditions does."""

    conditions: tuple[Termination, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds when all of its conditions do."""

    conditions: tuple[Termination, ...]


@dataclass(frozen=True, slots=True)
class MaxTurns:
    """So many utterances were made."""

    turns: int


@dataclass(frozen=True, slots=True)
class PhraseSaid:
    """A participant said `phrase` in the latest round; with `by`, this participant."""

    phrase: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class NoProgress:
    """So many rounds in a row brought hardly a new word."""

    rounds: int


@dataclass(frozen=True, slots=True)
class MaxTokens:
    """The conversation took so many tokens."""

    tokens: int


@dataclass(frozen=True, slots=True)
class MaxSeconds:
    """So many seconds have passed since it began."""

    seconds: float


@dataclass(frozen=True, slots=True)
class FunctionHolds:
    """A function of the embedding program says so, of all utterances so far. It is asked after the first one."""

    function: Callable[..., bool]


@dataclass(frozen=True, slots=True)
class StopSaid:
    """A participant wrote `STOP` in a line of its own."""


@dataclass(frozen=True, slots=True)
class HandedTo:
    """The word was handed over to `target`, or it was named to speak next."""

    target: str


@dataclass(frozen=True, slots=True)
class SpokenBy:
    """One of `speakers` had a turn in the latest round, whatever it said."""

    speakers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MessageOf:
    """`speaker` said something in the latest round: silence, or a control line alone, is no message."""

    speaker: str


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A participant called `tool` in its turn, in the latest round."""

    tool: str


@dataclass(frozen=True, slots=True)
class EndedOutside:
    """The program that runs the squad ended it: `run.end_conversation(name)`."""


STOP = "STOP"
Termination = (
    AnyOf
    | AllOf
    | MaxTurns
    | PhraseSaid
    | NoProgress
    | MaxTokens
    | MaxSeconds
    | FunctionHolds
    | StopSaid
    | HandedTo
    | SpokenBy
    | MessageOf
    | ToolCalled
    | EndedOutside
)


def is_bounded(end: Termination) -> bool:
    """Return whether a conversation with this end is sure to end: one of `any` suffices, each of `all` must be sure."""
    match end:
        case AnyOf(conditions):
            return any(map(is_bounded, conditions))
        case AllOf(conditions):
            return all(map(is_bounded, conditions))
        case MaxTurns() | MaxTokens() | MaxSeconds():
            return True
        case PhraseSaid() | NoProgress() | FunctionHolds():
            return False
        case StopSaid() | HandedTo() | SpokenBy() | MessageOf() | ToolCalled() | EndedOutside():
            return False
        case _:
            assert_never(end)


def most_turns(end: Termination) -> int | None:
    """Return the number of utterances after which it has surely ended, None where nothing says so."""
    match end:
        case MaxTurns(turns):
            return turns
        case AnyOf(conditions):
            return min((most for one in conditions if (most := most_turns(one)) is not None), default=None)
        case AllOf(conditions):
            # All must hold: where one of them counts no utterances, no number of them is enough.
            counted = [most for one in conditions if (most := most_turns(one)) is not None]
            return max(counted) if len(counted) == len(conditions) else None
        case PhraseSaid() | NoProgress() | MaxTokens() | MaxSeconds() | FunctionHolds():
            return None
        case StopSaid() | HandedTo() | SpokenBy() | MessageOf() | ToolCalled() | EndedOutside():
            return None
        case _:
            assert_never(end)


def countable(end: Termination) -> Termination | None:
    """Return what is left of the condition without all that only a real conversation can tell; None: nothing."""
    match end:
        case MaxTurns() | MaxTokens():
            return end
        case AnyOf(conditions) | AllOf(conditions):
            left = tuple(one for inner in conditions if (one := countable(inner)) is not None)
            return type(end)(left) if left else None
        case PhraseSaid() | NoProgress() | MaxSeconds() | FunctionHolds():
            return None
        case StopSaid() | HandedTo() | SpokenBy() | MessageOf() | ToolCalled() | EndedOutside():
            return None
        case _:
            assert_never(end)


def phrases(end: Termination) -> Iterator[PhraseSaid]:
    """Yield the phrases that take part in ending it: what participants are told to say."""
    match end:
        case PhraseSaid():
            yield end
        case StopSaid():
            yield PhraseSaid(STOP)
        case AnyOf(conditions) | AllOf(conditions):
            for one in conditions:
                yield from phrases(one)
        case _:
            return


def listens(end: Termination) -> bool:
    """Return whether it may be ended from outside."""
    match end:
        case AnyOf(conditions) | AllOf(conditions):
            return any(map(listens, conditions))
        case _:
            return isinstance(end, EndedOutside)


def written(end: Termination) -> dict[str, Any]:
    """Return the condition as a squad file has it, but for `text_from`, which is `from` there."""
    match end:
        case AnyOf(conditions):
            return {"any": [written(one) for one in conditions]}
        case AllOf(conditions):
            return {"all": [written(one) for one in conditions]}
        case MaxTurns(turns):
            return {"max_turns": turns}
        case PhraseSaid(phrase, by):
            return {"text": phrase} if by is None else {"text": phrase, "text_from": by}
        case NoProgress(rounds):
            return {"no_progress_rounds": rounds}
        case MaxTokens(tokens):
            return {"tokens": tokens}
        case MaxSeconds(seconds):
            return {"time": seconds}
        case FunctionHolds(function):
            return {"function": function}
        case StopSaid():
            return {"stop_message": True}
        case HandedTo(target):
            return {"handoff": target}
        case SpokenBy(speakers):
            return {"source": list(speakers)}
        case MessageOf(speaker):
            return {"message": speaker}
        case ToolCalled(tool):
            return {"tool": tool}
        case EndedOutside():
            return {"external": True}
        case _:
            assert_never(end)
