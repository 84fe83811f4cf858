"""Which of a stream's choices is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters.shapes import mapping, sequence
from providers.errors import BadReply


class OneChoice:
    """Picks one choice out of each chunk: only one is asked for, but some proxies send two, in turns.

    The first that comes is the answer. Another index begins another choice where its delta has a role, or where the
    answer has its finish reason; elsewhere it is a server that counts its chunks there. Should the old index come
    again after all, two texts are mixed, and that is a `BadReply`.
    """

    __slots__ = ("_finished", "_index", "_left", "_others")

    def __init__(self) -> None:
        self._index: Any = None
        self._finished = False
        self._others: list[Any] = []
        self._left: list[Any] = []

    def ours(self, choices: Any) -> Mapping[str, Any] | None:
        """Return the answer's choice, None where the chunk has none."""
        if not choices:
            return None
        if choices.__class__ is list and len(choices) == 1 and choices[0].__class__ is dict:  # all that most send
            only: dict[str, Any] = choices[0]
            if only.get("index") == self._index is not None:
                self._finished = self._finished or bool(only.get("finish_reason"))
                return only
        found = [mapping(choice, "choice") for choice in sequence(choices, "choices") if choice is not None]
        if not found:
            return None
        mine = found[0] if len(found) == 1 else self._first(found)
        if not self._is_ours(mine):
            return None
        self._finished = self._finished or bool(mine.get("finish_reason"))
        return mine

    def _first(self, found: list[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the answer's of several choices in one chunk. The others are known from now on."""
        index = 0 if self._index is None else self._index
        mine = next((choice for choice in found if choice.get("index") == index), found[0])
        self._others += [choice.get("index") for choice in found if choice is not mine and choice.get("index") != index]
        return mine

    def _is_ours(self, choice: Mapping[str, Any]) -> bool:
        index = choice.get("index")
        if index is None or index == self._index:
            return True
        if index in self._others:
            return False
        if self._index is None:
            self._index = index
            return True
        delta = choice.get("delta")
        if self._finished or (isinstance(delta, dict) and delta.get("role")):
            self._others.append(index)
            return False
        if index in self._left:
            raise BadReply("the chunks of two answers are mixed")
        self._left.append(self._index)
        self._index = index
        return True
