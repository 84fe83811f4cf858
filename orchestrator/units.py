"""A unit of a run's work, where in it something happened, and the text by which people and stored records know it.

A path is `build[S-1]#2/try-1/code`: the task, the element of its `for_each`, the attempt after a reviewer's revision,
and what the unit does below. Inside the program it is a `Unit` and a step; only `places` reads the text again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from agents.room import ROOM
from agents.run_context import StepKey

StepPath = tuple[str, ...]
"""Where in a unit's work something happened, the outermost part first: `("try-1", "repeat-2", "code")`."""

SAID = "said"
"""The call by which a person's words in a conversation are recorded."""
ENDED = "ended"
"""The call by which it is recorded whether a conversation was ended from outside."""
FENCED = "fenced"
"""The step that draws the number of the fence around what others wrote in a brief."""
RECALLED = "recalled"
"""The step in which an agent is told what it remembers."""
LOOKED_UP = frozenset({ROOM, FENCED, ENDED})
"""Calls in which something is looked up or drawn: they reach nobody, cost nothing and say nothing."""
HARMLESS = LOOKED_UP | {SAID}
"""Calls that may be made again without a word, where a kill cut them short."""

_UNIT = re.compile(r"([^\[#/]*)(?:\[(.*)\])?(?:#(\d+))?", re.DOTALL)
_STEP = re.compile(rf"{_UNIT.pattern}/(try-\d+(?:/.*)?)", re.DOTALL)
"""An element's key may hold any character: it ends before the last `/try-N` that can begin its unit's work."""
_TURN = re.compile(r"turn-(\d+)")
_TOOL = re.compile(r"tool-\d+")
_IN_TURN = re.compile(r"(.+/try-\d+(?:/.*)?)/turn-(\d+)(?:/(?:model|tool-\d+))?", re.DOTALL)


class Unit(NamedTuple):
    """One task of a run, or one element of its `for_each`. `attempt` counts its revisions from 1."""

    task: str
    key: str | None = None
    attempt: int = 1

    @property
    def path(self) -> str:
        """Its place in the run by meaning: `build[S-1]`, `stories#2` after a revision."""
        element = "" if self.key is None else f"[{self.key}]"
        again = "" if self.attempt == 1 else f"#{self.attempt}"
        return f"{self.task}{element}{again}"


def path_of(unit: Unit | None, step: StepPath = ()) -> str:
    """Return the text of a place in a run; empty for the run itself."""
    if unit is None:
        return ""
    return "/".join((unit.path, *step)) if step else unit.path


def names_of(unit: Unit, step: StepPath = ()) -> Iterator[str]:
    """Yield each name by which people may mean a place: its task, the sub-squads around that, its element, its attempt,
    and every part of its step."""
    yield unit.task
    yield from (unit.task[:end] for end, character in enumerate(unit.task) if character in ".@")
    yield from (Unit(unit.task, unit.key).path, unit.path)
    yield from (path_of(unit, step[:end]) for end in range(1, len(step) + 1))


@lru_cache(maxsize=4096)
def place_of(path: str) -> tuple[Unit | None, StepPath]:
    """Return the unit and the step that `path_of` made a text of: how records are read."""
    if not path:
        return None, ()
    if (found := _STEP.fullmatch(path)) is not None:
        task, key, attempt, below = found.groups()
        return Unit(task, key, int(attempt or 1)), step_of(below)
    if _UNIT.fullmatch(path) is not None:
        return unit_of(path), ()
    task, *step = path.split("/")
    return Unit(task), tuple(step)


@lru_cache(maxsize=4096)
def unit_of(path: str) -> Unit:
    """Return the unit of which `path` is the path, with no step behind it."""
    found = _UNIT.fullmatch(path)
    if found is None:
        return Unit(path)
    task, key, attempt = found.groups()
    return Unit(task, key, int(attempt or 1))


def turn_of(text: str) -> tuple[str, int | None]:
    """Return a place's text without the turn that it names at its end, or the call in it, and that turn's number."""
    found = _IN_TURN.fullmatch(text)
    return (text, None) if found is None else (found[1], int(found[2]))


def step_of(text: str) -> StepPath:
    """Return the parts of a step's text. A name that holds a slash counts as several parts, here as in records."""
    return tuple(text.split("/")) if text else ()


def text_of(unit: Unit, key: StepKey) -> str:
    """Return the text by which records and people know a durable call: `build[S-1]/try-1/turn-1/model`."""
    turn = (f"turn-{key.turn}",) if key.turn else ()
    return "/".join((unit.path, *key.step, *turn, key.call))


def outer_call(key: StepKey) -> StepKey | None:
    """Return the tool's call in which a call is made: an agent works there for another one. None: it is in none."""
    step = key.step
    for at in range(len(step) - 1, 0, -1):
        if _TOOL.fullmatch(step[at]) and (turn := _TURN.fullmatch(step[at - 1])):
            return StepKey(step[: at - 1], int(turn[1]), step[at])
    return None


@lru_cache(maxsize=4096)
def key_of(unit: Unit, text: str) -> StepKey:
    """Return the call of a unit that `text_of` made a text of: how records are read."""
    *step, call = text.removeprefix(f"{unit.path}/").split("/")
    if step and (turn := _TURN.fullmatch(step[-1])):
        return StepKey(tuple(step[:-1]), int(turn[1]), call)
    return StepKey(tuple(step), 0, call)
