from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import anyio
import anyio.lowlevel
import pytest
from pydantic import Field

from agents import Registry, RunContext, Tool, ToolFault, tool
from agents.calls import call_all
from agents.run_context import CallToApprove, Leave, StepKey
from agents.toolbox import builtin
from providers.messages import ToolCall
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


@tool
def search(
    query: Annotated[str, Field(description="What to look for")],
    limit: int = 10,
    kind: Literal["web", "news"] = "web",
    schema: str | None = None,
) -> str:
    """Search for pages.

    Newest first.
    """
    return f"{query} {limit} {kind} {schema}"


async def ask(one: Tool, arguments: str = "{}"):
    return await one.call(ToolCall("c1", one.name, arguments))


class TestSchema:
    def test_it_is_made_of_the_signature(self):
        assert (search.spec.name, search.spec.description) == ("search", "Search for pages.\n\nNewest first.")
        assert search.spec.parameters == {
            "type": "object",
            "additionalProperties": False,
            "required": ["query"],
            "properties": {
                "query": {"type": "string", "description": "What to look for"},
                "limit": {"type": "integer", "default": 10},
                "kind": {"type": "string", "enum": ["web", "news"], "default": "web"},
                "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        }

    def test_a_tool_without_parameters_is_an_empty_object(self):
        @tool
        def now() -> str:
            return ""

        assert now.spec.parameters == {"type": "object", "additionalProperties": False, "properties": {}}

    def test_what_cannot_be_described_is_said(self):
        @tool
        def odd(thing: Nowhere) -> str:  # noqa: F821  # no such type is known
            return ""

        @tool
        def strange(lock: threading.Event) -> str:
            return ""

        for one in (odd, strange):
            with pytest.raises(ToolFault, match="cannot be described"):
                _ = one.spec

    @pytest.mark.parametrize("field", [{"risk": "dangerous"}, {"approval": "always"}, {"approval": None}])
    def test_a_risk_and_an_approval_that_there_are_not_are_refused(self, field):
        with pytest.raises(ToolFault, match=r"^tool rm: its (risk|approval) is one of"):

            @tool(**field)
            def rm(path: str) -> str:
                return path

    def test_the_digest_follows_what_the_model_sees(self):
        twin = Tool("search", search.description, search.function)
        other = Tool("search", "Else.", search.function)
        assert search.digest == twin.digest != other.digest


class TestCall:
    async def test_arguments_are_validated_and_defaults_are_the_functions_own(self):
        assert (await ask(search, '{"query": "x", "limit": "3"}')).content == "x 3 web None"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ('{"query": "x", "limt": 1}', "limt: there is no such argument, did you mean limit?"),
            ("{}", "query: it is missing"),
            (
                '{"query": "x", "limit": "many"}',
                "limit: it should be a valid integer",
            ),
            ('{"query": "x", "colour": 1}', "colour: there is no such argument. There are: query, limit"),
            ("[]", "arguments: "),
            ("{", "Invalid JSON"),
            ("", "query: it is missing"),
        ],
    )
    async def test_wrong_arguments_are_told_and_the_tool_is_not_called(self, arguments, says):
        result = await ask(search, arguments)
        assert result.is_error
        assert says in result.content

    @pytest.mark.parametrize("arguments", ["", "null", "{}", '"{}"', ' "null" '])
    async def test_nothing_null_and_a_wrapped_object_mean_no_arguments(self, arguments):
        @tool
        def here(zone: str = "UTC") -> str:
            return zone

        def there(**given) -> str:
            return f"{given}"

        assert (await ask(here, arguments)).content == "UTC"
        assert (await ask(Tool("there", "", there, parameters={"type": "object"}), arguments)).content == "{}"

    async def test_an_object_that_was_encoded_twice_is_unwrapped(self):
        assert (await ask(search, '"{\\"query\\": \\"x\\"}"')).content == "x 10 web None"

    @pytest.mark.parametrize("arguments", ["[]", '[{"query": "x"}]', "7", '"x"', '{"query": "x', '{"query": NaN}'])
    async def test_what_is_no_object_is_told_and_the_tool_is_not_called(self, arguments):
        def there(**given) -> str:
            raise AssertionError(given)

        for one in (search, Tool("there", "", there, parameters={"type": "object"})):
            result = await ask(one, arguments)
            assert result.is_error
            assert "wrong arguments" in result.content

    async def test_a_function_runs_in_a_thread_unless_it_says_otherwise(self):
        @tool
        def there() -> int:
            return threading.get_ident()

        @tool(blocking=False)
        def here() -> int:
            return threading.get_ident()

        @tool(name="aside")
        async def awaited() -> int:
            await anyio.lowlevel.checkpoint()
            return threading.get_ident()

        own = str(threading.get_ident())
        assert (await ask(there)).content != own
        assert (await ask(here)).content == (await ask(awaited)).content == own
        assert awaited.name == "aside"

    async def test_a_thread_that_hangs_keeps_no_process_alive(self):
        release, working = threading.Event(), threading.Event()
        threads: list[threading.Thread] = []

        @tool(timeout_s=0.01)
        def hangs() -> str:
            threads.append(threading.current_thread())
            working.set()
            release.wait(PATIENCE_S)
            return ""

        result = await ask(hangs)
        assert working.wait(PATIENCE_S)
        release.set()
        assert result.content == "hangs failed: no answer within 0.01 s"
        assert [thread.daemon for thread in threads] == [True]

    @pytest.mark.long
    def test_a_process_ends_with_its_result_while_a_tool_still_hangs(self):
        code = """
import threading
from agents import tool
from orchestrator import Squad, run_sync
from providers.messages import FinishReason, Message, Response, Text, ToolCall, Usage

@tool(timeout_s=0.05)
def hangs() -> str:
    threading.Event().wait()

class Answers:
    turns = 0
    async def complete(self, request, **_):
        self.turns += 1
        part = ToolCall("c", "hangs", "{}") if self.turns == 1 else Text("done")
        reason = FinishReason.TOOL_CALLS if self.turns == 1 else FinishReason.STOP
        return Response(Message("assistant", (part,)), reason, Usage(1, output=1), "x", "x", 0)

persona = {"name": "A", "role": "Answers.", "tier": "worker"}
squad = {"name": "t", "agents": {"a": {"persona": persona, "tools": ["hangs"]}},
         "tasks": {"t": {"agent": "a", "description": "x"}}, "outputs": {"o": "${{ tasks.t.output }}"}}
print(run_sync(Squad.from_mapping(squad, tools=[hangs]), manager=Answers()).outputs)
"""
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        assert ended.stdout == "{'o': 'done'}\n"

    async def test_an_exception_is_told_to_the_model(self):
        @tool
        def broken() -> str:
            raise KeyError("nope")

        result = await ask(broken)
        assert (result.is_error, result.content) == (True, "broken failed: KeyError: 'nope'")

    async def test_a_tool_that_takes_too_long_is_given_up(self):
        @tool(timeout_s=0.01)
        async def slow() -> str:
            await anyio.sleep_forever()
            return ""

        result = await ask(slow)
        assert (result.is_error, result.content) == (True, "slow failed: no answer within 0.01 s")

    async def test_results_become_clean_bounded_text(self):
        @dataclass
        class Row:
            day: date

        @tool(blocking=False, max_chars=100)
        def give(what: str) -> object:
            return {
                "text": "a\x00b\ud83dc",
                "long": "é" * 150,
                "rows": [Row(date(2026, 1, 2))],
                "none": None,
                "emoji": "👩‍🚀" * 101,
            }[what]

        async def content(what: str) -> str:
            return (await ask(give, f'{{"what": "{what}"}}')).content

        assert await content("text") == "ab\ufffdc"
        assert await content("rows") == '[{"day": "2026-01-02"}]'
        assert await content("none") == "null"
        assert await content("long") == "é" * 99 + "\n[cut: the first 99 characters of 150]"
        assert (await content("emoji")).startswith("👩‍🚀" * 33 + "\n")

    async def test_a_given_schema_is_held_too(self):
        async def remote(**arguments):
            return arguments

        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
        one = Tool("remote", "From elsewhere.", remote, parameters=schema)
        assert one.spec.parameters == schema
        assert (await ask(one, '{"n": 2}')).content == '{"n": 2}'
        for bad, says in (('{"n": 0}', "$.n: 0 is less"), ("[1]", "not an object"), ("{", "not JSON")):
            result = await ask(one, bad)
            assert result.is_error
            assert says in result.content


