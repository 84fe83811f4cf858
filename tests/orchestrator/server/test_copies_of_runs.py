"""Runs that are forked, exported and listened to through the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.testing import scripted
from tests.orchestrator.server.served import SECRET, served, streamed
from tests.orchestrator.server.test_api import squad, until_state

pytestmark = pytest.mark.anyio


async def test_a_fork_takes_over_what_was_done_and_goes_on_by_itself(tmp_path: Path) -> None:
    async with (
        scripted("A draft.", "Another.") as manager,
        served(manager, tmp_path, None, [squad()]) as server,
    ):
        await server.http.post("/api/runs", json={"squad": "notes", "run_id": "one"})
        await until_state(server, "one", "waiting")
        nothing = await server.http.post("/api/runs/one/fork", json={"preview": True})
        assert nothing.status_code == 200, nothing.text
        shown = await server.http.post("/api/runs/one/fork", json={"inputs": {"topic": "coffee"}, "preview": True})
        assert shown.json() == {
            "run_id": None,
            "edited": ["input topic"],
            "tasks": [
                {"task": "draft", "before": "ok", "now": "runs again", "why": "input topic was edited"},
                {"task": "gate", "before": "gate", "now": "runs again", "why": "it needs draft"},
                {"task": "tell", "before": "", "now": "runs", "why": ""},
            ],
        }
        begun = await server.http.post("/api/runs/one/fork", json={"inputs": {"topic": "coffee"}, "run_id": "two"})
        assert (begun.status_code, begun.json()["run_id"]) == (201, "two"), begun.text
        await until_state(server, "two", "waiting")
        assert "coffee" in manager.requests[-1].messages[-1].text
        kept = await server.http.post("/api/runs/two/fork", json={"start": "gate", "run_id": "three"})
        assert [(one["task"], one["now"]) for one in kept.json()["tasks"]][:2] == [
            ("draft", "kept"),
            ("gate", "runs again"),
        ]
        for wrong, status in (({"start": "nothing"}, 404), ({"run_id": "one"}, 409), ({"inputs": {"topi": 1}}, 422)):
            refused = await server.http.post("/api/runs/one/fork", json={"start": "draft", **wrong})
            assert refused.status_code == status, refused.text
        assert (await server.http.post("/api/runs/none/fork", json={})).status_code == 404


async def test_a_run_is_exported_by_who_may_change_something(tmp_path: Path) -> None:
    async with scripted("A draft.") as manager, served(manager, tmp_path, None, [squad()]) as server:
        await server.http.post("/api/runs", json={"squad": "notes", "run_id": "one"})
        await until_state(server, "one", "waiting")
        sent = await server.http.get("/api/runs/one/export")
        assert sent.headers["content-disposition"].startswith('attachment; filename="one.run.db"')
        (tmp_path / "one.run.db").write_bytes(sent.content)
        async with SqliteJournal(tmp_path / "one.run.db") as copy:
            assert next(event.type for event in await copy.events("one")) == "run.started"
        viewer = {"authorization": "", "cookie": f"{server.access.cookie_name}={server.access.session('viewer')}"}
        assert (await server.http.get("/api/runs/one/export", headers=viewer)).status_code == 403
        assert (await server.http.get("/api/runs/none/export")).status_code == 404


@pytest.mark.parametrize("stream", [True, False])
async def test_what_agents_say_is_told_once_to_who_comes_back_and_after_a_resume(
    tmp_path: Path, *, stream: bool
) -> None:
    def told(heard: list[dict[str, str]]) -> list[dict[str, Any]]:
        return [json.loads(one["data"]) for one in heard]

    async with (
        scripted(f"A draft with {SECRET}.", "Told.") as manager,
        served(manager, tmp_path, None, [squad()]) as server,
    ):
        await server.http.post("/api/runs", json={"squad": "notes", "run_id": "one", "stream": stream})
        first = await streamed(server, "/api/runs/one/answers", 2)
        assert [one["kind"] for one in told(first)] == ["text", "ended"]
        assert (told(first)[0]["text"], told(first)[0]["anew"]) == ("A draft with ***.", True)
        await until_state(server, "one", "waiting")
        await server.http.post("/api/approvals/one", json={"choice": "approve"})
        await until_state(server, "one", "done")
        rest = await streamed(server, "/api/runs/one/answers", 2, {"last-event-id": "1.0."})
        assert told(rest)[0]["text"] == "Told."
        whole = await streamed(server, "/api/runs/one/answers", 4, {"last-event-id": "0"})
        assert [one["text"] for one in told(whole) if one["kind"] == "text"] == ["A draft with ***.", "Told."]
        wrong = await server.http.get("/api/runs/one/answers", params={"after": "x"})
        assert wrong.status_code == 422
