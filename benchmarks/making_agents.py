"""Making agents, and a turn with one tool call, against peers: each in an interpreter of its own.

    python benchmarks/making_agents.py --agno PYTHON --openai-agents PYTHON --agent-framework PYTHON [--rounds N]

Prints CPU microseconds and resident bytes for each agent (one tool, a line of instructions), and CPU microseconds of a
run on a model in the process: it calls a tool, then answers. Systems are measured in turn, `--rounds` times; the
medians and the ratios of this project to each peer are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

COMMON = """
import asyncio, gc, json, os, resource, statistics, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF); return used.ru_utime + used.ru_stime
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def measure(make, run, agents=5000, turns=300):
    make(0); gc.collect(); before, began, kept = rss(), cpu(), []
    for i in range(agents): kept.append(make(i))
    us = (cpu() - began) / agents * 1e6; gc.collect(); size = (rss() - before) / agents
    async def go():
        for _ in range(20): assert (await run()) == "3", "it must call the tool and answer"
        found = []
        for _ in range(5):
            gc.collect(); began = cpu()
            for _ in range(turns): await run()
            found.append((cpu() - began) / turns * 1e6)
        return statistics.median(found)
    print(json.dumps({"us_agent": us, "bytes_agent": size, "us_tool_turn": asyncio.run(go())}))
"""
OURS = """
from agents import Agent, tool
from personas import Persona
from providers.messages import FinishReason, Message, Response, Text, ToolCall, Usage
@tool
async def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
class Fake:
    async def complete(self, request, **_):
        if request.messages[-1].role != "tool":
            call = ToolCall("c1", "add", '{"a": 1, "b": 2}')
            return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(9, output=3), "f", "f", 1)
        return Response(Message("assistant", (Text("3"),)), FinishReason.STOP, Usage(9, output=3), "f", "f", 1)
fake = Fake()
terse = Persona(name="terse", display_name="Terse", role="You are terse.", tier="worker")
agent = Agent(name="a", persona=terse, manager=fake, tools=(add,))
async def run(): return (await agent.work("add 1 and 2")).text
measure(lambda i: Agent(name=f"a{i}", persona=terse, manager=fake, tools=(add,)), run)
"""
AGNO = """
from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse
async def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
class Fake(Model):
    def invoke(self, *a, **k): raise NotImplementedError
    async def ainvoke(self, messages=None, **k):
        if messages[-1].role == "user": return ModelResponse(role="assistant", tool_calls=[CALL])
        return ModelResponse(role="assistant", content="3")
    def invoke_stream(self, *a, **k): raise NotImplementedError
    async def ainvoke_stream(self, *a, **k): raise NotImplementedError
    def _parse_provider_response(self, r, **k): return r
    def _parse_provider_response_delta(self, r, **k): return r
fake = Fake(id="fake")
def make(i): return Agent(model=fake, instructions="You are terse.", tools=[add], name=f"a{i}", telemetry=False)
agent = make(0)
async def run(): return (await agent.arun("add 1 and 2")).content
measure(make, run)
"""
OPENAI = """
from agents import Agent, Model, ModelResponse, Runner, Usage, function_tool, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
set_tracing_disabled(True)
@function_tool
async def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
class Fake(Model):
    async def get_response(self, system_instructions, input, *a, **k):
        if not isinstance(input, str) and any(one.get("type") == "function_call_output" for one in input):
            text = ResponseOutputText(text="3", type="output_text", annotations=[])
            said = ResponseOutputMessage(id="m", role="assistant", status="completed", type="message", content=[text])
        else:
            said = ResponseFunctionToolCall(
                id="t", call_id="c1", name="add", arguments='{"a": 1, "b": 2}', type="function_call"
            )
        return ModelResponse(output=[said], usage=Usage(), response_id=None)
    def stream_response(self, *a, **k): raise NotImplementedError
fake = Fake()
def make(i): return Agent(name=f"a{i}", instructions="You are terse.", model=fake, tools=[add])
agent = make(0)
async def run(): return (await Runner.run(agent, "add 1 and 2")).final_output
measure(make, run)
"""
FRAMEWORK = """
from agent_framework import Agent, BaseChatClient, ChatResponse, Content, FunctionInvocationLayer, Message
async def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
class Fake(FunctionInvocationLayer, BaseChatClient):
    def _inner_get_response(self, *, messages, stream, options, **k):
        async def answer():
            if messages[-1].role == "tool": return ChatResponse(messages=[Message("assistant", ["3"])])
            call = Content.from_function_call("c1", "add", arguments='{"a": 1, "b": 2}')
            return ChatResponse(messages=[Message("assistant", [call])])
        return answer()
fake = Fake()
def make(i): return Agent(fake, "You are terse.", tools=[add], name=f"a{i}")
agent = make(0)
async def run(): return (await agent.run("add 1 and 2")).text
measure(make, run)
"""
SYSTEMS = {"ours": OURS, "agno": AGNO, "openai_agents": OPENAI, "agent_framework": FRAMEWORK}
ROOT = Path(__file__).parents[1]


def measured(python: str, code: str) -> dict[str, float]:
    """Return what one process of a system measured."""
    ended = subprocess.run([python, "-c", COMMON + code], capture_output=True, text=True, cwd="/", check=False)
    if ended.returncode:
        raise SystemExit(f"{python} failed:\n{ended.stderr[-2000:]}")
    found: dict[str, float] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("agno", "openai-agents", "agent-framework"):
        parser.add_argument(f"--{name}", help=f"an interpreter that has {name}")
    parser.add_argument("--rounds", type=int, default=3)
    given = vars(parser.parse_args())
    pythons = {"ours": sys.executable, **{name: given[name] for name in SYSTEMS if given.get(name)}}
    rounds = [
        {name: measured(python, SYSTEMS[name]) for name, python in pythons.items()} for _ in range(given["rounds"])
    ]
    for what in ("us_agent", "bytes_agent", "us_tool_turn"):
        found = {name: statistics.median(one[name][what] for one in rounds) for name in pythons}
        for name, value in found.items():
            ratio = "" if name == "ours" else f"   ours: {found['ours'] / value:.2f}x"
            print(f"{what:14} {name:16} {value:10.1f}{ratio}")


if __name__ == "__main__":
    main()
