from __future__ import annotations

import json

import anyio
import pytest

from agents import OutputInvalid, RunContext, ToolEnded, ToolFault, ToolStarted, TurnEnded, TurnLimit, TurnStarted, tool
from agents.context import History
from agents.errors import SchemaUnusable
from agents.run_context import StepKey
from orchestrator import Squad
from orchestrator.runtime import open_run
from providers.errors import AllAttemptsFailed, AuthFailed, Declined
from providers.events import AttemptEnded
from providers.messages import FinishReason, OutputSchema, Response, Usage, assistant, user
from providers.stub.scripted import say, tool_call

pytestmark = pytest.mark.anyio

STORY = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}, "additionalProperties": False}


@tool(blocking=False)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Journal:
    """Records each step; a second run with the same journal is handed what the first one recorded."""

    def __init__(self) -> None:
        self.steps: dict[tuple[str, bytes], object] = {}
        self.ran: list[str] = []

    async def do(self, name, request_hash, work):
        if (name, request_hash) not in self.steps:
            self.ran.append(name)
            self.steps[name, request_hash] = await work()
        return self.steps[name, request_hash]


class TestWork:
    async def test_the_answer_comes_with_its_transcript_and_its_price(self, scripted):
        bench = scripted(Response(assistant("Done."), FinishReason.STOP, Usage(10, 0, 0, 5), "a", "m", 20))
        result = await bench.agent().work("Build it.")
        assert (result.text, result.output, result.turns, result.truncated) == ("Done.", "Done.", 1, False)
        assert (result.usage, result.cost, result.provider, result.model) == (Usage(10, 0, 0, 5), 20, "a", "m")
        assert result.transcript == (user("Build it."), assistant("Done."))
        (asked,) = bench.script.requests
        assert [m.role for m in asked.messages] == ["system", "user"]
        assert (asked.needs.agent, asked.needs.persona, asked.needs.tier) == ("amelia", "dev", "worker")

    async def test_tools_are_called_and_their_results_go_back_in_order(self, scripted):
        bench = scripted(say("Adding.", tool_call("add", a=1, b=2), tool_call("add", a=3, b=4)), say("3 and 7"))
        result = await bench.agent(tools=(add,)).work("Add.")
        assert (result.text, result.turns) == ("3 and 7", 2)
        assert [part.content for part in result.transcript[2].parts] == ["3", "7"]
        called = [call.id for call in result.transcript[1].tool_calls]
        assert [part.call_id for part in result.transcript[2].parts] == called
        assert bench.script.requests[1].messages[1:] == result.transcript[:3]
        assert bench.script.used_up

    async def test_history_goes_along_and_is_not_part_of_the_new_messages(self, scripted):
        bench = scripted("No.")
        past = (user("Hello", name="bob"), assistant("Hello, Bob."))
        result = await bench.agent().work("And now?", history=past)
        assert bench.script.requests[0].messages[1:3] == past
        assert result.transcript == (user("And now?"), assistant("No."))

    async def test_turns_are_bounded_and_the_last_calls_are_not_made(self, scripted):
        made = []

        @tool(blocking=False)
        def more() -> str:
            made.append(1)
            return "more"

        bench = scripted(*[say(tool_call("more"))] * 3)
        with pytest.raises(TurnLimit) as failed:
            await bench.agent(tools=(more,), max_turns=3).work("Go on.")
        assert (failed.value.agent, failed.value.turns, len(made)) == ("amelia", 3, 2)

    async def test_a_text_cut_off_at_the_limit_is_final_and_marked(self, scripted):
        bench = scripted(Response(assistant("Half a"), FinishReason.LENGTH))
        result = await bench.agent().work("Write.")
        assert (result.text, result.truncated, result.cost) == ("Half a", True, None)

    async def test_an_empty_answer_after_tools_is_asked_for_again_once(self, scripted, voice):
        class Quiet:
            asked = 0

            async def complete(self, request, *, emit=None, budgets=None, accept=None):
                self.asked += 1
                parts = [tool_call("add", a=1, b=1)] if self.asked == 1 else []
                return Response(assistant(*parts), FinishReason.STOP)

        quiet = Quiet()
        result = await scripted().agent(manager=quiet, tools=(add,)).work("Add.")
        assert (quiet.asked, result.text, result.turns) == (3, "", 3)
        assert [m.role for m in result.transcript] == ["user", "assistant", "tool", "user"]

    async def test_an_unknown_cost_is_never_counted_as_free(self, scripted):
        calls = Response(assistant(tool_call("add", a=1, b=1)), FinishReason.TOOL_CALLS, cost=5)
        bench = scripted(calls, Response(assistant("2"), FinishReason.STOP, cost=None))
        assert (await bench.agent(tools=(add,)).work("Add.")).cost is None

    async def test_what_the_manager_raises_comes_out_as_it_is(self, scripted):
        with pytest.raises((AllAttemptsFailed, Declined)):
            await scripted(Declined("no", category="violence")).agent().work("Write.")

    async def test_a_persona_is_rendered_once_for_the_same_values(self, scripted, voice):
        bench = scripted("a", "b", "c", "d")
        values = {"x": 1}
        agent, twin = (bench.agent(persona=voice, values=values, name=name) for name in ("amelia", "bob"))
        for one in (agent, agent, twin, bench.agent(persona=voice)):
            await one.work("Hi")
        assert voice.rendered == [{"x": 1}, {}]
        first, second, third, other = (request.messages[0] for request in bench.script.requests)
        assert first is second is third is not other

    async def test_one_agent_may_do_many_works_at_once(self, scripted):
        bench = scripted(*[lambda request: f"to {request.messages[-1].text}"] * 20)
        agent, results = bench.agent(), {}

        async def one(n: int) -> None:
            results[n] = (await agent.work(f"{n}")).text

        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(one, n)
        assert results == {n: f"to {n}" for n in range(20)}

    async def test_what_is_sent_is_bounded_by_the_window(self, scripted):
        past = tuple(user("word " * 100) if i % 2 else assistant("word " * 100) for i in range(40))
        bench = scripted("Yes.", "Yes.")
        await bench.agent(window=2000, max_output_tokens=500, history=History(compact_at="off")).work(
            "Now?", history=past
        )
        await bench.agent(history=History(keep_last=5)).work("Now?", history=past)
        by_window, by_count = bench.script.requests
        assert by_window.input_tokens <= 1500
        assert len(by_count.messages) == 8  # the newest five, the opening, the first user message and the mark
        assert "left out" in by_count.messages[1].text
        assert by_count.messages[2] == past[1]


