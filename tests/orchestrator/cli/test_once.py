"""A command reads each file of the user's once, and resolves the squad once: an audit hook and a profiler count."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S

COUNT = """
import json, os, sys
from collections import Counter
opened, resolved, here = Counter(), 0, os.getcwd()
def hook(event, args):
    if event == "open" and isinstance(args[0], str) and os.path.abspath(args[0]).startswith(here + os.sep):
        opened[os.path.relpath(args[0])] += args[0].endswith((".yaml", ".env"))
def profile(frame, event, _):
    global resolved
    code = frame.f_code
    resolved += event == "call" and code.co_name == "resolve" and code.co_filename.endswith("resolve.py")
sys.addaudithook(hook)
sys.setprofile(profile)
from orchestrator.__main__ import main
code = main(sys.argv[1:])
sys.setprofile(None)
print(json.dumps([code, {name: number for name, number in opened.items() if number}, resolved]))
"""

ROUTING = "version: 1\ntimeouts: {total: 60s}\n"
PERSONA = "name: Mine\ntitle: Tester\nrole: Tests.\nidentity: A tester.\ntier: worker\n"
FILES = {"squad.yaml": 1, "agent_routing.yaml": 1, "mine.yaml": 1, ".env": 1}


@pytest.fixture
def mine(folder):
    text = (folder / "squad.yaml").read_text()
    (folder / "squad.yaml").write_text(text.replace("{persona: analyst}", "{persona: ./mine.yaml}"))
    (folder / "mine.yaml").write_text(PERSONA)
    (folder / "agent_routing.yaml").write_text(ROUTING)
    (folder / ".env").write_text("SOME_NAME=value\n")
    return folder


def counted(*arguments: str) -> tuple[int, dict[str, int], int]:
    done = subprocess.run([sys.executable, "-c", COUNT, *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
    code, opened, resolved = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return code, opened, resolved


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        ("run", "squad.yaml", "--offline"),
        pytest.param(("run", "squad.yaml", "--dry-run"), marks=pytest.mark.long),
        pytest.param(("config", "squad.yaml"), marks=pytest.mark.long),
        pytest.param(("simulate", "squad.yaml", "--all-providers", "--runs", "1"), marks=pytest.mark.long),
    ],
)
def test_a_command_reads_each_file_once_and_resolves_the_squad_once(mine, command):
    assert counted(*command) == (0, FILES, 1)


@pytest.mark.long
def test_a_resume_reads_each_file_once_and_resolves_the_squad_once(mine):
    (mine / "squad.yaml").write_text((mine / "squad.yaml").read_text() + "budget: {max_turns: 1, on_exceed: pause}\n")
    subprocess.run([sys.executable, "-m", "orchestrator", "run", "squad.yaml", "--offline", "--run-id", "a"])
    text = (mine / "squad.yaml").read_text()
    (mine / "squad.yaml").write_text(text.replace("max_turns: 1,", "max_turns: 9,"))
    assert counted("runs", "resume", "a") == (0, FILES, 1)


@pytest.mark.long
def test_validate_reads_each_file_once_whatever_it_is(mine):
    _, opened, resolved = counted("validate", "squad.yaml", "mine.yaml")
    assert (opened["squad.yaml"], resolved) == (1, 1)
    assert counted("validate", "agent_routing.yaml")[1:] == ({"agent_routing.yaml": 1}, 0)
    assert counted("validate", "mine.yaml")[1:] == ({"mine.yaml": 1}, 0)
