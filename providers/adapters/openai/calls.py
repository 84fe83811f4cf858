"""The tool calls of a stream, put together from pieces that every vendor numbers in its own way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from providers.adapters.openai.decode import NO_ARGUMENTS, arguments_in, function_in, id_in
from providers.adapters.shapes import no_members, string
from providers.documents.unicode import CleanStream, clean
from providers.errors import BadReply
from providers.messages import Delta, ToolCallDelta


class StreamedCalls:
    """All calls of one answer, in the order in which they were told."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._told: list[_Call] = []
        self.heard = 0
        """How many pieces came that said something."""

    def take(self, piece: Mapping[str, Any], deltas: list[Delta]) -> bool:
        """Add a piece; return whether it said anything. Vendors pad their streams with empty ones."""
        function = function_in(piece)
        call_id, name = clean(id_in(piece)), clean(string(function.get("name"), "name"))
        given = function.get("arguments")
        arguments = "" if no_members(given) else arguments_in(given)
        index = piece.get("index")
        if index is not None and (index.__class__ is not int or index < 0):
            raise BadReply("a tool call's index is not a number")
        if not (call_id or name or arguments):
            return False
        self.heard += 1
        call = self._call_of(index, call_id, name)
        for other in self._calls:
            if other is not call and other.name:
                self._tell(other, deltas)
        known = call.name != ""
        if not call.began and (no_members(given) or arguments.strip() == "{}"):
            call.empty, arguments = True, ""
        more = call.add(call_id, name, arguments)
        if call.told and any(more):
            deltas.append(ToolCallDelta(self._told.index(call), *more))
        elif call.name and call.began:
            self._tell(call, deltas, apart=known)
        return True

    def _tell(self, call: _Call, deltas: list[Delta], *, apart: bool = False) -> None:
        """Tell a call so far. `apart`: its name came before its arguments."""
        if call.told or not call.says_anything or self._is_echo(call):
            return
        call.told, at = True, len(self._told)
        self._told.append(call)
        if apart:
            deltas += [ToolCallDelta(at, call.id, call.name), ToolCallDelta(at, arguments=call.arguments)]
        else:
            deltas.append(ToolCallDelta(at, *call.whole()))

    def _is_echo(self, call: _Call) -> bool:
        """Whether a call is but the name of the one before it, which some servers repeat with every piece."""
        if call.began or call.empty or call.id or call.index is None:
            return False
        before = self._calls[: self._calls.index(call)]
        return any(each.index == call.index and each.name == call.name and each.is_whole for each in before)

    def finish(self, deltas: list[Delta]) -> None:
        """Tell what was held back at the end."""
        for call in self._calls:
            if not call.told:
                call.finish()
                self._tell(call, deltas)
        for at, call in enumerate(self._told):
            if rest := call.finish():
                deltas.append(ToolCallDelta(at, arguments=rest))

    @property
    def half(self) -> bool:
        """Whether the arguments of any call are not whole."""
        return any(call.began and not call.is_whole for call in self._told)

    def whole(self) -> list[tuple[str, str, str]]:
        """Return id, name and arguments of each call."""
        return [call.whole() for call in self._told]

    def _call_of(self, index: int | None, call_id: str, name: str) -> _Call:
        """Return the call that a piece belongs to, opened where it is new.

        Pieces share an index, says the dialect; but Mistral sends whole calls and no index, some vendors send 0 with
        every call of a parallel turn, and some count their chunks there. So an id or a name tells more: a piece that
        has neither goes on with the call of its index, else with the last one.
        """
        latest = self._calls[::-1]
        same_index = [call for call in latest if call.index == index]
        same_id = [call for call in latest if call_id and call.id == call_id]
        if name:
            found = [call for call in same_index if call.goes_on(call_id, name, numbered=index is not None)]
            found += [call for call in same_id if call.began and not call.is_whole]
        else:
            found = same_id + same_index if index is None else same_index + same_id
            found += latest[: not call_id]
        if not found:
            found = [_Call(index)]
            self._calls += found
        return found[0]


class _Call:
    """A tool call on its way. It is told once its name is whole: who listens may have to map it to another."""

    __slots__ = ("_clean", "_pieces", "began", "empty", "id", "index", "name", "told")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = self.name = ""
        self.told = self.began = False
        self.empty = False
        """Whether an empty object came first: all of the arguments, or what a proxy puts before their text."""
        self._clean = CleanStream()
        self._pieces: list[str] = []

    def goes_on(self, call_id: str, name: str, *, numbered: bool) -> bool:
        """Whether a piece with a name is of this call, whose index it has."""
        if call_id and self.id:
            return call_id == self.id
        # Without ids a name behind whole arguments begins a call, as does another name behind any.
        return numbered and (
            not (self.began or self.empty) or not self.name or (name == self.name and not self.is_whole)
        )

    def add(self, call_id: str, name: str, arguments: str) -> tuple[str, str, str]:
        """Take a piece; return what is new in it. Some vendors repeat id and name, some send a name in two."""
        call_id = "" if self.id else call_id
        name = name.removeprefix(self.name)
        if self.began and self.name:
            name = ""
        self.id, self.name = self.id or call_id, self.name + name
        if self.began and arguments[:1] == "{" and arguments == self.arguments and self.is_whole:
            arguments = ""  # the call once more, as some servers send it with the end
        if arguments and (arguments := self._clean.feed(arguments)):
            self._pieces.append(arguments)
            self.began = True
        return call_id, name, arguments

    @property
    def says_anything(self) -> bool:
        return self.name != "" or self.arguments not in NO_ARGUMENTS

    def finish(self) -> str:
        """Return what was held back at the end."""
        rest = self._clean.finish() or ("{}" if self.empty and not self.began else "")
        if rest:
            self._pieces.append(rest)
            self.began = True
        return rest

    def whole(self) -> tuple[str, str, str]:
        return self.id, self.name, self.arguments

    @property
    def arguments(self) -> str:
        return "".join(self._pieces)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are JSON from end to end."""
        try:
            json.loads(self.arguments)
        except (ValueError, RecursionError):
            return False
        return True
