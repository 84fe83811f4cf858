"""A run whose process is killed within a call of a declared tool: nothing that may have taken effect is done again
without being told, and a replay is equal."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from orchestrator import GateAnswered, GateOpened, SqliteJournal, Squad, resume_run
from orchestrator.rerun.replay import replay
from tests.orchestrator.squad.test_declared_tools import calling

pytestmark = pytest.mark.anyio
CODE = """\
import os, signal
from pathlib import Path
HERE = Path(__file__).parent

def pay(amount: int) -> str:
    with (HERE / "paid").open("a") as file:
        file.write(f"{amount}\\n")
    if not (HERE / "calm").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return f"paid {amount}"
"""
SQUAD = """\
name: pay
tools:
  pay: {{python: "pay.py", idempotent: {idempotent}}}
agents:
  ann: {{persona: analyst, tools: [pay]}}
tasks:
  go: {{agent: ann, description: "Pay."}}
outputs: {{go: "${{{{ tasks.go.output }}}}"}}
"""
CHILD = """\
import anyio, sys
from orchestrator import Squad, SqliteJournal, open_run
from tests.orchestrator.squad.test_declared_tools import calling

async def go():
    async with SqliteJournal(sys.argv[2]) as journal:
        squad = Squad.from_file(sys.argv[1])
        async with open_run(squad, manager=calling("pay", amount=7), journal=journal, run_id="a") as run:
            async for _ in run:
                pass

anyio.run(go)
"""


@pytest.mark.few(1)
@pytest.mark.parametrize(("idempotent", "answer"), [("true", ""), ("false", "approve"), ("false", "reject")])
async def test_a_call_that_a_kill_cut_short_is_made_again_as_its_tool_says(tmp_path, idempotent, answer):
    (tmp_path / "pay.py").write_text(CODE)
    file, db = tmp_path / "squad.yaml", tmp_path / "runs.db"
    file.write_text(SQUAD.format(idempotent=idempotent))
    command = [sys.executable, "-c", CHILD, str(file), str(db)]
    killed = await anyio.run_process(command, cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / "paid").read_text() == "7\n"
    (tmp_path / "calm").touch()
    asked: list[GateOpened] = []

    async def ask(gate: GateOpened) -> GateAnswered:
        asked.append(gate)
        return GateAnswered(gate.task, answer, "", "api")

    manager = calling("pay", amount=7)
    async with SqliteJournal(db) as journal:
        async with resume_run(Squad.from_file(file), "a", journal=journal, manager=manager, ask=ask) as run:
            _ = [event async for event in run]
        assert [gate.again for gate in asked] == [True] * bool(answer)
        wanted = "failed: " if answer == "reject" else "paid 7"
        assert run.result.outputs["go"].startswith(wanted)
        assert (tmp_path / "paid").read_text() == "7\n" * (1 if answer == "reject" else 2)
        assert len(manager.asked) == 1
        (tmp_path / "pay.py").unlink()
        assert (await replay(journal, "a")).is_equal
