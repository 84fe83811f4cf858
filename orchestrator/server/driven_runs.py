"""Which runs a server is driving, in a file: the next server finds there what a stop or a kill cut short."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import RunNotFound
from orchestrator.journal.protocols import Journal
from orchestrator.kept_file import held, put
from orchestrator.run.history import history_of
from orchestrator.run.standing import INTERRUPTED, UNFINISHED, state_in

FILE = "server-runs.json"
CUT_SHORT = (UNFINISHED, INTERRUPTED, "paused")
"""States of runs that go on where they stopped as soon as somebody drives them."""


class DrivenRuns:
    """The ids in the file of one state folder, which servers share."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def add(self, run: str) -> None:
        """Note a run that begins to be driven. Raise `OSError`."""
        self._change(lambda known: [*(one for one in known if one != run), run])

    def take_out(self, runs: Iterable[str]) -> None:
        """Forget runs that are driven no more and need not go on. Raise `OSError`."""
        gone = set(runs)
        self._change(lambda known: [one for one in known if one not in gone])

    def all(self) -> list[str]:
        """Return the ids, in the order in which the runs began; none where the file cannot be read."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return [str(run) for run in json.loads(self._file.read_text("utf-8"))["runs"]]
        return []

    def _change(self, change: Callable[[list[str]], list[str]]) -> None:
        with held(self._file):
            known = self.all()
            if (changed := change(known)) != known:
                put(self._file, {"runs": changed})


async def cut_short(driven: DrivenRuns, journal: Journal) -> list[tuple[str, str]]:
    """Return the runs that a server drove and that nobody drives now, with the state of each; forget all others."""
    found: list[tuple[str, str]] = []
    over: list[str] = []
    for run in driven.all():
        state = await _state(journal, run)
        if state in CUT_SHORT:
            found.append((run, state))
        elif state != "running":
            over.append(run)
    driven.take_out(over)
    return found


async def _state(journal: Journal, run: str) -> str:
    """Return a run's state; "running" only where a process drives it."""
    try:
        status = history_of(await journal.events(run)).status or "running"
        await journal.manifest(run)
    except RunNotFound:
        return "removed"
    return await state_in(journal, run, status)
