"""A `repeat` whose attempts are used up keeps the last one, where the squad goes on without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import GateAnswered, Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import resume_run
from providers.messages import Request
from tests.orchestrator.run.test_truncation import cut
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio

BEST = Path(__file__).parents[4] / "shared" / "cases" / "squads" / "best.yaml"
REPEAT = {"until": "${{ false }}", "max_attempts": 2}


class _Numbered(Answers):
    def __init__(self) -> None:
        super().__init__(lambda agent, request: f"{agent} {len(self.asked)}")


async def test_later_tasks_outputs_and_the_file_have_the_last_attempt(tmp_path: Path) -> None:
    tasks = {
        "a": {"agent": "ann", "description": "x", "repeat": REPEAT, "continue_on_error": True, "output_file": "a.md"},
        "b": {"agent": "bob", "needs": ["a"], "description": "${{ tasks.a.status }} ${{ tasks.a.output_file }}"},
    }
    manager = _Numbered()
    result, _ = await run(squad(tasks, outputs={"a": "${{ tasks.a.output }}"}), manager, out=tmp_path)
    assert (result.status, result.tasks, result.outputs) == ("done", {"a": "failed", "b": "ok"}, {"a": "ann 2"})
    assert "# Context: a\n\nann 2" in manager.prompts("bob")[0]
    assert "failed a.md" in manager.prompts("bob")[0]
    assert (tmp_path / "a.md").read_text() == "ann 2"


async def test_where_the_run_does_not_go_on_nothing_is_kept() -> None:
    result, _ = await run(squad({"a": {"agent": "ann", "description": "x", "repeat": REPEAT}}), _Numbered())
    assert (result.status, result.errors) == ("failed", {"a": "`until` of a did not hold in 2 attempts"})


async def test_elements_keep_theirs_and_what_is_cut_off_in_them_is_named() -> None:
    each = {"for_each": "${{ ['x', 'y'] }}", "key": "${{ item }}", "max_parallel": 1, "fail_fast": False}
    task = {"agent": "ann", "description": "Do ${{ item }}.", "repeat": REPEAT, "continue_on_error": True, **each}
    manager = Answers(lambda agent, request: cut("half") if "Do y" in request.messages[-1].text else "whole")
    result, _ = await run(squad({"a": task}, outputs={"all": "${{ tasks.a.output }}"}), manager)
    assert result.outputs == {"all": ["whole", "half"]}
    assert [one.place for one in result.truncated["a"]] == ["y"]


async def test_a_resumed_run_and_a_replay_have_it_too() -> None:
    journal: Any = MemoryJournal()
    tasks = {
        "a": {"agent": "ann", "description": "x", "repeat": REPEAT, "continue_on_error": True},
        "ask": {"needs": ["a"], "approval": {"prompt": "Go on?"}},
        "b": {"agent": "bob", "needs": ["ask", "a"], "description": "Take it."},
    }
    given, manager = squad(tasks), _Numbered()
    first, _ = await run(given, _Numbered(), journal=journal, run_id="r")
    assert first.status == "waiting"

    async def yes(gate: Any) -> GateAnswered:
        return GateAnswered(gate.task, "approve", "", "api")

    async with resume_run(given, "r", journal=journal, manager=manager, ask=yes) as again:
        _ = [event async for event in again]
    assert again.result.status == "done"
    assert "ann 2" in manager.prompts("bob")[0]
    assert (await replay(journal, "r", against=given)).is_equal


async def test_a_truncated_text_is_tried_again_where_the_squad_says_so() -> None:
    made = iter([cut("one"), cut("two"), "whole"])
    manager = Answers(lambda agent, request: next(made))
    task = {"agent": "ann", "description": "x", "retry": {"on": ["truncated"], "max_attempts": 3}}
    journal: Any = MemoryJournal()
    given = squad({"a": task}, outputs={"a": "${{ tasks.a.output }}"})
    result, events = await run(given, manager, journal=journal, run_id="r")
    assert (result.outputs, result.truncated) == ({"a": "whole"}, {})
    retried = [event.data for event in events if event.type == "task.retried"]
    assert [one.error for one in retried] == ["the text was cut off at 5 tokens"] * 2
    assert (await replay(journal, "r", against=given)).is_equal


async def test_the_last_try_keeps_what_there_is() -> None:
    task = {"agent": "ann", "description": "x", "retry": {"on": ["truncated"], "max_attempts": 2}}
    manager = Answers(lambda agent, request: cut())
    result, _ = await run(squad({"a": task}, outputs={"a": "${{ tasks.a.output }}"}), manager)
    assert (result.status, result.outputs, len(manager.asked)) == ("done", {"a": "half a"}, 2)
    assert list(result.truncated) == ["a"]


@pytest.mark.skipif(not BEST.exists(), reason="needs the shared cases beside the repository")
async def test_the_small_squad_of_the_shared_cases_saves_its_last_draft() -> None:
    def answer(agent: str, request: Request) -> str:
        return '{"approved": false}' if agent == "editor" else f"draft {len(manager.asked)}"

    manager = Answers(answer)
    result, _ = await run(Squad.from_file(BEST), manager)
    assert (result.tasks, result.outputs) == ({"post": "failed", "save": "ok"}, {"post": "draft 3"})
    assert "Take draft 3 / failed" in manager.prompts("writer")[-1]
