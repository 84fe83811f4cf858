"""What a template may cost, and the running account of one rendering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from jinja2 import Undefined

from personas.errors import TemplateError as TemplateError
from personas.errors import TextTooLong

T = TypeVar("T")

# What a list entry weighs beside a character: a pointer and its share of a small object.
ENTRY = 8


@dataclass(frozen=True, slots=True)
class TemplateLimits:
    """Upper bounds of one template. Parsing is bounded by size and shape, rendering by work, room and time."""

    source_chars: int = 64_000
    """Characters of a template, or of one expression. Plain text around expressions is not counted."""
    depth: int = 48
    """Brackets inside brackets, and nodes inside nodes once parsed."""
    nodes: int = 10_000
    """Names, literals, operators, calls and so on in one template or expression."""
    steps: int = 100_000
    """Loop passes and calls of filters in one rendering, over all loops."""
    room: int = 4_000_000
    """Characters made in one rendering, results in between included; an entry of a list counts as eight."""
    output_chars: int = 262_144
    """Characters of the text that comes out."""
    int_bits: int = 4_096
    """Bits of a whole number: some 1,200 digits."""
    seconds: float = 1.0
    """Seconds of one rendering."""


class Rendering:
    """The account of one rendering. Each charge raises `TemplateError` once its limit is passed."""

    __slots__ = ("_clock", "_deadline", "_limits", "_room", "_steps", "_written")

    def __init__(self, limits: TemplateLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._steps = limits.steps
        self._room = limits.room
        self._written = limits.output_chars

    def tick(self) -> None:
        """Charge one step and look at the clock."""
        self._steps -= 1
        if self._steps < 0:
            raise TemplateError(f"the template takes more than {self._limits.steps:,} steps")
        if self._clock() > self._deadline:
            raise TemplateError(f"the template takes longer than {self._limits.seconds:g} s")

    def take(self, size: int) -> None:
        """Charge `size` characters before they are made."""
        self._room -= size
        if self._room < 0:
            raise TemplateError(f"the template makes more than {self._limits.room:,} characters on its way")

    def written(self, text: str) -> str:
        """Return `text`, charged as output."""
        self._written -= len(text)
        if self._written < 0:
            raise TextTooLong(f"the template writes more than {self._limits.output_chars:,} characters")
        return text

    def made(self, value: T) -> T:
        """Return `value`, charged for itself and not for what it holds: its entries stood somewhere before."""
        match value:
            case str():
                self.take(len(value))
            case list() | tuple() | dict():
                self.take(ENTRY * len(value))
            case int() if value.bit_length() > self._limits.int_bits:
                raise TemplateError(f"a number has more than {self._limits.int_bits:,} bits")
        return value

    def made_whole(self, value: T) -> T:
        """Return `value`, charged with all that it holds, each time that it holds it.

        `[x, x]` set forty times in a row is small in memory and endless to print or compare.
        """
        todo: list[Any] = [value]
        while todo:
            item = todo.pop()
            self.take(ENTRY)
            match item:
                case str():
                    self.take(len(item))
                case Mapping():
                    self.take(ENTRY * len(item))
                    todo.extend(item)
                    todo.extend(item.values())
                case list() | tuple() | set() | frozenset():
                    self.take(ENTRY * len(item))
                    todo.extend(item)
                case Undefined():
                    str(item)  # a strict one raises, naming itself
        return value
