"""Schemas in files beside the squad: read with it, recorded with it, and wrong where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.fingerprint import changed, parts_of
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run
from providers.documents.problems import ProblemsFound
from tests.orchestrator.squads import Answers

pytestmark = pytest.mark.anyio
STORY: dict[str, Any] = {
    "type": "object",
    "required": ["title"],
    "properties": {"title": {"$ref": "#/$defs/title"}},
    "$defs": {"title": {"type": "string", "maxLength": 9}},
}
SQUAD = """
version: 1
name: t
agents:
  ann: {persona: {name: Ann, role: Answers., tier: worker}}
tasks:
  a: {agent: ann, description: x, output_schema: ./schemas/story.json}
  b:
    steps:
      - {id: one, agent: ann, description: x, output_schema: schemas/story.json}
outputs: {title: "${{ tasks.a.output.title }}"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/story.json").write_text(json.dumps(STORY, indent="\t"), "utf-8")
    (tmp_path / "squad.yaml").write_text(SQUAD, "utf-8")
    return tmp_path / "squad.yaml"


def faults(file: Path) -> list[tuple[str, str, int]]:
    with pytest.raises(ProblemsFound) as found:
        Squad.from_file(file).plan({})
    return [(one.code, Path(one.file).name, one.line) for one in found.value.problems]


async def test_it_is_the_schema_of_the_task_and_kept_with_the_run(file: Path) -> None:
    given = Squad.from_file(file)
    plan = given.plan({})
    assert plan.tasks["a"].work.output_schema == STORY
    assert plan.tasks["b"].work.steps[0].work.output_schema == STORY
    async with SqliteJournal(file.parent / "journal.db") as journal:
        manager = Answers(lambda *_: '{"title": "A"}')
        async with open_run(given, run_id="r", journal=journal, manager=manager) as run:
            async for _ in run:
                pass
        assert run.result.outputs == {"title": "A"}
        assert manager.asked[0][1].output_schema.schema == STORY
        story = file.parent / "schemas/story.json"
        before = parts_of(plan)
        story.write_text('{"type": "object"}', "utf-8")
        assert changed(before, parts_of(Squad.from_file(file).plan({}))) == ["task a", "task b"]
        story.unlink()
        assert (await replay(journal, "r")).is_equal  # the record has the file


@pytest.mark.parametrize(
    ("text", "code", "name", "line"),
    [
        ('{"type": 7}', "bad-schema", "story.json", 1),
        ('{"type": "object",\n "properties": {"a": {"$ref": "other.json"}}}', "bad-schema", "story.json", 2),
        ("[1]", "wrong-type", "story.json", 1),
        ('{"type": ', "bad-yaml", "story.json", 1),
    ],
)
def test_what_is_wrong_in_it_is_told_there(file: Path, text: str, code: str, name: str, line: int) -> None:
    (file.parent / "schemas/story.json").write_text(text, "utf-8")
    assert (code, name, line) in faults(file)


@pytest.mark.parametrize(
    ("written", "code"),
    [("./gone.json", "unreadable-file"), ("../out.json", "unsafe-path"), ("/etc/passwd", "unsafe-path")],
)
def test_a_file_that_is_not_there_or_elsewhere(file: Path, written: str, code: str) -> None:
    file.write_text(SQUAD.replace("./schemas/story.json", written), "utf-8")
    assert (code, "squad.yaml", 7) in faults(file)