class TestSteps:
    async def test_each_call_is_a_step_keyed_by_its_place(self, scripted):
        journal = Journal()
        bench = scripted(say(tool_call("add", a=1, b=1), tool_call("add", a=2, b=2)), say("2, 4"))
        agent, ctx = bench.agent(tools=(add,)), RunContext(do=journal.do, step=("try-1", "code"))
        first = await agent.work("Add.", ctx)
        calls = [(1, "model"), (1, "tool-1"), (1, "tool-2"), (2, "model")]
        assert sorted(journal.ran) == [StepKey(("try-1", "code"), *call) for call in calls]
        again = await agent.work("Add.", ctx)
        assert again == first
        assert len(bench.script.requests) == 2

    @pytest.mark.parametrize(
        "change",
        [
            {"history": (user("x"),)},
            {"output_schema": STORY},
            {"brief": "Other."},
            {"tools": (add,)},
            {"temperature": 1.0},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_another_request_is_another_hash(self, scripted, change):
        hashes = []

        async def do(name, request_hash, work):
            hashes.append(request_hash)
            return await work()

        own = {key: change[key] for key in ("tools", "temperature") if key in change}
        asked = {key: value for key, value in change.items() if key not in own}
        bench = scripted(*['{"id": "1"}'] * 3)
        for agent, more in ((bench.agent(), {}), (bench.agent(), {}), (bench.agent(**own), asked)):
            await agent.work(**{"brief": "Do.", "ctx": RunContext(do=do), **more})
        assert hashes[0] == hashes[1] != hashes[2]

    async def test_events_tell_turns_and_tools_and_pass_the_providers_on(self, scripted):
        seen = []
        bench = scripted(say(tool_call("add", a=1, b=1), tool_call("nope")), "2")
        await bench.agent(tools=(add,)).work("Add.", RunContext(emit=seen.append))
        ours = [e for e in seen if type(e).__module__ == "agents.events"]
        assert ours[0] == TurnStarted("amelia", 1)
        assert [e.finish for e in ours if isinstance(e, TurnEnded)] == [FinishReason.TOOL_CALLS, FinishReason.STOP]
        assert {(e.call, e.name) for e in ours if isinstance(e, ToolStarted)} == {(1, "add"), (2, "nope")}
        assert {(e.call, e.ok) for e in ours if isinstance(e, ToolEnded)} == {(1, True), (2, False)}
        assert sum(isinstance(e, AttemptEnded) for e in seen) == 2


class TestOutputSchema:
    @pytest.mark.parametrize(
        "text",
        [
            '{"id": "S-1"}',
            ' \n```json\n{"id": "S-1"}\n```\n',
            '```\n{"id": "S-1"}```',
            'Hm, {"id": 7}?\n</think>\n\n{"id": "S-1"}',
        ],
    )
    async def test_the_output_is_the_json_value(self, scripted, text):
        bench = scripted(text)
        result = await bench.agent().work("Write.", output_schema=STORY)
        assert (result.output, result.text) == ({"id": "S-1"}, text)
        assert bench.script.requests[0].output_schema == OutputSchema(STORY)

    async def test_the_model_is_told_once_what_is_wrong(self, scripted):
        bench = scripted('{"id": 7}', '{"id": "7"}')
        result = await bench.agent().work("Write.", output_schema=STORY)
        assert (result.output, result.turns) == ({"id": "7"}, 2)
        *_, answer, told = bench.script.requests[1].messages
        assert answer.text == '{"id": 7}'
        assert "$.id" in told.text
        assert "7 is not of type 'string'" in told.text

    async def test_the_second_time_another_candidate_is_asked_inside_the_attempt(self, scripted):
        bench = scripted("{}", "{}", "{}", '{"id": "1"}', candidates=2)
        seen = []
        result = await bench.agent().work("Write.", RunContext(emit=seen.append), output_schema=STORY)
        assert (result.output, result.turns) == ({"id": "1"}, 2)
        second_turn = [(e.provider, e.error) for e in seen if isinstance(e, AttemptEnded)][1:]
        assert {provider for provider, _ in second_turn} == {"a", "b"}
        assert [error for _, error in second_turn] == ["WrongShape", "WrongShape", None]

    @pytest.mark.parametrize("candidates", [1, 3])
    async def test_an_agent_and_a_squad_make_as_many_corrections_as_the_pages_say(self, scripted, candidates):
        alone, placed = (scripted(*["{}"] * 9, candidates=candidates) for _ in range(2))
        with pytest.raises(OutputInvalid):
            await alone.agent().work("Write.", output_schema=STORY)
        task = {"agent": "ann", "description": "Write.", "output_schema": STORY}
        persona = {"name": "Ann", "role": "Writes.", "tier": "worker"}
        written = {"version": 1, "name": "s", "agents": {"ann": {"persona": persona}}, "tasks": {"a": task}}
        async with open_run(Squad.from_mapping(written), manager=placed.manager) as run:
            assert [event async for event in run]
        assert run.result.error_kinds == {"a": "OutputInvalid"}
        assert (len(alone.script.requests), len(placed.script.requests)) == (5, 5)

    @pytest.mark.parametrize("text", ["no json", '{"id": 1}', "[" * 100_000, '{"id": NaN}'])
    async def test_an_answer_that_stays_wrong_is_a_typed_error(self, scripted, text):
        bench = scripted(*[text] * 5)
        with pytest.raises(OutputInvalid) as failed:
            await bench.agent().work("Write.", output_schema=STORY)
        assert failed.value.path.startswith("$")
        assert failed.value.excerpt == text[:200]
        assert len(failed.value.message) < 400

    async def test_it_is_raised_by_a_manager_that_accepts_everything_too(self, scripted):
        class Careless:
            async def complete(self, request, *, emit=None, budgets=None, accept=None):
                return Response(assistant("{}"), FinishReason.STOP)

        with pytest.raises(OutputInvalid, match="'id' is a required property"):
            await scripted().agent(manager=Careless()).work("Write.", output_schema=STORY)

    async def test_a_cut_off_answer_is_asked_for_again(self, scripted):
        bench = scripted(Response(assistant('{"id": "S'), FinishReason.LENGTH), '{"id": "S"}')
        assert (await bench.agent().work("Write.", output_schema=STORY)).output == {"id": "S"}
        assert "cut off" in bench.script.requests[1].messages[-1].text

    async def test_tools_may_be_called_on_the_way(self, scripted):
        bench = scripted("{}", say(tool_call("add", a=1, b=1)), '{"id": "2"}')
        result = await bench.agent(tools=(add,)).work("Write.", output_schema=STORY)
        assert result.output == {"id": "2"}

    async def test_nothing_is_fetched_for_a_reference(self, scripted):
        bench = scripted("{}")
        schema = {"$ref": "http://example.invalid/schema.json"}
        with pytest.raises(SchemaUnusable, match="nothing is fetched"):
            await bench.agent().work("Write.", output_schema=schema)

    async def test_what_is_no_schema_is_said_before_anything_is_spent(self, scripted):
        bench = scripted()
        with pytest.raises(ValueError, match="output_schema"):
            await bench.agent().work("Write.", output_schema={"type": "text"})
        assert not bench.script.requests


class TestToolFault:
    async def test_it_ends_the_work_also_among_concurrent_calls(self, scripted):
        @tool(blocking=False)
        def broken() -> str:
            raise ToolFault("broken", "the disk is full")

        bench = scripted(say(tool_call("add", a=1, b=1), tool_call("broken")))
        with pytest.raises(ToolFault, match="the disk is full"):
            await bench.agent(tools=(add, broken)).work("Go.")


async def read(work, see=lambda _: None):
    """Read all of a stream; return its result."""
    async with work as stream:
        async for delta in stream:
            see(delta)
    return stream.result


class TestStream:
    async def test_the_deltas_are_the_answer_and_the_result_is_the_same(self, scripted):
        text = "A long answer that comes in several pieces, and then ends."
        plain, streamed = scripted(text), scripted(text)
        expected = await plain.agent().work("Write.")
        async with streamed.agent().stream("Write.") as stream:
            pieces = [delta.text async for delta in stream]
        assert "".join(pieces) == text
        assert len(pieces) > 1
        assert stream.result == expected

    async def test_tools_are_called_on_the_way(self, scripted):
        bench = scripted(say(tool_call("add", a=20, b=3)), "23")
        result = await read(bench.agent(tools=(add,)).stream("Add."))
        assert (result.text, result.turns) == ("23", 2)

    async def test_an_error_comes_out_of_the_context_as_it_is(self, scripted):
        with pytest.raises(OutputInvalid):
            await read(scripted(*["{}"] * 2).agent().stream("Write.", output_schema=STORY))

    async def test_the_works_error_comes_out_of_the_loop_and_of_the_result(self, scripted):
        caught = []
        async with scripted(*[AuthFailed("no")]).agent().stream("Write.") as stream:
            try:
                async for _ in stream:
                    pass
            except AllAttemptsFailed as error:
                caught.append(error)
            with pytest.raises(AllAttemptsFailed) as again:
                _ = stream.result
        assert caught == [again.value], "and the block ends as if nothing was left to say"

    async def test_a_result_that_is_read_too_early_says_so_and_no_group_comes_of_it(self, scripted):
        with pytest.raises(RuntimeError, match="not done: read all of its deltas"):
            async with scripted("x" * 5000).agent().stream("Write.") as stream:
                _ = stream.result

    async def test_an_error_that_nobody_read_is_told_at_the_end_of_the_block(self, scripted):
        with pytest.raises(AllAttemptsFailed):
            async with scripted(*[AuthFailed("no")]).agent().stream("Write."):
                await anyio.sleep(0.01)
        with pytest.raises(KeyError) as caught:  # noqa: PT012  # the block is what is tested
            async with scripted(*[AuthFailed("no")]).agent().stream("Write."):
                await anyio.sleep(0.01)
                raise KeyError("mine")
        assert "the work had failed: AllAttemptsFailed" in caught.value.__notes__[0]

    async def test_the_readers_own_error_comes_out_as_it_is(self, scripted):
        def refuse(_):
            raise KeyError("mine")

        with pytest.raises(KeyError):
            await read(scripted("x" * 5000).agent().stream("Write."), refuse)

    async def test_a_group_of_failed_attempts_comes_out_as_it_is(self, scripted):
        bench = scripted(*[AuthFailed("no")])
        with pytest.raises(AllAttemptsFailed):
            await read(bench.agent().stream("Write."))

    async def test_leaving_early_ends_the_work(self, scripted):
        bench = scripted("x" * 5000)
        async with bench.agent().stream("Write.") as stream:
            async for _ in stream:
                break
        with pytest.raises(RuntimeError, match="not done"):
            _ = stream.result

    async def test_a_recorded_turn_comes_as_one_delta(self, scripted):
        journal = Journal()
        bench = scripted("An answer of some length, in pieces.")
        ctx = RunContext(do=journal.do)
        await bench.agent().work("Write.", ctx)
        async with bench.agent().stream("Write.", ctx) as stream:
            assert [delta.text async for delta in stream] == ["An answer of some length, in pieces."]
        assert len(bench.script.requests) == 1

    async def test_a_stream_that_was_not_opened_says_how(self, scripted):
        with pytest.raises(RuntimeError, match=r"async with agent.stream\("):
            await anext(scripted().agent().stream("x"))

    async def test_a_manager_that_cannot_stream_is_refused_at_once(self, scripted):
        class Plain:
            async def complete(self, request, **_):
                return None

        with pytest.raises(TypeError, match="cannot stream"):
            scripted().agent(manager=Plain()).stream("Write.")


async def test_arguments_that_are_no_json_are_told_to_the_model(scripted):
    from providers.messages import ToolCall

    bench = scripted(say(ToolCall("1", "add", '{"a": 1')), say(tool_call("add", a="x", b=1)), "ok")
    result = await bench.agent(tools=(add,)).work("Add.")
    errors = [part for message in result.transcript if message.role == "tool" for part in message.parts]
    assert all(part.is_error for part in errors)
    assert "JSON" in errors[0].content
    assert "a: it should be a valid integer" in errors[1].content
    assert json.dumps(result.output) == '"ok"'
