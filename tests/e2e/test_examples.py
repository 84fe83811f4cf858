"""Every example, offline, by the commands that its own first lines give."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator import Squad, run_sync
from orchestrator.events import Event
from orchestrator.squad.routing import load_routing
from providers.windows import Paced
from tests.e2e.command import Ended, orchestrator, without_traceback
from tests.e2e.examples import EXAMPLES, commands, first_run
from tests.orchestrator.vendors import Vendors
from tests.patience import PATIENCE_S

SQUADS = {
    "sprint.yaml": ["shopping list"],
    "conversations.yaml": ["shopping list"],
    "debate.yaml": ["buses"],
    "model-per-agent.yaml": ["maps", "hikers"],
    "support-triage.yaml": ["Lisbon", "charged twice"],
    "code-review/squad.yaml": ["invoices.py", "find"],
    "research/squad.yaml": ["hives", "July"],
    "thirteen-agents/squad.yaml": ["restaurant"],
    "weekly-report/squad.yaml": ["orders", "2026-W46"],
    "fastapi/squad.yaml": ["lists sync"],
}
"""Each squad, with words of its subject."""
SLOW = ("code-review/squad.yaml", "conversations.yaml")
"""The first one starts a server of MCP, the package of which takes a second to load."""
PRODUCT_TEAMS = ("sprint.yaml", "conversations.yaml")
PRODUCT_WORDS = re.compile(r"\b(requirements?|user stor\w+|PRD|first release|interviews|# Brief)\b")


def routing(name: str) -> list[str]:
    return ["--routing", f"examples/{Path(name).parent}/agent_routing.yaml"] if "thirteen" in name else []


def with_python() -> dict[str, str]:
    """`python3` of a server's command is the one that these tests run in."""
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def said(ended: Ended) -> Iterator[str]:
    """Yield what each agent answered: the outputs of tasks, and the words of conversations."""
    for event in ended.events:
        if event["type"] == "message.spoken":
            yield event["text"]
        elif event["type"] == "task.ended" and event["output"] is not None:
            output = event["output"]
            yield output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def test_every_squad_of_the_examples_is_looked_at() -> None:
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.yaml")}
    others = {"agent_routing.yaml", "thirteen-agents/agent_routing.yaml", "scenario.yaml", "cluster.yaml"}
    others |= {"serve-demo/agent_routing.yaml", "serve-demo/squad.yaml"}  # a browser looks at what becomes of these
    others |= {name for name in files if name.startswith("cluster/")}  # these have tests of their own
    assert {name for name in files - others if not name.endswith(".test.yaml")} == set(SQUADS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long if n in SLOW else ()) for n in SQUADS])
def test_the_command_in_its_first_lines_runs_offline_on_its_own_subject(name: str, folder: Path) -> None:
    ended = orchestrator(*first_run(name), "--json", cwd=folder, env=with_python())
    assert ended.code == 0, ended.err
    assert without_traceback(ended)
    last = ended.events[-1]
    assert (last["status"], last["stub"], set(last["tasks"].values()) - {"skipped"}) == ("done", True, {"ok"})
    answers = list(said(ended))
    assert answers
    told = "\n".join(answers)
    assert all(word in told for word in SQUADS[name])
    if name not in PRODUCT_TEAMS:
        assert not PRODUCT_WORDS.search(told), PRODUCT_WORDS.search(told)


