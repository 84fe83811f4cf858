"""The live table of a run, on a terminal. It imports rich, as `markdown.py` does alone beside it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

import rich.box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.figures import duration, usd
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.cli.ui.notices import STUB_NOTICE
from orchestrator.cli.ui.progress import Progress, ProgressLine, budget_line
from orchestrator.cli.ui.reasons import Document
from orchestrator.cli.ui.task_row import TaskRow, in_words
from providers.documents.unicode import printable

FRAME_S = 1 / 8
COLORS = {"running": "cyan", "ok": "green", "failed": "bold red", "gate": "yellow", "parked": "yellow"}
CHROME = 7
"""Lines of the screen that are not rows: title, borders, head, the line of the rest, the budget."""
NARROW = 90
"""Columns below which the table keeps only what tells how the run goes."""
TINY = 40
"""Columns below which only which task it is, and its state, can be read."""


class TableScreen:
    """Redraws at most eight times a second, and only when there is something new: an event, or another second."""

    period = FRAME_S

    def __init__(
        self,
        progress: Progress,
        caps: Caps,
        *,
        color: bool,
        console: Console | None = None,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._environ = environ
        self._progress = progress
        self._caps = caps
        self._clock = clock
        self._console = console or Console(
            file=sys.stderr, color_system="auto" if color else None, markup=False, highlight=False, emoji=False
        )
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)
        self._shown: int | None = None
        self._tail = ""
        """The line that an agent is about to say."""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._draw()
        self._live.stop()

    def saw(self, event: Document, change: ProgressLine | None) -> None:  # noqa: ARG002  # the table shows the state
        self._shown = None

    def say(self, text: str) -> None:
        self._console.print(Text(mask_secrets(printable(text), self._environ)))

    def spoken(self, lines: Sequence[str], tail: str) -> None:
        for line in lines:
            self._console.print(Text(mask_secrets(line, self._environ)))
        self._tail, self._shown = mask_secrets(tail, self._environ), None

    def tick(self) -> None:
        if self._shown != int(self._clock()):
            self._draw()

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._draw()
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def _draw(self) -> None:
        now = self._clock()
        self._shown = int(now)
        size = self._console.size
        table = render(self._progress, self._caps, now, size.width, size.height - bool(self._tail))
        said = [Text(self._tail, no_wrap=True, overflow="ellipsis")] if self._tail else []
        self._live.update(Group(*said, table), refresh=True)


def render(progress: Progress, caps: Caps, now: float, width: int, height: int) -> Group:
    """Return the table and its budget line, cut to the screen. Text of models is shown as plain text."""
    title = printable(progress.squad) + (f"\n{STUB_NOTICE}" if progress.stub else "")
    table = Table(title=Text(title), box=rich.box.SIMPLE_HEAD, expand=False, pad_edge=False)
    columns = WIDE if width >= NARROW else ("task", "state", "time", "cost") if width >= TINY else ("task", "state")
    for name in columns:
        right = name in ("tokens", "cost", "time", "try")
        table.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    rows, rest = fitting(progress, max(height - CHROME, 3))
    for row in rows:
        table.add_row(*(Text(printable(text), style=style) for text, style in _cells(row, columns, now)))
    hidden = [Text(rest)] if rest else []
    return Group(table, *hidden, Text(budget_line(progress, caps, now), overflow="ellipsis"))


WIDE = ("task", "agent", "state", "provider/model", "tokens", "cost", "time", "try")


def _cells(row: TaskRow, columns: tuple[str, ...], now: float) -> Iterator[tuple[str, str]]:
    cells = {
        "task": row.name,
        "agent": row.who,
        "state": in_words(row.state) + (", truncated" if row.truncated else ""),
        "provider/model": row.model,
        "tokens": f"{row.tokens:,}" if row.tokens else "",
        "cost": usd(row.cost) if row.tokens else "",
        "time": duration(row.seconds(now)),
        "try": str(row.attempt) if row.attempt > 1 else "",
    }
    for name in columns:
        yield cells[name], COLORS.get(row.state, "") if name == "state" else ""


def fitting(progress: Progress, room: int) -> tuple[list[TaskRow], str]:
    """Return the rows that fit, in the order of the plan, and a line that counts the others.

    What is at work, waits for a person or failed is kept before what has ended well or has not begun.
    """
    rows = list(progress.rows.values())
    if len(rows) <= room:
        return rows, ""
    order = {"gate": 0, "running": 1, "failed": 2, "parked": 2, "waiting": 3}
    kept = set(sorted(range(len(rows)), key=lambda i: (order.get(rows[i].state, 4), i))[:room])
    counts: dict[str, int] = {}
    for i, row in enumerate(rows):
        if i not in kept:
            counts[row.state] = counts.get(row.state, 0) + 1
    left = ", ".join(f"{number} {in_words(state)}" for state, number in counts.items())
    return [row for i, row in enumerate(rows) if i in kept], f"not shown: {left}"
