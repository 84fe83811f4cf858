"""A Python program that asks for it finds the model servers of this machine, as the command line does."""

from __future__ import annotations

import warnings

import pytest

from agents import Agent
from orchestrator import NoProvider, Squad, StubAnswers, environment_of, run_squad
from providers import open_manager
from tests.local_servers import GO, ollama
from tests.loopback import ANSWER
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio

TEXT = """
name: one
offline: auto
agents: {ann: {role: Answer.}}
tasks: {t: {agent: ann, description: Say hello.}}
outputs: {said: "${{ tasks.t.output }}"}
"""
NOWHERE = {"ORCHESTRATOR_LOCAL_SERVERS": "127.0.0.1:9"}


def looking(root: str) -> dict[str, str]:
    return {"ORCHESTRATOR_LOCAL_SERVERS": root, "ORCHESTRATOR_LOCAL_WAIT": str(PATIENCE_S)}


async def test_a_squad_asks_the_server_that_was_found(serve, tmp_path):
    server = serve(ollama("llama3.2:latest"), GO)
    squad = Squad.from_text(TEXT)
    for environ in (looking(server.root), environment_of(tmp_path, looking(server.root))):
        with warnings.catch_warnings():
            warnings.simplefilter("error", StubAnswers)
            result = await run_squad(squad, environ=environ, local_servers=True)
        assert ANSWER in result.outputs["said"]
    assert [each.body["model"] for each in server.chats] == ["llama3.2:latest"] * 2


async def test_an_agent_asks_the_server_that_was_found_and_the_model_that_is_set(serve):
    server = serve(ollama("llama3.2:latest", "qwen3:8b"), GO)
    environ = {**looking(server.root), "OLLAMA_MODEL": "qwen3:8b"}
    async with open_manager(environ=environ, local_servers=True) as manager:
        work = await Agent("ann", manager=manager, instructions="Answer.").work("Say hello.")
    assert ANSWER in work.text
    assert [each.body["model"] for each in server.chats] == ["qwen3:8b"]


async def test_nothing_is_looked_for_unasked(serve):
    server = serve(ollama("llama3.2:latest"), GO)
    with pytest.raises(NoProvider, match=r"in Python offline=True, or local_servers=True"):
        await run_squad(Squad.from_text(TEXT.replace("auto", "never")), environ=looking(server.root))
    await run_squad(Squad.from_text(TEXT), environ=looking(server.root), offline=True, local_servers=True)
    assert not server.asked


async def test_the_stub_that_answers_as_nothing_was_found_is_told():
    with pytest.warns(StubAnswers, match="no model is asked"):
        await run_squad(Squad.from_text(TEXT), environ=NOWHERE, local_servers=True)
