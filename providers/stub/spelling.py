"""Strings that a regular expression of the usual forms matches; the caller checks them.

Read: literals, escapes, sets, groups, alternatives, repeats and edges. Look-around and back references are not.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_ATOM = re.compile(
    r"""(?P<edge>[\^$]|\\[AbZ])
      | (?P<group>\((?:\?:|\?P<\w+>)?(?!\?))
      | (?P<one>\\[dwsDWSfnrtv]|\\\W|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\(\[*+?])""",
    re.VERBOSE | re.DOTALL,
)
_REPEAT = re.compile(r"(?P<sign>[*+?])[?+]?|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\}[?+]?")
_SIGNS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_EXTRAS = (0, 1, 2, 4, 8, 16, 32, 64, None)
"""How often more than needed a part repeats, one try each; None: as seldom as allowed, even never."""
MOST_REPEATS = 10_000
MOST_LETTERS = 200_000


def turned(options: Sequence[_Item], number: int) -> list[_Item]:
    """Return `options` from place `number` on (the first is 1), then those before it."""
    start = (number - 1) % max(len(options), 1)
    return [*options[start:], *options[:start]]


def spellings(pattern: str, number: int) -> Iterator[str]:
    """Yield strings that `pattern` may match, short ones first; other strings for another `number`, where it can."""
    for extra in _EXTRAS:
        try:
            text = _Speller(pattern, number, extra).choice()
        except (ValueError, RecursionError):  # a form that is not read; a pattern that is no pattern
            return
        if not pattern.endswith("$"):
            yield f"{text}{number}"
        yield text


class _Speller:
    """Reads `pattern` once, from left to right, and spells as it reads."""

    def __init__(self, pattern: str, number: int, extra: int | None) -> None:
        self._pattern, self._at = pattern, 0
        self._number, self._extra = number, extra
        letters = (turned(string.ascii_lowercase, number), turned(string.ascii_uppercase, number))
        self._alphabet = (*letters[0], *letters[1], str(number % 10), *"0123456789", *"-_. ", *string.printable)

    def choice(self) -> str:
        """Spell one of the alternatives up to a closing bracket or the end."""
        options = [self._sequence()]
        while self._pattern[self._at : self._at + 1] == "|":
            self._at += 1
            options.append(self._sequence())
        return turned(options, self._number + (self._extra or 0))[0]

    def _sequence(self) -> str:
        text = ""
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            text += self._repeated(self._atom())
        return text

    def _atom(self) -> str:
        found = _ATOM.match(self._pattern, self._at)
        if found is None:
            raise ValueError("a form that is not read")
        self._at = found.end()
        if found["one"]:
            return self._character(found["one"])
        if found["edge"]:
            return ""
        inner = self.choice()
        self._at += 1  # the closing bracket
        return inner

    def _character(self, atom: str) -> str:
        # The set's own text is tried too: it may name letters of another script.
        return next((c for c in (*self._alphabet, *atom) if re.fullmatch(atom, c)), "")

    def _repeated(self, piece: str) -> str:
        found = _REPEAT.match(self._pattern, self._at)
        if found is None:
            return piece
        self._at = found.end()
        low, high = _bounds(found)
        wanted = low if self._extra is None else max(low, 1) + self._extra
        times = min(wanted, MOST_REPEATS if high is None else high, MOST_REPEATS)
        if len(piece) * times > MOST_LETTERS:  # repeats within repeats multiply
            raise ValueError("a text that is too long")
        if not (times and len(piece) == 1 and piece.isdecimal()):
            return piece * times
        # A run of digits spells the number itself, so that ids count on: S-009, S-010.
        return str(self._number).zfill(times)[-high if high else 0 :]


def _bounds(repeat: re.Match[str]) -> tuple[int, int | None]:
    if repeat["sign"]:
        return _SIGNS[repeat["sign"]]
    low = int(repeat["low"] or 0)
    return low, int(repeat["high"]) if repeat["high"] else None if repeat["comma"] else low
