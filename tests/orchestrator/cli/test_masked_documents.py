"""What tools and errors say is shown without secrets, in documents and logs as in lines."""

from __future__ import annotations

import io
import json

from rich.console import Console as RichConsole

from agents.events import ToolEnded, ToolStarted
from orchestrator.cli.app import Settings
from orchestrator.cli.session import show
from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.live import TableScreen
from orchestrator.cli.ui.masking import mask_document
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.screens import LogScreen
from orchestrator.events import Event, TaskEnded, to_json
from orchestrator.units import Unit
from providers.events import AttemptEnded
from tests.orchestrator.cli.test_runs_command import ROUTING
from tests.orchestrator.cli.test_screens import Heard

OURS = "correct horse battery"
SHAPED = "sk-proj-abcdefghijklmnop1234"
ENVIRON = {"LAB_API_KEY": OURS, "HOME": "/home/somebody"}
TOLD = (
    ToolStarted(1, 1, "fetch", json.dumps({"key": OURS, "other": SHAPED})),
    ToolEnded(1, 1, "fetch", True, 1.0, json.dumps({"key": OURS}), f"it answered {SHAPED} and {OURS}"),
    AttemptEnded(1, "lab", "m", "failed", "BadKey", f"the key {OURS} is wrong, and {SHAPED} too", 1.0),
    TaskEnded("t", "failed", error=f"{OURS}: refused; {SHAPED}", error_kind="ToolFault"),
)


def documents():
    return [to_json(Event("r", Unit("t"), ("try-1",), 1, n, 1.0, data)) for n, data in enumerate(TOLD, 1)]


def test_a_json_log_and_json_documents_have_no_secrets(capsys):
    file = io.StringIO()
    log = LogScreen(Settings(log_format="json"), Heard(), file, ENVIRON)
    progress = Progress()
    for document in documents():
        show(document, log, progress, ENVIRON)
    log.say(f"a line with {OURS}")
    out = capsys.readouterr().out
    for text, lines in ((out, 4), (file.getvalue(), 5)):
        assert OURS not in text
        assert SHAPED not in text
        assert len([json.loads(line) for line in text.splitlines()]) == lines
        assert text.count("***") >= 7


def test_what_a_run_made_and_its_names_stay():
    made = {"result": SHAPED, "error": OURS}
    document = {"type": "run.finished", "task": "error", "outputs": made, "errors": {"t": OURS}, "failures": [made]}
    shown = mask_document(document, ENVIRON)
    assert (shown["outputs"], shown["task"]) == (made, "error")
    assert (shown["errors"], shown["failures"]) == ({"t": "***"}, [{"result": "***", "error": "***"}])


def test_what_is_said_above_the_table_has_no_secrets():
    file = io.StringIO()
    screen = TableScreen(Progress(), Caps(), color=False, console=RichConsole(file=file, width=200), environ=ENVIRON)
    screen.say(f"the key {OURS} and {SHAPED}")
    assert file.getvalue() == "the key *** and ***\n"


def test_an_error_that_repeats_a_key_of_the_environment_is_shown_without_it(call, folder, loopback, monkeypatch):
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.url("400")))
    monkeypatch.setenv("SOME_PASSWORD", "at least one is required")
    done = call("run", "squad.yaml", "--run-id", "r-1", "--json")
    assert done.code != 0
    shown = call("runs", "show", "r-1", "--json")
    watched = call("runs", "watch", "r-1", "--json")
    lines = call("--log-format", "json", "run", "squad.yaml")
    for text in (done.out, done.err, shown.out, watched.out, lines.err):
        assert "messages:" in text
        assert "at least one is required" not in text