class TestCallAll:
    async def test_calls_run_at_once_and_results_keep_their_order(self):
        second = anyio.Event()

        @tool
        async def wait(n: int) -> int:
            if n == 1:
                await second.wait()
            second.set()
            return n

        calls = [ToolCall(f"c{n}", "wait", f'{{"n": {n}}}') for n in (1, 2)]
        with anyio.fail_after(PATIENCE_S):
            results = await call_all(calls, (wait,), RunContext(), 1)
        assert [(result.call_id, result.content) for result in results] == [("c1", "1"), ("c2", "2")]

    async def test_a_tool_that_is_not_there_is_answered_with_those_that_are(self):
        (result,) = await call_all([ToolCall("c", "find", "{}")], (search,), RunContext(), 1)
        assert (result.is_error, result.content) == (
            True,
            "find failed: there is no tool of this name; there are: search",
        )

    async def test_a_name_with_marks_around_it_finds_its_tool(self):
        told, approved = [], []

        @tool(blocking=False, approval="ask")
        def deploy() -> str:
            return "done"

        async def approve(call: CallToApprove) -> Leave:
            approved.append(call.tool)
            return Leave(True)

        ctx = RunContext(approve=approve, emit=told.append)
        (result,) = await call_all([ToolCall("c", "functions.Deploy<|channel|>json", "null")], (deploy,), ctx, 1)
        assert (result.is_error, result.content, result.call_id) == (False, "done", "c")
        assert approved == ["deploy"]
        assert [event.name for event in told] == ["deploy", "deploy"]

    async def test_an_error_of_the_step_itself_comes_out_as_it_is(self):
        async def do(name, request_hash, work):
            raise LookupError(*name)

        calls = [ToolCall("1", "search", "{}"), ToolCall("2", "search", "{}")]
        for some in (calls[:1], calls):
            with pytest.raises(LookupError, match="3, 'tool-"):
                await call_all(some, (search,), RunContext(do=do, step=("at",)), 3)

    async def test_a_tool_that_needs_approval_waits_for_a_person(self):
        asked = []

        @tool(blocking=False, approval="ask")
        def deploy(where: str) -> str:
            return f"deployed to {where}"

        async def approve(call: CallToApprove) -> Leave:
            asked.append((call.tool, call.arguments, call.key))
            return Leave("test" in call.arguments, "not on a Friday")

        async def outcome(where: str, ctx: RunContext) -> tuple[bool, str]:
            call = ToolCall("c", "deploy", f'{{"where": "{where}"}}')
            (result,) = await call_all([call], (deploy,), ctx, 1)
            return result.is_error, result.content

        with_person = RunContext(approve=approve)
        assert await outcome("test", with_person) == (False, "deployed to test")
        refused = "deploy failed: a person refused this call: not on a Friday"
        assert await outcome("live", with_person) == (True, refused)
        assert "approval" in (await outcome("test", RunContext()))[1]
        step = StepKey((), 1, "tool-1")
        assert asked == [("deploy", '{"where": "test"}', step), ("deploy", '{"where": "live"}', step)]


