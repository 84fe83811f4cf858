"""Whole runs, from a squad to its result, on a manager that answers from a function."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents import tool
from orchestrator import GateAnswered, GateOpened, PlanError, to_json
from orchestrator.cli.ui.progress import Progress
from orchestrator.errors import CommentMissing
from orchestrator.runtime import open_run
from providers.errors import AllAttemptsFailed, RateLimited, ServerFault
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.event_loops import VIRTUAL
from tests.orchestrator.squads import Answers, of_type, run, squad, types
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
virtual_time = pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)


async def test_tasks_run_in_order_feed_each_other_and_leave_artifacts(tmp_path: Path) -> None:
    given = squad(
        {
            "brief": {"agent": "ann", "description": "Study ${{ inputs.idea }}.", "output_file": "docs/brief.md"},
            "plan": {"agent": "bob", "needs": ["brief"], "description": "Plan it."},
        },
        inputs={"idea": {"type": "string", "default": "a 🦊"}},
        outputs={"file": "${{ tasks.brief.output_file }}", "plan": "${{ tasks.plan.output }}"},
    )
    manager = Answers(lambda agent, request: f"{agent} says 👩‍👩‍👧‍👦")
    result, events = await run(given, manager, out=tmp_path)
    assert (result.status, result.tasks) == ("done", {"brief": "ok", "plan": "ok"})
    assert result.outputs == {"file": "docs/brief.md", "plan": "bob says 👩‍👩‍👧‍👦"}
    written = (tmp_path / "docs/brief.md").read_bytes()
    assert written.decode("utf-8") == "ann says 👩‍👩‍👧‍👦"
    assert result.artifacts == {"docs/brief.md": hashlib.sha256(written).hexdigest()}
    assert "Study a 🦊." in manager.prompts("ann")[0]
    assert "ann says 👩‍👩‍👧‍👦" in manager.prompts("bob")[0]
    assert (types(events)[0], types(events)[-1]) == ("run.started", "run.finished")
    assert result.usage == Usage(20, output=10)
    assert result.cost == 20


async def test_without_a_folder_nothing_touches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = squad({"a": {"agent": "ann", "description": "x", "output_file": "a.md"}})
    result, _ = await run(given)
    assert result.texts == {"a.md": "ann: done"}
    assert list(tmp_path.iterdir()) == []


async def test_tasks_without_needs_run_at_the_same_time() -> None:
    manager = Answers()
    await run(squad({f"t{n}": "x" for n in range(4)}), manager)
    assert manager.most_at_work == 4


async def test_event_ids_are_unique_and_events_are_json() -> None:
    _, events = await run(squad({"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "y"}}))
    assert len({event.id for event in events}) == len(events)
    last = json.loads(json.dumps(to_json(events[-1])))
    assert last["type"] == "run.finished"
    assert {"run_id", "status", "outputs", "artifacts", "usage", "cost_usd", "tasks", "schema_version"} <= set(last)
    assert last["cost_usd"] == pytest.approx(0.00002)
    assert set(last["usage"]) == {"input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"}


async def test_a_failed_task_fails_the_run_and_what_was_finished_stays(tmp_path: Path) -> None:
    def answer(agent: str, request: Request) -> str:
        if agent == "bob":
            raise AllAttemptsFailed("no", [ServerFault("down", status=500)])
        return "fine"

    given = squad(
        {
            "a": {"agent": "ann", "description": "x", "output_file": "a.md"},
            "b": {"agent": "bob", "needs": ["a"], "description": "y"},
            "c": {"agent": "ann", "needs": ["b"], "description": "z"},
        }
    )
    result, _ = await run(given, Answers(answer), out=tmp_path)
    assert result.status == "failed"
    assert result.tasks == {"a": "ok", "b": "failed", "c": "cancelled"}
    assert result.error_kinds == {"b": "AllAttemptsFailed"}
    assert (tmp_path / "a.md").read_text() == "fine"


async def test_an_output_of_a_task_that_never_began_is_none() -> None:
    def answer(agent: str, request: Request) -> str:
        raise AllAttemptsFailed("no", [ServerFault("down")])

    build = {"agent": "bob", "needs": ["a"], "description": "y"}
    given = squad({"a": "x", "b": build}, outputs={"b": "${{ tasks.b.output }}", "failed": "${{ tasks.b.failed }}"})
    result, _ = await run(given, Answers(answer))
    assert result.outputs == {"b": None, "failed": None}


BUILD: dict[str, Any] = {
    "for_each": "${{ inputs.stories }}",
    "as": "story",
    "key": "${{ story.id }}",
    "max_parallel": 2,
    "fail_fast": False,
    "steps": [
        {"id": "code", "agent": "ann", "description": "Code ${{ story.id }}."},
        {
            "id": "review",
            "agent": "bob",
            "description": "Review ${{ story.id }}.",
            "output_schema": {
                "type": "object",
                "required": ["verdict"],
                "properties": {"verdict": {"enum": ["approve", "revise"]}},
            },
        },
    ],
    "repeat": {"until": "${{ steps.review.output.verdict == 'approve' }}", "max_attempts": 3},
}
STORIES = {"stories": {"type": "list", "default": [{"id": "S-1"}, {"id": "S-2"}]}}


async def test_a_fan_out_of_steps_repeats_each_element_until_it_is_approved() -> None:
    verdicts = {"S-1": ["approve"], "S-2": ["revise", "approve"]}

    def answer(agent: str, request: Request) -> str:
        text = request.messages[-1].text
        story = "S-1" if "S-1" in text else "S-2"
        return f"code of {story}" if agent == "ann" else json.dumps({"verdict": verdicts[story].pop(0)})

    manager = Answers(answer)
    result, events = await run(
        squad({"build": BUILD}, inputs=STORIES, outputs={"all": "${{ tasks.build.output }}"}), manager
    )
    assert result.status == "done"
    assert result.outputs["all"] == [
        {"code": "code of S-1", "review": {"verdict": "approve"}},
        {"code": "code of S-2", "review": {"verdict": "approve"}},
    ]
    assert [e.attempt for e in of_type(events, "task.repeated")] == [1]
    assert any('"verdict": "revise"' in prompt for prompt in manager.prompts("ann")), "the review reaches the next try"
    assert all("code of S-" in prompt for prompt in manager.prompts("bob")), "a step sees the earlier one"


async def test_repeating_without_end_fails_that_element_only() -> None:
    def answer(agent: str, request: Request) -> str:
        good = "S-1" in request.messages[-1].text
        return "code" if agent == "ann" else json.dumps({"verdict": "approve" if good else "revise"})

    given = squad({"build": BUILD}, inputs=STORIES, outputs={"failed": "${{ tasks.build.failed }}"})
    manager = Answers(answer)
    result, _ = await run(given, manager)
    assert result.status == "failed"
    assert result.outputs["failed"] == ["S-2"]
    assert result.error_kinds == {"build": "RepeatExhausted"}
    assert len(manager.prompts("ann")) == 1 + 3


@virtual_time
async def test_retries_wait_as_long_as_the_provider_says() -> None:
    tries: list[float] = []

    def answer(agent: str, request: Request) -> str:
        tries.append(anyio.current_time())
        if len(tries) < 3:
            raise AllAttemptsFailed("busy", [RateLimited("slow", retry_at=anyio.current_time() + 30)])
        return "fine"

    given = squad({"a": {"agent": "ann", "description": "x", "retry": {"max_attempts": 3, "on": ["rate_limit"]}}})
    result, events = await run(given, Answers(answer), clock=anyio.current_time)
    assert result.status == "done"
    assert [round(b - a) for a, b in pairwise(tries)] == [30, 30]
    assert len(of_type(events, "task.retried")) == 2


async def test_what_the_plan_does_not_name_is_not_retried() -> None:
    def answer(agent: str, request: Request) -> str:
        raise AllAttemptsFailed("down", [ServerFault("down")])

    manager = Answers(answer)
    given = squad({"a": {"agent": "ann", "description": "x", "retry": {"max_attempts": 3, "on": ["timeout"]}}})
    result, _ = await run(given, manager)
    assert (result.status, len(manager.asked)) == ("failed", 1)


@virtual_time
async def test_a_task_that_takes_too_long_fails_and_others_go_on() -> None:
    async def answer(agent: str, request: Request) -> str:
        await anyio.sleep(3600 if agent == "ann" else 1)
        return "done"

    given = squad(
        {"slow": {"agent": "ann", "description": "x", "timeout": "10m"}, "b": {"agent": "bob", "description": "y"}}
    )
    result, _ = await run(given, Answers(answer))
    assert result.tasks == {"slow": "failed", "b": "ok"}
    assert result.error_kinds == {"slow": "TaskTimedOut"}
    assert "600 s" in result.errors["slow"]


GATED = {
    "stories": "Write the stories.",
    "approve": {
        "approval": {
            "prompt": "Build ${{ tasks.stories.output }}?",
            "show": ["stories"],
            "choices": ["approve", "revise", "reject"],
        },
        "needs": ["stories"],
        "on_revise": {"rerun": ["stories"], "max_attempts": 2},
    },
    "build": {"agent": "bob", "needs": ["approve"], "context": ["stories"], "description": "Build."},
}


def person(*choices: tuple[str, str]) -> Any:
    left = list(choices)

    async def ask(gate: GateOpened) -> GateAnswered | None:
        choice, comment = left.pop(0)
        return GateAnswered(gate.task, choice, comment, "terminal")

    return ask


async def test_nobody_answers_and_the_run_parks() -> None:
    result, events = await run(squad(GATED))
    assert result.status == "waiting"
    assert result.waiting == {"approve": "a person's answer"}
    assert result.tasks["build"] == "waiting"
    assert of_type(events, "gate.opened")[0].shown == {"stories": "ann: done"}


async def test_a_revision_runs_again_with_the_comment_and_then_goes_on() -> None:
    manager = Answers()
    result, _ = await run(squad(GATED), manager, ask=person(("revise", "smaller, please"), ("approve", "")))
    assert result.status == "done"
    first, second = manager.prompts("ann")
    assert "smaller, please" not in first
    assert "smaller, please" in second


async def test_a_program_that_asks_for_changes_says_which() -> None:
    with pytest.raises(CommentMissing, match="approve: `revise` needs a comment"):
        await run(squad(GATED), ask=person(("revise", "")))


async def test_a_rejection_ends_the_run_as_rejected() -> None:
    manager = Answers()
    result, _ = await run(squad(GATED), manager, ask=person(("reject", "no")))
    assert (result.status, result.tasks["build"]) == ("rejected", "waiting")
    assert manager.prompts("bob") == []


async def test_a_run_that_is_over_asks_nobody_any_more() -> None:
    approval = {"approval": {"prompt": "Go?", "choices": ["approve", "reject"]}}

    async def ask(gate: GateOpened) -> GateAnswered | None:
        return GateAnswered("no", "reject", "no", "terminal") if gate.task == "no" else await anyio.sleep_forever()

    result, events = await run(squad({"a": "x", "no": {**approval, "needs": ["a"]}, "open": approval}), ask=ask)
    assert (result.status, dict(result.waiting)) == ("rejected", {})
    assert result.tasks == {"a": "ok", "no": "failed", "open": "cancelled"}
    progress = Progress()
    for event in events:
        progress.apply(to_json(event))
    assert progress.rows["open"].state == "cancelled"


@virtual_time
@pytest.mark.parametrize(("on_timeout", "status"), [("pause", "waiting"), ("approve", "done"), ("reject", "rejected")])
async def test_a_gate_waits_no_longer_than_it_says(on_timeout: str, status: str) -> None:
    async def ask(gate: GateOpened) -> None:
        await anyio.sleep_forever()

    approval = {"prompt": "Go?", "choices": ["approve", "reject"], "timeout": "3d", "on_timeout": on_timeout}
    given = squad({"a": "x", "gate": {"approval": approval, "needs": ["a"]}})
    result, _ = await run(given, ask=ask)
    assert result.status == status


async def test_a_spent_squad_budget_stops_before_it_is_overshot() -> None:
    manager = Answers(cost=40)
    given = squad({f"t{n}": "x" for n in range(5)}, budget={"max_cost": 0.0001, "on_exceed": "stop"})
    result, events = await run(given, manager)
    assert result.status == "stopped"
    assert result.cost == 80 <= 100
    assert len(manager.asked) == 2
    assert of_type(events, "budget.reached")[0].kind == "max_cost"


async def test_a_spent_budget_pauses_where_the_plan_says_so() -> None:
    given = squad(
        {"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "y"}},
        budget={"max_turns": 1, "on_exceed": "pause"},
    )
    result, _ = await run(given)
    assert result.status == "paused"
    assert result.tasks == {"a": "ok", "b": "waiting"}


async def test_a_tasks_own_budget_fails_that_task_alone() -> None:
    given = squad(
        {
            "a": {"agent": "ann", "description": "x", "budget": {"max_tokens": 5}},
            "b": {"agent": "bob", "description": "y"},
        }
    )
    result, _ = await run(given)
    assert result.tasks == {"a": "failed", "b": "ok"}
    assert result.status == "stopped"
    assert "task a" in result.errors["a"]


async def test_a_budget_may_send_work_to_the_fallback_tier() -> None:
    budget = {"max_turns": 1, "on_exceed": "downgrade_tier"}
    given = squad({"a": {"agent": "ann", "description": "x", "budget": budget}})
    manager = Answers(lambda agent, request: "" if agent == "ann" else "cheap")
    result, _ = await run(given, manager)
    assert result.status == "stopped", "the fallback's turn would pass the cap as well"
    assert [agent for agent, _ in manager.asked] == ["ann"]


async def test_the_callers_own_caps_hold_too() -> None:
    result, _ = await run(squad({"a": "x"}), Answers(cost=20), max_cost_usd=0.00001)
    assert result.status == "stopped"
    with pytest.raises(PlanError, match="idea"):
        await run(squad({"a": "Study ${{ inputs.idea }}"}, inputs={"idea": {"type": "string"}}))


@virtual_time
async def test_a_run_out_of_time_stops_and_keeps_what_is_done() -> None:
    async def answer(agent: str, request: Request) -> str:
        await anyio.sleep(1 if agent == "ann" else 10_000)
        return "done"

    given = squad({"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "y"}})
    result, _ = await run(given, Answers(answer), timeout_s=60, clock=anyio.current_time)
    assert result.status == "stopped"
    assert result.tasks["a"] == "ok"


async def test_stop_lets_calls_in_flight_end_and_starts_nothing_more() -> None:
    stopped = anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        if len(manager.asked) == 2:
            await stopped.wait()
        return "done"

    manager = Answers(answer)
    given = squad(
        {f"t{n}": ("x" if not n else {"agent": "ann", "needs": [f"t{n - 1}"], "description": "x"}) for n in range(5)}
    )
    async with open_run(given, manager=manager) as opened:
        async for event in opened:
            if event.type == "turn.started" and event.unit.task == "t1":
                opened.stop()
                stopped.set()
    result = opened.result
    assert result.status == "cancelled"
    assert result.tasks["t0"] == "ok"
    assert result.tasks["t1"] == "ok", "its call was in flight"
    assert [result.tasks[f"t{n}"] for n in (2, 3, 4)] == ["waiting"] * 3
    assert len(manager.asked) == 2


async def test_leaving_the_block_early_stops_at_once() -> None:
    started = anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        started.set()
        await anyio.sleep_forever()
        return "never"

    manager = Answers(answer)
    with anyio.fail_after(PATIENCE_S):
        async with open_run(squad({"a": "x"}), manager=manager) as opened:
            await started.wait()
    assert manager.at_work == 0
    with pytest.raises(RuntimeError, match="not ended"):
        _ = opened.result


async def test_a_conversation_runs_in_a_squad_and_its_minutes_are_written(tmp_path: Path) -> None:
    given = squad(
        {"talk": {"conversation": "meeting", "description": "Agree on scope.", "output_file": "minutes.md"}},
        conversations={
            "meeting": {
                "pattern": "party",
                "participants": ["ann", "bob"],
                "moderator": "sam",
                "independent_first_round": True,
                "terminate": {"any": [{"max_turns": 9}, {"text": "AGREED", "from": "sam"}]},
            }
        },
        agents="ann bob sam",
    )
    manager = Answers(lambda agent, request: "Scope is small. AGREED" if agent == "sam" else f"{agent} wants more")
    result, events = await run(given, manager, out=tmp_path)
    assert result.status == "done"
    minutes = (tmp_path / "minutes.md").read_text()
    assert minutes.startswith("Scope is small. AGREED")
    assert "ann wants more" in minutes
    assert [m.speaker for m in of_type(events, "message.spoken")] == ["ann", "bob", "sam"]
    assert "bob wants more" not in "".join(manager.prompts("ann"))


async def test_a_tool_that_needs_leave_asks_a_person() -> None:
    ran: list[str] = []

    @tool
    async def deploy(where: str) -> str:
        """Deploy it."""
        ran.append(where)
        return "deployed"

    def answer(agent: str, request: Request) -> Any:
        if request.messages[-1].role == "tool":
            return f"it said: {request.messages[-1].parts[0].content}"  # type: ignore[union-attr]
        call = ToolCall("c1", "deploy", json.dumps({"where": "prod"}))
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    people = {
        "ann": {
            "persona": {"name": "T", "role": "r", "tier": "worker"},
            "tools": [{"name": "deploy", "approval": "ask"}],
        }
    }
    given = squad({"a": "x"}, tools=[deploy], people=people, outputs={"said": "${{ tasks.a.output }}"})
    refused, _ = await run(given, Answers(answer), ask=person(("reject", "")))
    assert ran == []
    assert "refused" in refused.outputs["said"]
    allowed, _ = await run(given, Answers(answer), ask=person(("approve", "")))
    assert (ran, allowed.outputs) == (["prod"], {"said": "it said: deployed"})
    parked, _ = await run(given, Answers(answer))
    assert parked.status == "waiting"


async def test_model_text_is_never_a_template() -> None:
    given = squad({"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "Use ${{ tasks.a.output }}"}})
    manager = Answers(lambda agent, request: "${{ inputs.secret }} {{ 7*7 }} {% raw %}")
    result, _ = await run(given, manager)
    assert result.status == "done"
    assert "Use ${{ inputs.secret }} {{ 7*7 }} {% raw %}" in manager.prompts("bob")[0]


async def test_an_artifact_that_cannot_be_written_pauses_the_run(tmp_path: Path) -> None:
    (tmp_path / "docs").write_text("a file where a folder should be")
    given = squad(
        {
            "a": {"agent": "ann", "description": "x", "output_file": "docs/a.md"},
            "b": {"agent": "bob", "description": "x", "output_file": "b.md"},
        }
    )
    result, _ = await run(given, out=tmp_path)
    assert (result.status, result.tasks) == ("paused", {"a": "waiting", "b": "ok"})
    assert (tmp_path / "b.md").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.md", "docs"], "no temporary file is left"
