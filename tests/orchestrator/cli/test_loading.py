"""Ctrl-C while it loads: it waits, and is never lost in code that drops exceptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.cli.loading import interrupts_held
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="this system cannot hold a signal")

WATCHED = """
import signal, sys
from collections import Counter
from orchestrator.__main__ import main

found = Counter()

def watch(frame, event, _):
    if event == "call" and frame.f_code.co_name == "create_schema_validator":
        held = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        found["held" if held else "free"] += 1

sys.setprofile(watch)
main(sys.argv[1:])
print(*sorted(found), file=sys.stderr)
"""
"""Says after a command whether pydantic made validators while an interrupt was held, or could come."""

INTERRUPTED = """
import os, signal, sys
from orchestrator.__main__ import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.exit(main(["run", "squad.yaml"]))
"""


def test_an_interrupt_comes_when_the_block_is_left():
    reached = []

    def interrupted() -> None:
        with interrupts_held():
            # To this thread: any other one of the process, as those of a test run, would take it at once.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached == ["the end"]


def test_what_the_caller_held_stays_held():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with interrupts_held(), interrupts_held():
            assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {*before, signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        ("run", "squad.yaml"),
        ("run", "squad.yaml", "--dry-run"),
        ("validate", "squad.yaml"),
        ("graph", "squad.yaml"),
        ("config", "squad.yaml"),
        ("providers", "ls"),
        ("simulate", "outage"),
        ("simulate", "squad.yaml"),
        ("simulate", "--list"),
        ("ask", "x", "--agent", "pm", "--offline"),
    ],
)
def test_validators_are_made_while_an_interrupt_waits(folder: Path, command: tuple[str, ...]) -> None:
    assert last_line(folder, WATCHED, *command) == (0, "held")


@pytest.mark.parametrize(
    "module", ["click", "orchestrator.cli.commands.run", "pydantic", "yaml", "orchestrator.run_opening"]
)
@pytest.mark.few(2)
def test_an_interrupt_while_it_loads_ends_the_command(folder: Path, module: str) -> None:
    assert last_line(folder, INTERRUPTED, module) == (130, "interrupted")


def last_line(folder: Path, code: str, *arguments: str) -> tuple[int, str]:
    """Run the code, and return its exit code and the last line of its stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]
