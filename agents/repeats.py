"""A model that makes one call again and again, alone or in a circle, and learns nothing: noticed, told, stopped. Pure.

A call is the same where its tool and its parsed arguments are. One whose results differ is no repetition: it waits for
something. What other calls may have changed counts as news, unless they too have only been repeated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from providers.messages import ToolCall, ToolResult

READS = 2
"""Calls with one result of a tool that changes nothing, or may be called twice: the next is not made."""
WRITES = 4
"""The same of any other tool: three equal lines may have to be written."""


class CallKey(NamedTuple):
    """What makes two calls the same."""

    tool: str
    arguments: str


def key_of(call: ToolCall, tool: str) -> CallKey:
    """Return what makes a call the same as another one: the order and spaces of its arguments do not count."""
    try:
        return CallKey(tool, json.dumps(call.parse(), sort_keys=True))
    except (ValueError, RecursionError):
        return CallKey(tool, call.arguments)


@dataclass(slots=True)
class Repeats:
    """The calls of one piece of work. `is_over`: the model was told of a repetition, and went on with it."""

    is_over: bool = False
    _last: dict[CallKey, tuple[int, int]] = field(default_factory=dict)
    """The hash of each call's last result, and how often it came in a row."""
    _known: set[tuple[CallKey, int]] = field(default_factory=set)
    _told: set[int] = field(default_factory=set)
    """The turns in which a call was stopped."""

    def times(self, key: CallKey, *, harmless: bool) -> int:
        """Return how often a call was made that is not to be made again, 0 where it may be."""
        times = self._last.get(key, (0, 0))[1]
        return times if times >= (READS if harmless else WRITES) else 0

    def stopped(self, turn: int) -> bool:
        """Note that a call was not made, and return whether that ends the work: an earlier turn was told already."""
        self.is_over = self.is_over or bool(self._told - {turn})
        self._told.add(turn)
        return self.is_over

    def heard(self, key: CallKey, result: ToolResult, *, changes: bool) -> None:
        """Take the result of a call that was made; `changes`: it may have changed what others read."""
        digest = hash((result.content, result.is_error))
        last, times = self._last.get(key, (digest, 0))
        if changes and (key, digest) not in self._known:
            self._last.clear()
        self._known.add((key, digest))
        self._last[key] = (digest, times + 1 if last == digest else 1)
