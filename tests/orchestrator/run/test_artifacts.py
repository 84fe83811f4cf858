"""The files of a run on a disk that fails, in a folder that holds others' files, and over a resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.run_folder import RunFolder
from orchestrator import Squad
from orchestrator.errors import CannotWrite, FilesTaken
from orchestrator.events import FileKept, GateAnswered
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.artifacts import Artifacts, FileRefused
from orchestrator.runtime import open_run, resume_run
from orchestrator.units import Unit
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio

WRITES = {"agent": "ann", "description": "x", "output_file": "docs/a.md"}
UNIT = Unit("a")


async def first(given: Squad, manager: Any, journal: MemoryJournal, out: Path) -> Any:
    async with open_run(given, run_id="r", manager=manager, journal=journal, out=out) as opened:
        events = [event async for event in opened]
    return opened.result, events


async def again(given: Squad, manager: Any, journal: MemoryJournal, **more: Any) -> Any:
    async with resume_run(given, "r", manager=manager, journal=journal, **more) as opened:
        events = [event async for event in opened]
    return opened.result, events


def file_in_the_way(out: Path) -> Callable[[], None]:
    (out / "docs").write_text("in the way")
    return (out / "docs").unlink


def folder_in_the_way(out: Path) -> Callable[[], None]:
    (out / "docs" / "a.md" / "x").mkdir(parents=True)

    def mend() -> None:
        (out / "docs" / "a.md" / "x").rmdir()
        (out / "docs" / "a.md").rmdir()

    return mend


def link_in_the_way(out: Path) -> Callable[[], None]:
    (out / "docs").symlink_to(out.parent)
    return (out / "docs").unlink


@pytest.mark.parametrize("fault", [file_in_the_way, folder_in_the_way])
async def test_a_fault_that_is_over_soon_is_not_even_told(fault: Callable[[Path], Callable[[], None]], tmp_path: Path):
    mend, waited, told = fault(tmp_path), list[float](), list[Any]()

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        mend()

    files = Artifacts(RunFolder(tmp_path), pause=pause)
    await files.write("docs/a.md", "made", told.append)
    assert (tmp_path / "docs" / "a.md").read_text() == "made"
    assert (len(waited), [event.path for event in told], files.texts) == (1, ["docs/a.md"], {})


WORKS: dict[str, dict[str, Any]] = {
    "agent": WRITES,
    "element": {**WRITES, "for_each": "${{ ['a'] }}", "key": "${{ item }}", "output_file": "docs/${{ item }}.md"},
    "steps": {"steps": [{"id": "s", "agent": "ann", "description": "x"}], "output_file": "docs/a.md"},
    "conversation": {"conversation": "talk", "description": "x", "output_file": "docs/a.md"},
}
TALK = {"talk": {"participants": ["ann", "bob"], "terminate": {"max_turns": 2}}}


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        ("element", file_in_the_way),
        *(
            pytest.param(work, fault, marks=pytest.mark.long)
            for work in ("agent", "steps", "conversation")
            for fault in (file_in_the_way, link_in_the_way)
        ),
    ],
)
async def test_a_fault_that_lasts_pauses_the_run_and_a_resume_writes_what_is_recorded(
    work: str, fault: Callable[[Path], Callable[[], None]], tmp_path: Path
) -> None:
    """It comes while the task is at work: what stands there before is seen before anything is paid for."""
    mends: list[Callable[[], None]] = []

    def answer(agent: str, request: Any) -> str:
        if not mends:
            mends.append(fault(tmp_path))
        return "done"

    manager, journal = Answers(answer), MemoryJournal()
    more = {"conversations": TALK} if work == "conversation" else {}
    given = squad({"a": WORKS[work], "b": {"agent": "ann", "needs": ["a"], "description": "y"}}, **more)
    result, _ = await first(given, manager, journal, tmp_path)
    asked = len(manager.asked)
    assert result.status == "paused"
    assert "docs/a.md cannot be written: " in result.waiting["a"]
    assert list(result.texts) == ["docs/a.md"], "an embedding program still has what was made"
    assert (await replay(journal, "r")).is_equal
    mends[0]()
    result, _ = await again(given, manager, journal)
    assert (result.status, list(result.artifacts), result.texts) == ("done", ["docs/a.md"], {})
    assert len(manager.asked) == asked + 1, "b alone was asked"
    assert "done" in (tmp_path / "docs" / "a.md").read_text()
    assert (await replay(journal, "r")).is_equal


async def test_a_link_that_stands_on_the_way_fails_the_task_before_its_turn(tmp_path: Path) -> None:
    manager = Answers()
    link_in_the_way(tmp_path)
    result, _ = await first(squad({"a": WRITES}), manager, MemoryJournal(), tmp_path)
    assert (result.status, manager.asked) == ("failed", [])
    assert "docs is a symbolic link" in result.errors["a"]


async def test_a_file_that_a_resume_cannot_restore_pauses_it_before_anything_is_paid(tmp_path: Path) -> None:
    manager, journal = Answers(), MemoryJournal()
    gate = {"needs": ["a"], "approval": {"prompt": "?"}}
    given = squad({"a": WRITES, "g": gate, "c": {"agent": "ann", "description": "y", "output_file": "docs/c.md"}})
    result, _ = await first(given, manager, journal, tmp_path)
    assert result.status == "waiting"
    paths = ["docs/a.md", "docs/c.md"]
    for name in ("a.md", "c.md"):
        (tmp_path / "docs" / name).unlink()
    (tmp_path / "docs").rmdir()
    mend = file_in_the_way(tmp_path)
    for _ in range(2):
        result, events = await again(given, manager, journal)
        assert (result.status, sorted(result.waiting), result.artifacts) == ("paused", ["a", "c", "g"], {})
        assert sorted(event.path for event in of_type(events, "file.unwritten")) == paths
    mend()
    result, _ = await again(given, manager, journal)
    assert (result.status, sorted(result.artifacts)) == ("waiting", ["docs/a.md", "docs/c.md"])
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == ["a.md", "c.md"]
    assert len(manager.asked) == 2
    assert (await replay(journal, "r")).is_equal


async def test_a_run_does_not_begin_where_it_would_replace_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("mine")
    each = {**WRITES, "for_each": "${{ inputs.names }}", "key": "${{ item }}", "output_file": "${{ item }}.md"}
    (tmp_path / "2.md").write_text("mine")
    inputs = {"names": {"type": "list", "default": ["1", "2"]}}
    manager = Answers()
    given = squad({"a": WRITES, "each": each}, inputs=inputs)
    with pytest.raises(FilesTaken, match=r"docs/a\.md, 2\.md") as told:
        await run(given, manager, out=tmp_path)
    assert "--overwrite" in told.value.hint
    assert manager.asked == []
    result, _ = await run(given, manager, out=tmp_path, overwrite=True)
    assert result.status == "done"
    assert (tmp_path / "docs" / "a.md").read_text() == "ann: done"


async def test_a_path_that_is_known_late_pauses_before_its_turn_where_it_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("mine")
    late = {"agent": "bob", "needs": ["a"], "description": "y", "output_file": "${{ tasks.a.output }}.md"}
    given, manager, journal = squad({"a": "x", "late": late}), Answers(lambda agent, _: "x"), MemoryJournal()
    result, _ = await first(given, manager, journal, tmp_path)
    assert (result.status, [agent for agent, _ in manager.asked]) == ("paused", ["ann"])
    assert "x.md cannot be written: it exists" in result.waiting["late"]
    assert (tmp_path / "x.md").read_text() == "mine"
    result, _ = await again(given, manager, journal, overwrite=True)
    assert (result.status, (tmp_path / "x.md").read_text()) == ("done", "x")
    assert (await replay(journal, "r")).is_equal


async def test_a_file_that_a_person_edited_stays_on_a_resume_and_is_put_aside_when_it_is_made_again(
    tmp_path: Path,
) -> None:
    answers, journal = iter(["first", "second"]), MemoryJournal()
    manager = Answers(lambda agent, _: next(answers))
    gate = {"needs": ["a"], "approval": {"prompt": "?"}, "on_revise": {"rerun": ["a"], "max_attempts": 2}}
    given = squad({"a": WRITES, "g": gate})
    await first(given, manager, journal, tmp_path)
    file = tmp_path / "docs" / "a.md"
    file.write_text("edited by hand")
    _, events = await again(given, manager, journal)
    assert (file.read_text(), of_type(events, "file.kept")) == ("edited by hand", [FileKept("docs/a.md")])

    async def revise(gate: Any) -> GateAnswered | None:
        return GateAnswered(gate.task, "revise", "better", "terminal") if gate.attempt == 1 else None

    _, events = await again(given, manager, journal, ask=revise)
    assert file.read_text() == "second"
    assert (tmp_path / "docs" / "a.edited-1.md").read_text() == "edited by hand"
    assert of_type(events, "file.kept")[-1] == FileKept("docs/a.md", "docs/a.edited-1.md")
    assert (await replay(journal, "r")).is_equal


async def test_a_resume_into_another_folder_writes_what_was_made_there(tmp_path: Path) -> None:
    manager, journal = Answers(), MemoryJournal()
    given = squad({"a": WRITES, "g": {"needs": ["a"], "approval": {"prompt": "?"}}})
    await first(given, manager, journal, tmp_path / "one")
    result, _ = await again(given, manager, journal, out=tmp_path / "two")
    assert (result.out, (tmp_path / "two" / "docs" / "a.md").read_text()) == (tmp_path / "two", "ann: done")
    assert (await journal.manifest("r")).options["out"] == str(tmp_path / "two")


async def test_what_a_killed_process_wrote_and_did_not_record_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("made")
    await Artifacts(RunFolder(tmp_path)).write("a.md", "made", lambda _: None)
    with pytest.raises(FileRefused, match="it exists"):
        await Artifacts(RunFolder(tmp_path)).write("a.md", "other", lambda _: None)
    assert (tmp_path / "a.md").read_text() == "made"


async def test_a_path_that_is_no_path_of_the_folder_is_claimed_by_nobody(tmp_path: Path) -> None:
    files = Artifacts(RunFolder(tmp_path))
    for path in ("../x", "d/" * 40 + "x", ".git/config", "docs/.ENV"):
        with pytest.raises(CannotWrite):
            files.claim(path, UNIT)
