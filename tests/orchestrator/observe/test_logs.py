"""What a server logs of what happens: with the run, the task and the turn, and without anybody's words."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from orchestrator.observe.logs import LogLevel, LogLines, open_log
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio


async def lines(level: LogLevel, answers: Any = None, form: str = "json") -> str:
    file = io.StringIO()
    log = LogLines(open_log(form, color=False, file=file, level=level), lambda document: document)
    await run(squad({"a": "Secret words."}), Answers(answers), run_id="r", subscribers=[log])
    return file.getvalue()


async def test_each_line_has_the_run_the_task_and_the_turn() -> None:
    documents = [json.loads(line) for line in (await lines("debug")).splitlines()]
    assert {document["run"] for document in documents} == {"r"}
    ended = next(document for document in documents if document["event"] == "turn.ended")
    assert (ended["task"], ended["turn"], ended["agent"], ended["level"]) == ("a", 1, "ann", "debug")
    told = [document["event"] for document in documents if document["level"] == "info"]
    assert told == ["run.started", "task.started", "task.ended", "run.finished"]
    assert "Secret words" not in str(documents)
    assert "ann: done" not in str(documents), "answers stand in the record"


async def test_only_what_is_of_the_level_is_logged() -> None:
    def fail(agent: str, _: Any) -> str:
        raise RuntimeError("no luck")

    documents = [json.loads(line) for line in (await lines("warning", fail)).splitlines()]
    assert [(document["event"], document["level"]) for document in documents] == [
        ("task.ended", "warning"),
        ("run.finished", "warning"),
    ]
    assert documents[0]["error"] == "no luck"
    assert await lines("error", fail) == ""
    assert "task.ended" in await lines("info", form="console")
