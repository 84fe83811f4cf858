"""Squads as tools of an MCP server: `orchestrator mcp` in a process of its own, asked by the package's own client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.mcp_server import Offer, input_schema, server_of, tool_names
from orchestrator.options import RunOptions, steady
from orchestrator.runtime import resume_run
from orchestrator.squad.spec import InputSpec
from providers import default_policy, load_catalog
from tests.components import imported
from tests.orchestrator.squads import Answers
from tests.patience import PATIENCE_S

mcp = imported("mcp", "mcp")
GREET = """
version: 1
name: greet
description: Greets somebody.
inputs:
  who: {type: string, description: Whom}
agents:
  ann: {persona: {name: Ann, role: Greets.}}
tasks:
  hello: {agent: ann, description: "Greet ${{ inputs.who }}."}
outputs:
  text: ${{ tasks.hello.output }}
"""
GATE = """
version: 1
name: gate
agents:
  ann: {persona: {name: Ann, role: Writes.}}
tasks:
  go: {approval: {prompt: Go?}}
  work: {agent: ann, description: Work., needs: [go]}
"""


def command(folder: Path, *more: str) -> Any:
    for name, text in (("greet.yaml", GREET), ("gate.yaml", GATE)):
        (folder / name).write_text(text)
    words = ["-m", "orchestrator", "mcp", "--offline", "greet.yaml", "gate.yaml", *more]
    return mcp.StdioServerParameters(command=sys.executable, args=words, cwd=str(folder))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yield the address of a server over HTTP."""
    server = command(folder, "--http", "0", "--no-ask")
    process = subprocess.Popen([server.command, *server.args], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@asynccontextmanager
async def asked(target: Any, **more: Any) -> AsyncIterator[Any]:
    with anyio.fail_after(PATIENCE_S):
        async with mcp.Client(target, **more) as client:
            yield client


def test_an_input_is_described_as_a_client_gives_it() -> None:
    schema = {"required": ["a"], "properties": {"a": {"type": "integer"}}}
    assert input_schema(InputSpec(type="object", schema=schema)) == {"type": "object", **schema}
    file = input_schema(InputSpec(type="file", default="notes.md", description="What to read."))
    assert file == {"type": "string", "description": "What to read. The text of a file."}
    assert "data:image/png;base64," in input_schema(InputSpec(type="image"))["description"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_squad_is_a_tool_over_stdio(tmp_path: Path, anyio_backend: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async with asked(command(tmp_path)) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["greet", "gate", "ask"]
        assert tools["greet"].input_schema["required"] == ["who"]
        assert tools["greet"].description == "Greets somebody. It gives: text."
        made = await client.call_tool("greet", {"who": "Bo"}, progress_callback=progress)
        wrong = await client.call_tool("greet", {"whom": "Bo"})
        gated = await client.call_tool("gate", {})
        answer = await client.call_tool("ask", {"question": "How are you?", "agent": "tech-writer"})
        nothing = await client.call_tool("ask", {"question": " "})
    assert not made.is_error
    assert made.content[0].text == made.structured_content["outputs"]["text"]
    assert "Bo" in made.content[0].text
    assert (made.structured_content["status"], made.structured_content["offline"]) == ("done", True)
    assert (0.0, 1.0, "hello has begun") in told
    assert (1.0, 1.0, "hello is ok") in told
    assert wrong.is_error
    assert "unknown-input" in wrong.content[0].text
    run = gated.structured_content["run_id"]
    assert gated.is_error
    assert f"orchestrator approvals approve {run}" in gated.content[0].text
    assert f"orchestrator runs resume {run}" in gated.content[0].text
    assert not answer.is_error
    assert answer.content[0].text
    assert nothing.is_error


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_squad_is_a_tool_over_http_in_both_ages_of_the_protocol(
    tmp_path: Path, mode: str, anyio_backend: str
) -> None:
    with served(tmp_path) as address:
        async with asked(address, mode=mode) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["greet", "gate"]
            both = [await client.call_tool("greet", {"who": who}) for who in ("Bo", "Cy")]
        assert ["Bo" in both[0].content[0].text, "Cy" in both[1].content[0].text] == [True, True]


def offering(manager: Any, *squads: Squad, journal: Any = None) -> Offer:
    options = RunOptions(manager=manager, clock=steady(), journal=journal)
    catalog = load_catalog()
    words = lambda run, questions: f"answer {run}: {questions}"  # noqa: E731
    return Offer(tool_names(squads), {}, default_policy(catalog), catalog, options, words)


async def untold(done: float, total: float | None, words: str) -> None:
    """Tell nobody."""


@pytest.mark.anyio
async def test_a_call_that_the_client_cancels_ends_its_run_which_can_be_taken_up_again() -> None:
    began, ended = anyio.Event(), anyio.Event()
    given, journal = Squad.from_text(GREET), MemoryJournal()

    async def never(agent: str, request: Any) -> str:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with anyio.fail_after(PATIENCE_S):
        async with mcp.Client(server_of(offering(Answers(never), given, journal=journal))) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "greet", {"who": "Bo"})
                await began.wait()
                tasks.cancel_scope.cancel()
            await ended.wait()
        (line,) = await journal.runs()
        async with resume_run(given, line.run, journal=journal, manager=Answers()) as run:
            async for _ in run:
                pass
    assert run.result.outputs == {"text": "ann: done"}


@pytest.mark.anyio
async def test_what_a_run_comes_to_is_told_without_a_process() -> None:
    def answer(agent: str, request: Any) -> str:
        if "Bad" in request.messages[-1].text:
            raise RuntimeError("no model is there")
        return "well"

    greet, gate = Squad.from_text(GREET), Squad.from_text(GATE)
    offer = offering(Answers(answer), greet, gate)
    well = await offer.call("greet", {"who": "Bo"}, untold)
    assert (well.text, well.is_error) == ("well", False)
    failed = await offer.call("greet", {"who": "Bad"}, untold)
    assert failed.is_error
    assert "no model is there" in failed.text
    waiting = await offer.call("gate", {}, untold)
    assert waiting.is_error
    assert "is not recorded" in waiting.text
    nothing = await offer.call("ask", {"question": "Hi?"}, untold)
    assert nothing.text == "there is no tool 'ask'; there are: greet, gate"


@pytest.mark.anyio
async def test_a_key_is_taken_out_of_what_is_answered_as_text_and_as_values() -> None:
    offer = replace(
        offering(Answers(lambda *_: "a CANARY key"), Squad.from_text(GREET)),
        mask=lambda text: text.replace("CANARY", "***"),
    )
    reply = await offer.call("greet", {"who": "Bo"}, untold)
    assert reply.text == "a *** key"
    assert "***" in json.dumps(reply.structured)
    assert "CANARY" not in json.dumps(reply.structured)


def test_two_squads_of_one_name_are_refused() -> None:
    given = Squad.from_text(GREET)
    with pytest.raises(ValueError, match="two tools would be called 'greet'"):
        tool_names([given, given])


@pytest.mark.long
def test_there_must_be_something_to_offer(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "orchestrator", "mcp", "--offline", "--no-ask"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert "there is nothing to offer" in done.stderr
    assert done.stdout == ""
