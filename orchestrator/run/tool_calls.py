"""The calls of tools in a run: what a model asked for, and what it was told. Pure, from the recorded steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator.journal.protocols import StepRecord
from orchestrator.units import path_of
from providers.documents.unicode import cut
from providers.messages import Response, ToolResult

LISTED = 100
"""Characters (graphemes) of a call's arguments, and of its result, in a list."""
IN_FLIGHT = "in flight: it has no result"


class ShownCall(NamedTuple):
    """One call: `place` is where in the run, `result` None where the record has none yet."""

    place: str
    turn: int
    name: str
    arguments: str
    result: str | None
    is_error: bool
    note: str = ""
    """What the model was told beside the result: that a person changed the arguments."""

    def line(self, most: int | None = LISTED) -> str:
        """Return the call and its result, each of at most so many characters on one line; None: whole."""
        call = call_text(self.name, self.arguments, most)
        if self.result is None:
            return f"{call}: {IN_FLIGHT}"
        told = clipped(self.result, most)  # of an error it begins with the tool's name, and that it failed
        said = f"{call}: {told}" if self.is_error else f"{call} answered: {told}"
        return f"{said} [{clipped(self.note, None if most is None else 2 * most)}]" if self.note else said


def tool_calls(steps: Sequence[StepRecord]) -> Iterator[ShownCall]:
    """Yield the calls that were begun, in the order of their units and turns."""
    asked = {(s.unit, s.key.step, s.key.turn): s.result for s in steps if s.done and isinstance(s.result, Response)}
    for step in steps:
        kind, _, number = step.key.call.partition("-")
        response = asked.get((step.unit, step.key.step, step.key.turn))
        if kind != "tool" or response is None or not number.isdigit() or int(number) > len(response.tool_calls):
            continue
        call = response.tool_calls[int(number) - 1]
        done = step.result if step.done and isinstance(step.result, ToolResult) else None
        told, is_error, note = (None, False, "") if done is None else (done.content, done.is_error, done.note)
        place = path_of(step.unit, step.key.step)
        yield ShownCall(place, step.key.turn, call.name, call.arguments, told, is_error, note)


def call_text(name: str, arguments: str, most: int | None) -> str:
    """Return a call as code has it: `read_file({"path": "a.md"})`."""
    return f"{name}({clipped(arguments, most)})"


def clipped(text: str, most: int | None) -> str:
    """Return the text on one line, of at most so many characters (graphemes); None: as it is."""
    if most is None:
        return text
    flat = " ".join(text.split())
    kept = cut(flat, most)
    return kept if kept == flat else f"{kept}…"