@pytest.mark.long
def test_the_demo_of_the_server_takes_it_along_when_it_is_ended(tmp_path: Path) -> None:
    demo = [sys.executable, str(EXAMPLES / "serve-demo/demo.py"), "--port", "0", "--runs", "0"]
    with subprocess.Popen([*demo, "--state", str(tmp_path)], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        port = next(found[1] for line in started.stdout if (found := re.match(r"http://\S+:(\d+)/login", line)))
        started.terminate()
        assert started.wait(PATIENCE_S) == 0
    with socket.socket() as asking:
        assert asking.connect_ex(("127.0.0.1", int(port))) != 0, "the server runs on"


@pytest.mark.parametrize("name", ["sprint", "support-triage"])
def test_the_recordings_of_the_examples_are_fresh(name: str, folder: Path) -> None:
    [command] = [command for command in commands(EXAMPLES / f"{name}.test.yaml") if command[0] == "test"]
    ended = orchestrator(*command, cwd=folder)
    assert ended.code == 0, ended.out + ended.err
    assert "2 cases: 2 passed" in ended.out + ended.err


def test_all_are_without_a_mistake_or_a_warning(folder: Path) -> None:
    files = [f"examples/{name}" for name in SQUADS]
    ended = orchestrator("validate", *files, *routing("thirteen-agents/squad.yaml"), cwd=folder)
    assert ended.code == 0, ended.err
    assert f"{len(files)} files: 0 errors, 0 warnings" in ended.out + ended.err


@pytest.mark.long
@pytest.mark.parametrize("name", SQUADS)
def test_it_is_drawn_forecast_shown_and_replayed(name: str, folder: Path) -> None:
    file = f"examples/{name}"
    run = [*first_run(name), "--run-id", "ex"]
    first = orchestrator("validate", file, *routing(name), cwd=folder)
    assert "0 warnings" in first.out + first.err
    for command in (
        ["graph", file],
        ["simulate", file, "--all-providers", *routing(name)],
        [*run, "--dry-run"],
        run,
        ["runs", "show", "ex"],
    ):
        ended = orchestrator(*command, cwd=folder, env=with_python())
        assert ended.code == 0, (command, ended.out + ended.err)
        assert without_traceback(ended)
    replayed = orchestrator("runs", "replay", "ex", cwd=folder)
    assert "equal" in replayed.out + replayed.err


def test_a_person_may_refuse_what_a_ticket_costs(folder: Path) -> None:
    asked = orchestrator("run", "examples/support-triage.yaml", "--run-id", "ex", cwd=folder)
    assert asked.code == 7, asked.err
    denied = orchestrator("runs", "resume", "ex", "--approve", "deny", cwd=folder)
    assert "rejected" in denied.err
    assert not (folder / "out/ex/answer.md").exists()


@pytest.mark.parametrize(
    ("keys", "families"),
    [
        ({"ANTHROPIC_API_KEY": "sk-ant-x", "GROQ_API_KEY": "gsk-x"}, {"anthropic": 5, "groq": 8}),
        ({"ANTHROPIC_API_KEY": "sk-ant-x"}, {"anthropic": 13}),
    ],
)
def test_five_of_the_thirteen_are_on_one_provider_and_eight_on_another_that_falls_back_to_it(
    keys: dict[str, str], families: dict[str, int], folder: Path
) -> None:
    ended = orchestrator(*first_run("thirteen-agents/squad.yaml"), "--dry-run", "--json", cwd=folder, env=keys)
    assert ended.code == 0, ended.err
    models = [agent["likely"] for agent in json.loads(ended.stdout)["agents"]]
    assert Counter(model.split("/")[0] for model in models) == families


def test_calls_to_a_provider_of_the_thirteen_are_half_a_second_apart() -> None:
    _, catalog = load_routing(EXAMPLES / "thirteen-agents/agent_routing.yaml")
    for name in ("anthropic", "groq"):
        assert Paced(0.5, burst=1) in [limit.window for limit in catalog.providers[name].limits]


@pytest.mark.long
def test_where_groq_fails_the_eight_are_answered_by_anthropic_at_the_same_pace() -> None:
    folder = EXAMPLES / "thirteen-agents"
    routing = yaml.safe_load((folder / "agent_routing.yaml").read_text("utf-8"))
    keys = {"ANTHROPIC_API_KEY": "sk-ant-x", "GROQ_API_KEY": "gsk-x"}
    events: list[Event] = []
    with Vendors({"/chat/completions": 1000}).serving() as vendors:
        for provider in routing["providers"].values():
            provider["base_url"] = vendors.root
        squad = Squad.from_file(folder / "squad.yaml", routing=routing)
        result = run_sync(squad, environ=keys, on_event=events.append)
    assert (result.status, set(result.tasks.values())) == ("done", {"ok"})
    ended = Counter((e.data.provider, e.data.outcome) for e in events if e.type == "attempt.ended")
    assert ended["anthropic", "ok"] == 13
    assert ended["groq", "failed"] > 0
    begun = [e.at for e in events if e.type == "attempt.started" and e.data.provider == "anthropic"]
    assert begun[-1] - begun[0] >= 0.5 * (len(begun) - 2)  # the first may be noted late on a busy machine


def test_each_agent_with_a_chain_of_models_goes_on_with_whatever_key_there_is(folder: Path) -> None:
    keys = {"GROQ_API_KEY": "gsk-x"}
    ended = orchestrator(*first_run("model-per-agent.yaml"), "--dry-run", "--json", cwd=folder, env=keys)
    models = {agent["id"]: agent["likely"] for agent in json.loads(ended.stdout)["agents"]}
    assert models["swe"] == "groq/openai/gpt-oss-120b"
    assert all(model.startswith("groq/") for model in models.values())
