"""Answers to what runs ask, given at the same time and too late: the first counts, none is lost, a run goes on once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from tests.orchestrator.server.served import Served, served
from tests.orchestrator.server.test_api import until_state
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
TWO = """
name: two
agents: {ann: {persona: analyst}}
tasks:
  draft: {agent: ann, description: Write.}
  good: {needs: [draft], approval: {prompt: "Is it good?", show: [draft]}}
  safe:
    needs: [draft]
    approval: {prompt: "Is it safe?", choices: [approve, revise, reject], show: [draft]}
    on_revise: {rerun: [draft], max_attempts: 3}
  tell: {agent: ann, needs: [good, safe], description: Tell it.}
"""


async def side_by_side(server: Served, run: str, *bodies: dict[str, Any]) -> list[Any]:
    answers: list[Any] = [None] * len(bodies)

    async def post(at: int, body: dict[str, Any]) -> None:
        answers[at] = await server.http.post(f"/api/approvals/{run}", json=body)

    async with anyio.create_task_group() as tasks:
        for at, body in enumerate(bodies):
            tasks.start_soon(post, at, body)
    return answers


@pytest.fixture
def squad() -> Squad:
    return Squad.from_text(TWO, "two.yaml")


async def test_two_answers_at_once_both_count_and_one_of_two_to_the_same_question(squad: Squad, tmp_path: Path) -> None:
    async with scripted("A draft.", "Told.") as manager, served(manager, tmp_path, None, [squad]) as server:
        run = (await server.http.post("/api/runs", json={"squad": "two"})).json()["run_id"]
        await until_state(server, run, "waiting")
        good, wrong, safe = await side_by_side(
            server,
            run,
            {"question": "good", "choice": "approve", "by": "ann"},
            {"question": "good", "choice": "reject", "by": "bob"},
            {"question": "safe", "choice": "approve"},
        )
        told = {answer.status_code: answer.json() for answer in (good, wrong)}
        assert told[409]["error"]["code"] == "already_answered"
        assert f"by {'ann' if good.status_code == 200 else 'bob'}" in told[409]["error"]["message"]
        assert told[200]["goes_on"]
        assert safe.json()["goes_on"], safe.text
        await until_state(server, run, "done" if good.status_code == 200 else "rejected")
        events = [event.type for event in await server.state.journal.events(run)]
    assert events.count("gate.answered") == 2
    assert events.count("run.resumed") <= 2


async def test_a_question_is_not_sent_back_without_a_word(squad: Squad, tmp_path: Path) -> None:
    async with scripted("A draft.") as manager, served(manager, tmp_path, None, [squad]) as server:
        run = (await server.http.post("/api/runs", json={"squad": "two"})).json()["run_id"]
        await until_state(server, run, "waiting")
        empty = {"question": "safe", "choice": "revise", "comment": " "}
        refused = await server.http.post(f"/api/approvals/{run}", json=empty)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "comment_missing")
        assert len((await server.http.get("/api/approvals")).json()["approvals"]) == 2


@pytest.mark.long
async def test_an_answer_to_a_question_that_is_asked_anew_does_not_count(squad: Squad, tmp_path: Path) -> None:
    async with scripted("A draft.", "Better.") as manager, served(manager, tmp_path, None, [squad]) as server:
        run = (await server.http.post("/api/runs", json={"squad": "two"})).json()["run_id"]
        await until_state(server, run, "waiting")
        shown = {one["question"]: one for one in (await server.http.get("/api/approvals")).json()["approvals"]}
        again = {"question": "safe", "choice": "revise", "comment": "Shorter."}
        assert (await server.http.post(f"/api/approvals/{run}", json=again)).status_code == 200
        with anyio.fail_after(PATIENCE_S):
            while len((await server.http.get("/api/approvals")).json()["approvals"]) < 2:  # noqa: ASYNC110  # as a client waits
                await anyio.sleep(0.01)
        stale = {"question": "safe", "choice": "approve", "digest": "0" * 64}
        refused = await server.http.post(f"/api/approvals/{run}", json=stale)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "question_changed")
        late = {"question": "safe", "choice": "approve", "digest": shown["safe"]["digest"]}
        refused = await server.http.post(f"/api/approvals/{run}", json=late)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "already_answered")
        assert "revise by api" in refused.json()["error"]["message"]
