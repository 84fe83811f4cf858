"""The functions that run a squad: what an editor and a type checker see of them, and that one value holds it all."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator.options import RunOptions

ROOT = Path(__file__).parents[2]
PUBLIC = ("open_run", "resume_run", "fork_run", "run_squad", "run_sync")
OF_THEIR_OWN = {"squad", "source", "run_id", "start", "edited", "on_event", "on_delta", "journal"}
ONE = {
    "name": "one",
    "agents": {"ann": {"role": "Greets."}},
    "tasks": {"greet": {"agent": "ann", "description": "Hi."}},
}
SNIPPET = """\
from orchestrator import Squad, SqliteJournal, fork_run, open_run, resume_run, run_squad, run_sync


async def go(squad: Squad, journal: SqliteJournal) -> None:
    await run_squad(squad, inputz={})
    run_sync(squad, max_cost_usd="much")
    open_run(squad, offlin=True)
    resume_run(squad, "a", journal=journal, outt=".")
    fork_run(squad, "a", journal=journal, form="task")
    Squad.from_file("squad.yaml", rooting="agent_routing.yaml")
    Squad.from_mapping({"name": "pair"}, tool=[])
    run_sync(squad, inputs={"idea": "tea"}, offline=True, max_cost_usd=1, timeout_s=2.5, journal=journal)
"""


@pytest.mark.parametrize("name", PUBLIC)
def test_every_option_is_a_parameter_with_a_name_a_type_and_the_default_of_run_options(name: str) -> None:
    parameters = inspect.signature(getattr(orchestrator, name)).parameters.values()
    defaults = {field.name: field.default for field in fields(RunOptions)}
    assert not [p for p in parameters if p.kind is p.VAR_KEYWORD or p.annotation is p.empty]
    options = [p for p in parameters if p.name not in OF_THEIR_OWN]
    assert {p.name: p.default for p in options} == {p.name: defaults[p.name] for p in options}


@pytest.mark.anyio
async def test_within_an_event_loop_run_sync_says_what_to_await() -> None:
    with pytest.raises(RuntimeError, match=r"await run_squad\("):
        orchestrator.run_sync(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["squad.yaml", Path("squad.yaml"), {"name": "none"}, None])
def test_what_is_no_squad_is_refused_in_words(given: object) -> None:
    with pytest.raises(TypeError, match=r"Squad.from_file\(path\)"):
        orchestrator.run_sync(given)  # type: ignore[arg-type]


async def _later(event: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("given", "told"),
    [({"inputs": "tea"}, "inputs are a mapping"), ({"on_event": _later}, "on_event is called, not awaited")],
)
def test_an_option_of_another_kind_is_refused_in_words(given: dict[str, Any], told: str) -> None:
    squad = orchestrator.Squad.from_mapping(ONE)
    with pytest.raises(TypeError, match=told):
        orchestrator.run_sync(squad, **given)


@pytest.mark.long
def test_a_type_checker_refuses_an_option_that_does_not_exist_and_a_value_of_another_type(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the type checker comes with the extra [dev]")
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", "--no-error-summary"]
    done = subprocess.run([*command, str(tmp_path / "snippet.py")], capture_output=True, text=True, cwd=ROOT)
    errors = [line.partition(" error: ")[0].split(":")[-2] for line in done.stdout.splitlines() if " error: " in line]
    assert errors == ["5", "6", "7", "8", "9", "10", "11"], done.stdout + done.stderr
