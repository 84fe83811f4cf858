"""What models say, as they say it: cleaned as a whole although it comes in pieces, in lines that name who speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, assert_never

import click

from orchestrator.run.deltas import AnswerEnded, RunDelta
from providers.documents.unicode import printable
from providers.messages import ReasoningDelta, Restarted, Resumed, TextDelta, ToolCallDelta

LONGEST = 160
"""Characters after which a line that does not end is broken at a blank, so that it is seen."""


class CleanText:
    """A text that comes in pieces as `printable` would make it of the whole: a sequence may be split anywhere.

    Every escape sequence ends at its line's end at the latest, so what follows an introducer waits for that.
    """

    INTRODUCER = re.compile("[\x1b\x90-\x9f]")

    def __init__(self) -> None:
        self._held = ""

    def add(self, piece: str) -> str:
        """Return what is certain now."""
        text = self._held + piece
        line = text.rfind("\n") + 1
        found = self.INTRODUCER.search(text, line)
        certain = found.start() if found else len(text)
        # The first half of a surrogate pair waits for the second.
        certain -= "\ud800" <= text[certain - 1 : certain] <= "\udbff"
        self._held = text[certain:]
        return printable(text[:certain])

    def end(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return printable(held)


class StreamPrinter:
    """Prints one text on stdout as it comes."""

    def __init__(self) -> None:
        self._text = CleanText()
        self._is_in_line = False

    def add(self, piece: str) -> None:
        self._print(self._text.add(piece))

    def break_line(self) -> None:
        """Print what was held back, and end the line where one has begun."""
        self._print(self._text.end())
        if self._is_in_line:
            self._print("\n")

    def _print(self, text: str) -> None:
        if text:
            click.echo(text, nl=False)
            self._is_in_line = not text.endswith("\n")

    def end(self) -> None:
        """Print what was held back, and end the line."""
        click.echo(self._text.end())


@dataclass(slots=True)
class _Answer:
    """One answer that is being given: its line that has not ended. `is_thought`: it is what the model thinks aloud."""

    agent: str
    where: str
    text: CleanText = field(default_factory=CleanText)
    line: str = ""
    is_thought: bool = False


class SpokenLines:
    """What agents say at once, as lines behind their names: a line is told when it is whole.

    Two answers of one agent are told apart by their tasks, too.
    """

    def __init__(self) -> None:
        self._answers: dict[Any, _Answer] = {}
        self._last: Any = None

    def add(self, delta: RunDelta) -> list[str]:
        """Return the lines that are whole now."""
        answer = self._answers.setdefault(delta.answer, _Answer(delta.agent or delta.unit.path, delta.unit.path))
        self._last = delta.answer
        match delta.delta:
            case TextDelta(text):
                return self._say(answer, text, is_thought=False)
            case ReasoningDelta(text):
                return self._say(answer, text, is_thought=True)
            case ToolCallDelta():
                return self._rest(answer)  # which tool it calls is an event of the run
            case Restarted(reason):
                return [
                    *self._rest(answer),
                    self._line(answer, f"(void; it begins again: {printable(reason)})"),
                ]
            case Resumed(reason):
                return [*self._rest(answer), self._line(answer, f"(broke off and goes on: {printable(reason)})")]
            case AnswerEnded(ok=ok):
                lines = self._rest(answer)
                if not ok:
                    lines.append(self._line(answer, "(void: there was no answer)"))
                del self._answers[delta.answer]
                return lines
            case _:
                assert_never(delta.delta)

    @property
    def tail(self) -> str:
        """The line that is not whole yet, of who spoke last."""
        answer = self._answers.get(self._last)
        return self._line(answer, answer.line) if answer is not None and answer.line else ""

    def _say(self, answer: _Answer, piece: str, *, is_thought: bool) -> list[str]:
        lines = [] if answer.is_thought == is_thought else self._rest(answer)
        answer.is_thought = is_thought
        *whole, answer.line = (answer.line + answer.text.add(piece)).split("\n")
        while len(answer.line) > LONGEST and (end := answer.line.rfind(" ", 1, LONGEST)) > 0:
            whole.append(answer.line[:end])
            answer.line = answer.line[end + 1 :]
        return lines + [self._line(answer, line) for line in whole]

    def _rest(self, answer: _Answer) -> list[str]:
        """Return what was not told yet of an answer."""
        rest = answer.line + answer.text.end()
        answer.line = ""
        return [self._line(answer, line) for line in rest.split("\n")] if rest.strip() else []

    def _line(self, answer: _Answer, line: str) -> str:
        same = sum(other.agent == answer.agent for other in self._answers.values())
        who = answer.agent if same < 2 else f"{answer.agent}, {answer.where}"
        return f"[{printable(who)}{' thinks' if answer.is_thought else ''}] {line}".rstrip()
