"""The API as a program meets it: runs begun, followed, cancelled; approvals answered; who may do what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from tests.orchestrator.server.served import SECRET, Served, served, streamed
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
SQUAD = """
name: notes
inputs: {topic: {default: tea}}
agents: {ann: {persona: analyst}}
tasks:
  draft: {agent: ann, description: "Write about ${{ inputs.topic }}."}
  gate: {needs: [draft], approval: {prompt: "Is it good?", show: [draft]}}
  tell: {agent: ann, needs: [gate], description: Tell it.}
outputs: {text: "${{ tasks.tell.output }}"}
"""


def squad() -> Squad:
    return Squad.from_text(SQUAD, "notes.yaml")


async def until_state(server: Served, run: str, state: str) -> dict[str, Any]:
    with anyio.fail_after(PATIENCE_S):
        while True:
            shown: dict[str, Any] = (await server.http.get(f"/api/runs/{run}")).json()
            if shown["state"] == state:
                return shown
            await anyio.sleep(0.01)


async def test_a_run_is_begun_awaits_approval_and_goes_on_with_the_answer(tmp_path: Path) -> None:
    async with (
        scripted(f"A draft with {SECRET}.", "Told.") as manager,
        served(manager, tmp_path, None, [squad()]) as server,
    ):
        begun = await server.http.post("/api/runs", json={"squad": "notes", "inputs": {"topic": "coffee"}})
        assert begun.status_code == 201, begun.text
        run = begun.json()["run_id"]
        waiting = await until_state(server, run, "waiting")
        assert [task["status"] for task in waiting["tasks"]] == ["ok", "gate", "waiting"]
        (asked,) = (await server.http.get("/api/approvals")).json()["approvals"]
        assert (asked["run_id"], asked["question"], asked["shown"]) == (run, "gate", {"draft": "A draft with ***."})
        wrong = await server.http.post(f"/api/approvals/{run}", json={"choice": "maybe"})
        assert wrong.status_code == 422
        form = await server.http.post(f"/api/approvals/{run}", content='{"choice": "approve"}')
        assert "Content-Type: application/json" in form.json()["error"]["hint"]
        answered = await server.http.post(f"/api/approvals/{run}", json={"choice": "approve"})
        assert answered.json() == {"question": "gate", "choice": "approve", "goes_on": True, "note": ""}
        done = await until_state(server, run, "done")
        again = {"choice": "reject", "digest": asked["digest"]}
        twice = await server.http.post(f"/api/approvals/{run}", json=again)
        assert (twice.status_code, twice.json()["error"]["code"]) == (409, "already_answered")
        assert "approve by api" in twice.json()["error"]["message"]
        assert [task["turns"] for task in done["tasks"]] == [1, 0, 1]
        listed = (await server.http.get("/api/runs", params={"status": "done"})).json()["runs"]
        assert [one["run_id"] for one in listed] == [run]
    assert "coffee" in manager.requests[0].messages[-1].text


async def test_events_are_followed_and_gone_on_with_after_a_break(tmp_path: Path) -> None:
    async with scripted(f"It is {SECRET}.") as manager, served(manager, tmp_path, None, [squad()]) as server:
        run = (await server.http.post("/api/runs", json={"squad": "notes"})).json()["run_id"]
        last = (await until_state(server, run, "waiting"))["last_event"]
        whole = await events_of(server, run, last, {})
        assert [number for number, _ in whole] == list(range(1, last + 1))
        assert whole[0][1]["type"] == "run.started"
        assert SECRET not in json.dumps(whole)
        assert await events_of(server, run, last - 3, {"last-event-id": "3"}) == whole[3:]


async def events_of(server: Served, run: str, count: int, headers: Mapping[str, str]) -> list[tuple[int, Any]]:
    told = await streamed(server, f"/api/runs/{run}/events", count, headers)
    return [(int(one["id"]), json.loads(one["data"])) for one in told]


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/runs", {"squad": "note"}, 404),
        ("POST", "/api/runs", {"squad": "notes", "inputs": {"topi": "x"}}, 422),
        ("POST", "/api/runs", {"squad": "notes", "more": 1}, 422),
        ("POST", "/api/runs", {"squad": "notes", "priority": 1}, 422),
        ("POST", "/api/runs", {"squad": "notes", "run_id": "../x"}, 422),
        ("GET", "/api/runs/none", None, 404),
        ("GET", "/api/runs?status=lost", None, 422),
        ("GET", "/api/runs?limit=0", None, 422),
        ("GET", "/api/runs/none/events?after=99999999999999999999", None, 422),
        ("POST", "/api/runs/none/cancel", None, 404),
        ("POST", "/api/runs/none/resume", None, 404),
        ("POST", "/api/approvals/none", {"choice": "approve"}, 404),
        ("GET", "/api/nothing", None, 404),
    ],
)
async def test_what_cannot_be_is_told(method: str, path: str, body: Any, status: int, tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path, None, [squad()]) as server:
        answer = await server.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) >= {"code", "message"}


@pytest.mark.parametrize("path", ["/api/runs", "/api/runs/r/resume", "/api/runs/r/fork"])
@pytest.mark.parametrize("cap", ["max_cost_usd", "timeout_s"])
async def test_no_number_is_a_cap_without_an_end(path: str, cap: str, tmp_path: Path) -> None:
    """JSON's 1e400 is read as infinity."""
    squad_of = '"squad": "notes", ' if path == "/api/runs" else ""
    async with scripted() as manager, served(manager, tmp_path, None, [squad()]) as server:
        headers = {"content-type": "application/json"}
        answer = await server.http.post(path, headers=headers, content=f'{{{squad_of}"{cap}": 1e400}}')
    assert (answer.status_code, cap in answer.json()["error"]["message"]) == (422, True), answer.text


