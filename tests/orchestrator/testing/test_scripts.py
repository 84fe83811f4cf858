"""Scripted answers, the pytest plugin, and the switch that forbids real calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents import tool
from orchestrator.runtime import run_squad
from orchestrator.testing import RealCallForbidden, ScriptedManager, ScriptMismatch, say, scripted, tool_call
from providers.adapters import HttpRequest
from providers.client.manager import ProviderManager, open_manager
from providers.errors import AllAttemptsFailed, Overloaded
from providers.messages import Needs, Request, user
from providers.transport import guarded_fetch, open_transport
from providers.transport.forbidden import is_loopback
from tests.orchestrator.squads import squad
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[3]


@tool
async def double(n: int) -> int:
    """Return twice a number."""
    return 2 * n


PAIR = {"a": "Say it.", "b": {"agent": "bob", "needs": ["a"], "description": "Repeat it."}}


async def test_answers_come_in_order_and_tools_are_called() -> None:
    people = {"ann": {"persona": {"name": "Ann", "role": "Counts.", "tier": "boss"}, "tools": ["double"]}}
    given = squad({"a": "Count."}, people=people, tools=[double])
    async with scripted(lambda _: tool_call("double", n=21), say("It is ", "42.")) as manager:
        result = await run_squad(given, manager=manager)
    assert (result.status, result.tasks) == ("done", {"a": "ok"})
    assert manager.requests[1].messages[-1].role == "tool"
    assert "42" in str(manager.requests[1].messages[-1].parts)


async def test_a_function_of_a_script_that_fails_is_told() -> None:
    def wrong(request: Request) -> str:
        assert request.tools, "no tools are offered"
        return "Never."

    with pytest.raises(ScriptMismatch, match="answer 1 failed: AssertionError: no tools are offered"):
        async with scripted(wrong) as manager:
            await run_squad(squad({"a": "Say it."}), manager=manager)


async def test_each_agent_has_a_script_of_its_own() -> None:
    async with scripted({"ann": ["One."], "bob": "Two."}) as manager:
        result = await run_squad(squad(PAIR, outputs={"b": "${{ tasks.b.output }}"}), manager=manager)
    assert result.outputs == {"b": "Two."}
    assert [request.needs.agent for request in manager.requests] == ["ann", "bob"]


async def test_a_step_may_be_an_error_or_made_of_the_request() -> None:
    async def work(manager: ScriptedManager) -> str:
        result = await run_squad(squad({"a": "Say it."}), manager=manager)
        return result.error_kinds.get("a", result.status)

    assert await work(scripted(Overloaded("full"))) == "AllAttemptsFailed"
    assert await work(scripted(lambda request: f"I was asked: {request.messages[-1].text}")) == "done"


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (("One.",), "the script has 1 answers; one more is asked for by bob"),
        (("One.", "Two.", "Three."), "1 of 3 answers were not asked for"),
        (({"ann": ["One."]},), "the agent 'bob' asks, and has no script; those with one: ann"),
        (({"ann": ["One.", "More."], "bob": ["Two."]},), "ann: 1 of 2 answers were not asked for"),
    ],
)
async def test_a_script_that_does_not_fit_fails(steps: tuple[object, ...], told: str) -> None:
    with pytest.raises(ScriptMismatch, match=told):
        async with scripted(*steps) as manager:
            await run_squad(squad(PAIR), manager=manager)


async def test_an_error_of_the_test_itself_is_not_hidden_by_the_script() -> None:
    with pytest.raises(ZeroDivisionError):
        async with scripted("never asked"):
            _ = 1 / 0


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("api.groq.com", False),
        ("10.0.0.1", False),
        ("127.0.0.1.evil.example", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so


async def test_a_forbidden_call_fails_at_once_and_names_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_REAL_CALLS", "Forbid")
    async with open_manager(environ={"GROQ_API_KEY": "gsk-" + "x" * 30, "OPENAI_API_KEY": "sk-" + "x" * 30}) as manager:
        with pytest.raises(RealCallForbidden, match="ORCHESTRATOR_REAL_CALLS=forbid"):
            await manager.complete(Request((user("hello"),)))
        with pytest.raises(RealCallForbidden):
            await streamed(manager)
    with pytest.raises(RealCallForbidden):
        await guarded_fetch()(HttpRequest("GET", "https://example.com/", {}, b""), timeout_s=5, max_bytes=10)


async def streamed(manager: ProviderManager) -> None:
    async with manager.stream(Request((user("hello"),))) as deltas:
        async for _ in deltas:
            pass


async def test_a_server_on_this_machine_may_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_REAL_CALLS", "forbidden")
    async with open_manager(environ={"LOCAL_BASE_URL": "http://127.0.0.1:9/v1"}) as manager:
        asked = Request((user("hello"),), needs=Needs(deadline_s=0.2))
        with pytest.raises(AllAttemptsFailed, match="no model answered"):  # nothing listens there
            await manager.complete(asked)


def test_without_the_switch_the_network_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATOR_REAL_CALLS", raising=False)
    assert type(open_transport()).__name__ in ("SocketTransport", "HttpxTransport")


TEST_FILE = """
import sys
from orchestrator import Squad, run_sync

SQUAD = Squad.from_mapping({{"name": "s", "agents": {{"ann": {{"role": "Says."}}}},
                           "tasks": {{"a": {{"agent": "ann", "description": "Say it."}}}}}})

def test_it(scripted, no_real_calls):
    manager = scripted({answers})
    assert run_sync(SQUAD, manager=manager).status == "done"
    assert not {fails}
"""


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("answers", "fails", "told"),
    [
        ('"Hello."', False, "1 passed"),
        ('"Hello.", "more"', False, "1 of 2 answers were not asked for"),
        ('"Hello.", "more"', True, "1 failed in"),
        ("", False, "the script has 0 answers; one more is asked for"),
    ],
)
def test_the_fixtures_of_the_plugin(tmp_path: Path, answers: str, fails: bool, told: str) -> None:
    (tmp_path / "test_x.py").write_text(TEST_FILE.format(answers=answers, fails=fails))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "orchestrator.testing.plugin", "-p", "no:cacheprovider"]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=PATIENCE_S)
    assert told in done.stdout, done.stdout + done.stderr
    assert done.returncode == (told != "1 passed")


def test_the_plugin_loads_nothing_of_ours_by_being_there() -> None:
    rooms = "('agents', 'providers')"
    told = f"import sys, orchestrator.testing.plugin; print([m for m in sys.modules if m.startswith({rooms})])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S)
    assert done.stdout.strip() == "[]", done.stderr
