"""The calls of tools in a run: with which arguments, and what came of each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.events import RiskyCallHeld, ToolEnded, ToolProgress, ToolStarted
from orchestrator.events import Event
from orchestrator.server.views.part import PartOfRun
from orchestrator.units import StepPath, Unit


@dataclass(slots=True)
class CallView:
    """One call. `arguments` and `result` are their beginnings. `ok` None: it has not ended. `ms` of wall time."""

    at: float
    task: str
    place: str
    turn: int
    name: str
    arguments: str = ""
    result: str = ""
    ok: bool | None = None
    ms: float = 0.0
    is_untrusted: bool = False
    note: str = ""


class CallsView(PartOfRun):
    """All calls in the order in which they began."""

    __slots__ = ("_open", "all")
    TAKES: ClassVar = {ToolStarted: "_start", ToolEnded: "_end", ToolProgress: "_progress", RiskyCallHeld: "_hold"}

    def __init__(self) -> None:
        self.all: list[CallView] = []
        self._open: dict[tuple[Unit | None, StepPath, int, int], CallView] = {}

    def _start(self, event: Event) -> None:
        self._call(event).arguments = event.data.arguments

    def _call(self, event: Event) -> CallView:
        key = event.unit, event.step, event.data.turn, event.data.call
        if (call := self._open.get(key)) is None:
            task = event.unit.task if event.unit else ""
            call = self._open[key] = CallView(event.at, task, event.path, event.data.turn, event.data.name)
            self.all.append(call)
        return call

    def _end(self, event: Event) -> None:
        call, ended = self._call(event), event.data
        call.ok, call.ms, call.result = ended.ok, ended.ms, ended.result
        call.arguments, call.is_untrusted = ended.arguments or call.arguments, ended.untrusted
        del self._open[event.unit, event.step, ended.turn, ended.call]

    def _progress(self, event: Event) -> None:
        done, total = event.data.done, event.data.total
        share = f" ({done:g} of {total:g})" if done is not None and total else ""
        self._call(event).note = f"{event.data.text}{share}"

    def _hold(self, event: Event) -> None:
        becomes = "a person is asked" if event.data.becomes == "ask" else "refused"
        self._call(event).note = f"{becomes}: its agent has read what others wrote ({', '.join(event.data.sources)})"