async def test_who_has_no_access_gets_nothing_and_a_viewer_changes_nothing(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path, None, [squad()]) as server:
        forged = {"authorization": "", "cookie": f"{server.access.cookie_name}=operator.9999999999.x.y"}
        for headers in ({"authorization": ""}, {"authorization": "Bearer no"}, forged):
            assert (await server.http.get("/api/runs", headers=headers)).status_code == 401, headers
        cookie = {"authorization": "", "cookie": f"{server.access.cookie_name}={server.access.session('viewer')}"}
        assert (await server.http.get("/api/runs", headers=cookie)).status_code == 200
        assert (await server.http.post("/api/runs", headers=cookie, json={"squad": "notes"})).status_code == 403


def test_a_link_is_followed_once_and_not_too_late(tmp_path: Path) -> None:
    from orchestrator.server.access import LINK_S, Access

    now = [1000.0]
    access = Access(tmp_path, lambda: now[0])
    token, late = access.link("viewer"), access.link("operator")
    assert access.follow(token) is not None
    assert access.follow(token) is None
    now[0] += LINK_S + 1
    assert access.follow(late) is None
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}


async def test_half_of_a_character_is_told_and_breaks_nothing(tmp_path: Path) -> None:
    bodies = {
        "/api/runs": {"squad": "\ud83d"},
        "/api/approvals/\ud83d": {"choice": "approve"},
        "/api/providers/rebalance": {"preview": True, "weights": {"\ud83d": 1}},
    }
    async with scripted() as manager, served(manager, tmp_path, None, [squad()]) as server:
        for path, body in bodies.items():
            headers = {"content-type": "application/json"}
            answer = await server.http.post(path.replace("\ud83d", "x"), content=json.dumps(body), headers=headers)
            assert 400 <= answer.status_code < 500, answer.text
            assert answer.json()["error"]["message"]


async def test_nobody_waits_for_others_runs_to_end(tmp_path: Path) -> None:
    async with (
        scripted("A draft.", "Told.") as manager,
        served(manager, tmp_path, None, [squad()]) as server,
    ):
        run = (await server.http.post("/api/runs", json={"squad": "notes"})).json()["run_id"]
        await until_state(server, run, "waiting")
        server.state.host._room.total_tokens = 1
        async with server.state.host._room:
            for path, body in (("/api/runs", {"squad": "notes"}), (f"/api/runs/{run}/resume", None)):
                full = await server.http.post(path, json=body)
                assert (full.status_code, full.json()["error"]["code"]) == (503, "busy"), full.text
            answered = await server.http.post(f"/api/approvals/{run}", json={"choice": "approve"})
            assert (answered.status_code, answered.json()["goes_on"]) == (200, True)
        assert (await until_state(server, run, "done"))["tasks"][-1]["status"] == "ok"


async def test_a_run_that_is_begun_twice_is_told_so_also_where_its_files_lie(tmp_path: Path) -> None:
    task = "{agent: ann, description: x, output_file: a.md}"
    given = Squad.from_text(
        f"name: notes\nagents: {{ann: {{persona: analyst}}}}\ntasks: {{draft: {task}}}", "notes.yaml"
    )
    async with scripted("A draft.") as manager, served(manager, tmp_path, None, [given]) as server:
        server.state.host._out = tmp_path / "out"
        asked = {"squad": "notes", "run_id": "mine"}
        assert (await server.http.post("/api/runs", json=asked)).status_code == 201
        await until_state(server, "mine", "done")
        assert (tmp_path / "out" / "mine" / "a.md").read_text("utf-8") == "A draft."
        again = await server.http.post("/api/runs", json=asked)
        copied = await server.http.post("/api/runs/mine/fork", json={"start": "draft", "run_id": "mine"})
    for refused in (again, copied):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "RunExists"), refused.text
