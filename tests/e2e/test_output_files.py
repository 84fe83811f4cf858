"""Where a run may write, seen from the embedding side: what cannot be written is known before anything is paid for."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import CannotWrite, PlanError
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio

INPUTS = {"name": {"type": "string", "default": "x"}}


def writes(path: str, **more: object) -> dict[str, object]:
    return {"agent": "ann", "description": "x", "output_file": path, **more}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "~root", "a\\b", "b/"])
async def test_a_path_that_an_input_leads_outside_costs_nothing(tmp_path: Path, name: str) -> None:
    given = squad({"a": writes("${{ inputs.name }}"), "b": {**writes("b.md"), "agent": "bob"}}, inputs=INPUTS)
    manager = Answers()
    with pytest.raises(PlanError, match="unsafe-path"):
        await run(given, manager, inputs={"name": name}, out=tmp_path / "out")
    assert (manager.asked, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("name", ["../x", "a\\b", ".git/config", "x/AGENT_ROUTING.yaml", "d/" * 1200 + "x"])
async def test_a_bad_path_that_a_model_made_fails_its_task_before_its_turn(tmp_path: Path, name: str) -> None:
    late = {**writes("${{ tasks.b.output }}"), "needs": ["b"]}
    manager = Answers(lambda agent, request: name)
    result, _ = await run(
        squad({"a": late, "b": {"agent": "bob", "description": "x", "output_file": "b.md"}}), manager, out=tmp_path
    )
    assert (result.tasks, result.error_kinds) == ({"b": "ok", "a": "failed"}, {"a": "CannotWrite"})
    assert [agent for agent, _ in manager.asked] == ["bob"]
    assert [p.name for p in tmp_path.iterdir()] == ["b.md"]


async def test_elements_whose_paths_turn_out_equal_do_not_overwrite_each_other(tmp_path: Path) -> None:
    task = writes("${{ item.kind }}.md", for_each="${{ [{'id': 1, 'kind': 'A'}, {'id': 2, 'kind': 'a'}] }}")
    given = squad({"a": {**task, "key": "${{ item.id }}", "description": "Write ${{ item.id }}"}})
    manager = Answers(lambda agent, request: request.messages[-1].text)
    result, events = await run(given, manager, out=tmp_path)
    assert result.status == "failed"
    assert "Write 1" in (tmp_path / "A.md").read_text()
    [failed] = [e.data for e in events if e.type == "element.ended" and e.data.status == "failed"]
    assert "it is the file of a[1]" in failed.error


@pytest.mark.parametrize("out", ["taken", "taken/below", "/proc/nothing/here"])
async def test_a_folder_that_cannot_be_made_stops_the_run_before_it_starts(tmp_path: Path, out: str) -> None:
    (tmp_path / "taken").write_text("a file")
    manager = Answers()
    with pytest.raises(CannotWrite, match="cannot be written"):
        await run(squad({"a": writes("a.md")}), manager, out=tmp_path / out)
    assert manager.asked == []


async def test_a_run_that_writes_nothing_makes_no_folder(tmp_path: Path) -> None:
    result, _ = await run(squad({"a": "x"}), out=tmp_path / "out")
    assert result.status == "done"
    assert list(tmp_path.iterdir()) == []
