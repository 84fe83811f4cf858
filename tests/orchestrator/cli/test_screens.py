"""What a run looks like: lines, heartbeat, live table, log."""

from __future__ import annotations

import io
import json

import anyio
import pytest
from rich.console import Console as RichConsole

from orchestrator.cli.app import Settings
from orchestrator.cli.session import beat
from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.live import TableScreen, fitting, render
from orchestrator.cli.ui.notices import STUB_NOTICE
from orchestrator.cli.ui.progress import Progress, ProgressLine
from orchestrator.cli.ui.screens import LineScreen, LogScreen, one_line
from orchestrator.cli.ui.task_row import TaskRow


def progress_of(*rows, stub=False):
    return Progress(squad="[red]sprint\x1b[0m", stub=stub, began=0.0, rows={row.name: row for row in rows})


def drawn(progress, width=100, height=30, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = RichConsole(file=file, width=width, height=height, force_terminal=True, color_system=None, markup=False)
    console.print(render(progress, Caps(cost=5.0), 61.0, width, height))
    file.flush()
    return file.buffer.getvalue().decode(encoding)


ROWS = (
    TaskRow("a", "mary", "ok", "groq/fast", 1200, 0.5, began=0.0, ended=4.2),
    TaskRow("b[x\x1b[31m]", "[bold]bob", "running", "groq/fast", 0, 0.0, attempt=2, began=1.0),
    TaskRow("c"),
)


def test_the_table_shows_what_is_known_as_plain_text():
    shown = drawn(progress_of(*ROWS, stub=True))
    for text in ("[red]sprint", STUB_NOTICE, "groq/fast", "1,200", "$0.50", "4.2 s", "1:00", "[bold]bob", "waiting"):
        assert text in shown
    assert "31m" not in shown
    assert "$0.00 of $5.00" in shown


@pytest.mark.parametrize("width", [20, 40, 89, 90, 200])
def test_it_fits_the_terminal(width):
    for line in drawn(progress_of(*ROWS), width=width).splitlines():
        assert len(line) <= width


def test_a_tiny_terminal_shows_each_task_and_its_state():
    shown = drawn(progress_of(TaskRow("review", "mary", "running"), TaskRow("approve", "", "gate")), width=30)
    assert "review    running" in shown
    assert "approve   awaiting approval" in shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_it_can_be_drawn_in_any_encoding(encoding):
    shown = drawn(progress_of(TaskRow("日本語", "мария", "ok")), encoding=encoding)
    assert "ok" in shown
    assert "state" in shown


def test_of_many_rows_those_that_matter_are_kept_in_order():
    rows = [TaskRow(f"done-{i}", state="ok") for i in range(50)]
    rows += [TaskRow("busy", state="running"), TaskRow("broken", state="failed"), TaskRow("gate", state="gate")]
    rows += [TaskRow(f"later-{i}") for i in range(50)]
    kept, rest = fitting(progress_of(*rows), 5)
    assert [row.name for row in kept] == ["busy", "broken", "gate", "later-0", "later-1"]
    assert rest == "not shown: 50 ok, 48 waiting"
    assert fitting(progress_of(*rows[:5]), 5) == (rows[:5], "")
    assert len(drawn(progress_of(*rows), height=20).splitlines()) <= 20


def test_the_table_is_redrawn_for_events_and_once_a_second():
    file = io.StringIO()
    now = [10.0]
    console = RichConsole(file=file, force_terminal=True, width=80, height=20, color_system=None)
    table = TableScreen(progress_of(*ROWS), Caps(), color=False, console=console, clock=lambda: now[0])
    with table:
        frames = []
        for at, event in ((10.0, True), (10.1, False), (10.2, True), (10.3, False), (11.1, False), (11.2, False)):
            now[0] = at
            before = file.tell()
            if event:
                table.saw({}, None)
            table.tick()
            frames.append(file.tell() > before)
    assert frames == [True, False, True, False, True, False]


def test_a_change_is_one_line_of_data():
    line = one_line(ProgressLine("a\x1b[2J", "failed:\nbecause\u202e", "error"), 0.0)
    assert line[8:] == " ! a: failed: because"


class Heard(Console):
    """Keeps what is said."""

    def __init__(self):
        self.color = False
        self.lines = []

    def say(self, text=""):
        self.lines.append(text)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["virtual time"], indirect=True)
async def test_a_heartbeat_names_what_is_running_every_thirty_seconds():
    heard = Heard()
    lines = LineScreen(progress_of(*ROWS), heard, clock=lambda: 61.0)
    with anyio.move_on_after(95):
        await beat(lines)
    assert len(heard.lines) == 3
    assert heard.lines[0].endswith("still running: b[x] (1:00, groq/fast)")


def test_there_is_no_heartbeat_where_nothing_runs():
    heard = Heard()
    LineScreen(progress_of(TaskRow("a")), heard).tick()
    assert heard.lines == []


def test_the_log_has_a_line_for_each_event():
    file = io.StringIO()
    log = LogScreen(Settings(log_format="json"), Heard(), file)
    log.saw({"type": "task.ended", "id": "1", "task": "a\x1b[0m", "at": 1.0}, ProgressLine("a", "failed", "error"))
    log.saw({"type": "turn.started", "id": "2"}, None)
    first, second = map(json.loads, file.getvalue().splitlines())
    assert (first["event"], first["task"], first["level"]) == ("task.ended", "a", "error")
    assert second["level"] == "debug"