BUILT_IN = {
    "read_file": ("read_only", "never"),
    "write_file": ("writes", "ask"),
    "list_files": ("read_only", "never"),
    "search_files": ("read_only", "never"),
    "edit_file": ("writes", "ask"),
    "read_csv": ("read_only", "never"),
    "read_json": ("read_only", "never"),
    "now": ("read_only", "never"),
}


class TestRegistry:
    def test_names_are_found_and_the_nearest_is_offered(self, tmp_path):
        registry = builtin(tmp_path)
        assert list(registry) == [*BUILT_IN]
        assert registry.get("read_fil") is None
        assert registry.nearest("read_fil") == "read_file"
        assert registry.nearest("zzz") is None
        assert registry.plus(search)["search"] is search
        assert "search" not in registry

    def test_two_tools_of_one_name_are_refused(self):
        with pytest.raises(ValueError, match="'search'"):
            Registry((search, search))

    def test_writing_asks_and_reading_does_not(self, tmp_path):
        assert {name: (one.risk, one.approval) for name, one in builtin(tmp_path).items()} == BUILT_IN


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, 3),
        ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, 3),
        ({"properties": {"a": {"type": "nonsense"}}}, 3),
        ({"properties": {"a": {"minimum": "x"}}}, 3),
        ({"properties": []}, 3),
        ({"properties": {"a": {"enum": 5}}}, 3),
        ({"$schema": 5}, 3),
        ({"properties": {"a": {"multipleOf": 0}}}, 3),
        ({"properties": {"a": {"$ref": 5}}}, 3),
        ({"properties": {"a": {"minLength": "5"}}}, "x"),
    ],
)
async def test_a_schema_from_elsewhere_that_is_none_fails_the_call_and_nothing_else(schema, value):
    async def never(**_: object) -> str:
        raise AssertionError("called")

    told = await Tool("it", "It.", never, parameters={"type": "object", **schema}).call(
        ToolCall("c", "it", json.dumps({"a": value}))
    )
    assert told.is_error
    assert "the schema is none" in told.content or "is not in the schema" in told.content
