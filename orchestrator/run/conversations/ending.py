"""Whether a conversation is over: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from orchestrator.events import EndKind
from orchestrator.run.conversations.blocks import FENCE, QUOTED, ends_in_a_block, outside_blocks
from orchestrator.run.conversations.speech import Utterance
from orchestrator.run.prompts import NO_REPLY
from orchestrator.squad.plan import HUMAN
from orchestrator.squad.termination import (
    STOP,
    AllOf,
    AnyOf,
    EndedOutside,
    FunctionHolds,
    HandedTo,
    MaxSeconds,
    MaxTokens,
    MaxTurns,
    MessageOf,
    NoProgress,
    PhraseSaid,
    SpokenBy,
    StopSaid,
    Termination,
    ToolCalled,
)

AROUND_A_PHRASE = " \t*_#>-.!`'\"“”„«»"
"""What may stand around a phrase in a line of its own: emphasis, a heading, quotation marks."""


@dataclass(frozen=True, slots=True)
class SoFar:
    """What conditions are judged by. `idle_rounds` are the latest rounds in a row that made no progress."""

    said: Sequence[Utterance]
    tokens: int = 0
    idle_rounds: int = 0
    seconds: float = 0.0
    is_ended_outside: bool = False
    edition: int = 3


@dataclass(frozen=True, slots=True)
class EndReason:
    """What ended a conversation: which kind of condition, and the condition in words.

    `kind` is the word of the squad file for it; `all` where several held together. `budget` is the cap of its own
    budget that left no room for a turn.
    """

    kind: EndKind
    text: str
    budget: str = ""


def ended(end: Termination, so_far: SoFar, *, ever: bool = False) -> EndReason | None:
    """Return the condition that holds, None where the conversation goes on.

    What a participant does holds in the round in which it is done; `ever`: from then on. So it is below `all`, whose
    conditions need not come true at once.
    """
    said = so_far.said if ever else tuple(_latest(so_far.said))
    match end:
        case AnyOf(conditions):
            return next((ending for one in conditions if (ending := ended(one, so_far, ever=ever))), None)
        case AllOf(conditions):
            lasting = ever or so_far.edition > 2
            held = [ending for one in conditions if (ending := ended(one, so_far, ever=lasting))]
            if len(held) < len(conditions):
                return None
            return held[0] if len(held) == 1 else EndReason("all", " and ".join(one.text for one in held))
        case MaxTurns(turns):
            return EndReason("max_turns", f"max_turns {turns}") if len(so_far.said) >= turns else None
        case PhraseSaid(phrase, by):
            speaker = _who_said(phrase, by, said, so_far.edition)
            return None if speaker is None else EndReason("text", f"{speaker} said {phrase!r}")
        case NoProgress(rounds):
            text = f"{rounds} rounds without progress"
            return EndReason("no_progress_rounds", text) if so_far.idle_rounds >= rounds else None
        case MaxTokens(tokens):
            return EndReason("tokens", f"{tokens} tokens") if so_far.tokens >= tokens else None
        case MaxSeconds(seconds):
            return EndReason("time", f"{seconds:g} s") if so_far.seconds >= seconds else None
        case FunctionHolds(function):
            return EndReason("function", "the given function") if function(tuple(so_far.said)) else None
        case StopSaid():
            by_stop = (one.speaker for one in said if STOP in one.closing)
            return _first("stop_message", by_stop, f"said {STOP!r}")
        case HandedTo(target):
            handing = (one.speaker for one in said if target in one.next)
            return _first("handoff", handing, f"handed over to {target}")
        case SpokenBy(speakers):
            spoke = (one.speaker for one in said if one.speaker in speakers)
            return _first("source", spoke, "had a turn")
        case MessageOf(speaker):
            spoke = (one.speaker for one in said if one.speaker == speaker and _is_message(one))
            return _first("message", spoke, "said something")
        case ToolCalled(tool):
            called = (one.speaker for one in said if tool in one.tools)
            return _first("tool", called, f"called {tool}")
        case EndedOutside():
            return EndReason("external", "the program ended it") if so_far.is_ended_outside else None
        case _:
            assert_never(end)


def _latest(said: Sequence[Utterance]) -> Iterator[Utterance]:
    """Yield the utterances of the latest round, the newest first: they may have been said at the same time."""
    for utterance in reversed(said):
        if utterance.round != said[-1].round:
            return
        yield utterance


def _first(kind: EndKind, speakers: Iterator[str], what: str) -> EndReason | None:
    speaker = next(speakers, None)
    return None if speaker is None else EndReason(kind, f"{speaker} {what}")


def _is_message(utterance: Utterance) -> bool:
    """Return whether it says something: a turn of a person that was passed over does not."""
    is_passed_over = utterance.speaker == HUMAN and utterance.text == NO_REPLY
    return bool(utterance.text.strip()) and not is_passed_over


def _who_said(phrase: str, by: str | None, said: Iterable[Utterance], edition: int) -> str | None:
    """Return who of them said `phrase`."""
    for utterance in said:
        is_said = phrase in utterance.closing or says(utterance.whole, phrase, edition)
        if by in (None, utterance.speaker) and is_said:
            return utterance.speaker
    return None


def says(text: str, phrase: str, edition: int = 3) -> bool:
    """Return whether a text says the phrase itself, rather than quotes it or shows it in code.

    A last line that is the phrase alone always says it, unless it ends a block or a quotation with other words in it:
    the prompt shows it in quotation marks, so models repeat these.
    """
    if phrase not in text:
        return False
    lines = [line for line in text.splitlines() if line.strip() and not FENCE.match(line)]
    is_last = bool(lines) and lines[-1].strip(AROUND_A_PHRASE) == phrase.strip(AROUND_A_PHRASE)
    if is_last and (edition < 3 or not ends_in_a_block(text)):
        return True
    spoken = "\n".join(outside_blocks(text, edition))
    # A phrase with quotation marks of its own would never be found outside of any.
    return phrase in (spoken if QUOTED.search(phrase) else QUOTED.sub(" ", spoken))
