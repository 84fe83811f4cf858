"""Providers over the API: their state, how load is spread, and changing that while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.squad.load import Squad
from providers.client.control_log import ControlFollower, ControlLog
from providers.client.manager import ProviderManager
from providers.policy.model import AgentPolicy
from tests.orchestrator.server.served import SECRET, Served, served
from tests.orchestrator.server.test_api import squad, until_state
from tests.providers.client.test_manager import ASK, Net, manager_of, ok, refused

pytestmark = [pytest.mark.anyio, pytest.mark.long]
PATH = "/api/providers/rebalance"


@asynccontextmanager
async def serving(
    folder: Path, net: Net | None = None, squads: Sequence[Squad] = (), **policy: Any
) -> AsyncIterator[tuple[Served, ProviderManager]]:
    manager = manager_of(net or Net({"a": [ok()], "b": [ok()]}), **policy)
    manager.follower = ControlFollower(ControlLog(folder))
    async with served(manager, folder, None, squads) as server:
        yield server, manager


async def change(server: Served, version: int | None, status: int = 200, **asked: Any) -> dict[str, Any]:
    body = {"reason": "a new key", **asked} | ({} if version is None else {"expected_version": version})
    answer = await server.http.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_change_is_shown_made_recorded_conflicts_and_is_undone(tmp_path: Path) -> None:
    agents = {"pinned": AgentPolicy(model="a/m")}
    async with serving(tmp_path, agents=agents) as (server, manager):
        shown = await change(server, None, preview=True, weights={"a": 0.25, "b": 0.75}, strategy="weighted")
        assert shown["changes"] == [
            "the weight of a: none → 0.25",
            "the weight of b: none → 0.75",
            "the strategy: the policy’s → weighted",
        ]
        assert (shown["applied"], shown["version"], ControlLog(tmp_path).stamp()) == (False, 0, None)
        done = await change(server, 0, weights={"a": 0.25, "b": 0.75}, strategy="weighted", by="Ann")
        assert (done["applied"], done["version"]) == (True, 1)
        counts = [(await manager.complete(ASK)).provider for _ in range(8)]
        assert (counts.count("a"), counts.count("b")) == (2, 6)
        stale = await change(server, 0, 409, drain=["b"])
        assert (stale["error"]["code"], stale["present"]["version"]) == ("stale_version", 1)
        alone = await change(server, 1, 409, drain=["a"])
        assert alone["error"]["code"] == "no_provider_left"
        assert "the agent 'pinned' would have no provider" in alone["error"]["message"]
        await change(server, 1, drain=["a"], force=True, reason=f"its key is {SECRET}")
        assert (await manager.complete(ASK)).provider == "b"
        status = (await server.http.get("/api/providers/status")).json()
        first, second = status["providers"]
        assert (first["why_not"], second["why_not"]) == ("drained by an operator: its key is ***", "")
        assert (first["weight"], second["share"], status["control"]["version"]) == (0.25, 7 / 9, 2)
        await change(server, 2, undo=2)
        await change(server, 3, undo=3, force=True)
        assert (await change(server, 4, 404, undo=9))["error"]["code"] == "no_change"
        changes = (await server.http.get("/api/providers/changes")).json()["changes"]
        assert [(one["version"], one["restores"], one["by"]) for one in changes] == [
            (4, 2, "api"),
            (3, 1, "api"),
            (2, None, "api"),
            (1, None, "Ann (api)"),
        ]
        assert changes[0]["after"]["holds"]["a"]["kind"] == "drained", "what was undone is undone"
        assert changes[2]["reason"] == "its key is ***"


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"weights": {"a": -1}}, 422, "the weight of a is -1.0"),
        ({"weights": {"größe": 1}}, 422, "there is no provider 'größe' here"),
        ({"pause": ["b", "a"]}, 409, "the tier 'worker' would have no provider to ask: a/m, b/m"),
        ({"weights": {"a": 0, "b": 0}, "strategy": "weighted"}, 409, "would have no provider to ask"),
        ({"resume": ["a"]}, 422, "neither drained nor paused"),
        ({}, 422, "nothing is to be changed"),
        ({"drain": ["a"], "reason": " "}, 422, "give a reason"),
        ({"drain": ["a"], "undo": 1}, 422, "undo cannot be combined"),
        ({"drain": ["a"], "expected_version": None}, 422, "give expected_version"),
        ({"drain": ["a"], "no_such": 1}, 422, "no_such"),
        ({"pause": ["a"], "pause_for_s": 0}, 422, "pause_for_s"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(
    tmp_path: Path, asked: dict[str, Any], status: int, said: str
) -> None:
    async with serving(tmp_path) as (server, _):
        body = {"reason": "so", "expected_version": 0, **asked}
        answer = await server.http.post(PATH, json=body)
        assert (answer.status_code, ControlLog(tmp_path).stamp()) == (status, None), answer.text
        assert said in answer.json()["error"]["message"]
        raw = '{"expected_version": 0, "reason": "x", "weights": {"a": NaN}}'
        nan = await server.http.post(PATH, content=raw, headers={"content-type": "application/json"})
        assert nan.status_code == 422


async def test_a_viewer_looks_and_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, _):
        headers = {"authorization": "", "cookie": f"{server.access.cookie_name}={server.access.session('viewer')}"}
        assert (await server.http.get("/api/providers/load", headers=headers)).status_code == 200
        body = {"reason": "so", "expected_version": 0, "drain": ["a"]}
        assert (await server.http.post(PATH, json=body, headers=headers)).status_code == 403
        assert (await server.http.post(PATH, json=body, headers={"authorization": ""})).status_code == 401
        shown = await server.http.get("/load/rebalance?preview=1&use.a=drained", headers=headers)
        assert ("a: in use → drained" in shown.text, '<form method="post"' in shown.text) == (True, False)
        posted = await server.http.post("/load/rebalance?preview=1&use.a=drained", data=body, headers=headers)
        assert posted.status_code == 403
        assert ControlLog(tmp_path).stamp() is None


async def test_of_operators_at_once_one_changes_something_and_the_others_are_told(tmp_path: Path) -> None:
    statuses: list[int] = []
    async with serving(tmp_path) as (server, _), anyio.create_task_group() as tasks:

        async def ask() -> None:
            body = {"reason": "so", "expected_version": 0, "drain": ["a"]}
            statuses.append((await server.http.post(PATH, json=body)).status_code)

        for _ in range(5):
            tasks.start_soon(ask)
    assert sorted(statuses) == [200, 409, 409, 409, 409]
    assert ControlLog(tmp_path).present().version == 1


async def test_load_is_told_by_tier_and_agent_with_failovers(tmp_path: Path) -> None:
    net = Net({"a": [refused(503, f"busy {SECRET}"), ok()], "b": [ok()], "idle": [ok()]})
    async with serving(tmp_path, net) as (server, manager):
        await manager.complete(ASK)
        load = (await server.http.get("/api/providers/load")).json()
        (tier,) = load["tiers"]
        assert (tier["tier"], tier["answered"]) == ("worker", 1)
        assert [(one["provider"], one["share"]) for one in tier["providers"]] == [("b", 1.0)]
        (failover,) = load["failovers"]
        assert (failover["origin"], failover["target"], failover["count"]) == ("a/m", "b/m", 1)
        assert failover["words"] == "it is overloaded"
        first, _, idle = (await server.http.get("/api/providers/status")).json()["providers"]
        (endpoint,) = first["endpoints"]
        assert endpoint["last_error"]["detail"] == "busy ***"
        assert (endpoint["breaker"]["state"], endpoint["breaker"]["faults_in_a_row"]) == ("closed", 1)
        assert (first["five_minutes"]["success"], idle["five_minutes"]["success"]) == (0.0, None)


async def test_the_pages_show_it_and_rebalance_in_three_steps(tmp_path: Path) -> None:
    async with serving(tmp_path, Net({"a": [refused(503), ok()], "größe": [ok()]})) as (server, manager):
        await manager.complete(ASK)
        led = await server.http.get("/provider-status", follow_redirects=True)
        assert "it is overloaded" in led.text
        assert "größe/m" in (await server.http.get("/load")).text
        asked = {"preview": "1", "strategy": "policy", "use.a": "drained", "use.größe": "in-use", "weight.größe": "0.5"}
        preview = await server.http.get("/load/rebalance", params=asked)
        assert "a: in use → drained" in preview.text
        assert "weights change nothing while the strategy is `tier`" in preview.text
        assert ControlLog(tmp_path).stamp() is None
        why = {"version": "0", "reason": "<script>alert(1)</script>", "by": "Ann"}
        lacking = await server.http.post("/load/rebalance", params=asked, data={**why, "reason": ""})
        assert (lacking.status_code, "give a reason" in lacking.text) == (422, True)
        done = await server.http.post("/load/rebalance", params=asked, data=why)
        assert (done.status_code, done.headers["location"]) == (303, "/load?done=1")
        shown = (await server.http.get("/load?done=1")).text
        assert "Version 1 is set" in shown
        assert "<script>alert" not in shown
        late = await server.http.post("/load/rebalance", params={**asked, "use.a": "paused"}, data=why)
        assert (late.status_code, "changed meanwhile" in late.text, 'value="Ann"' in late.text) == (422, True, True)
        everybody = {"preview": "1", "use.größe": "paused", "minutes": "5"}
        alone = await server.http.post("/load/rebalance", params=everybody, data={**why, "version": "1"})
        assert "would have no provider to ask" in alone.text
        forced = {**why, "version": "1", "force": "on"}
        assert (await server.http.post("/load/rebalance", params=everybody, data=forced)).status_code == 303
        undo = {"version": "2", "reason": "back"}
        assert (await server.http.post("/load/rebalance?undo=2", data=undo)).headers["location"] == "/load?done=3"
        assert "größe: paused → in use" in (await server.http.get("/load")).text
        for wrong in ("undo=99", "undo=x", "preview=1&weight.a=much", "preview=1&use.a=paused&minutes=soon"):
            answer = await server.http.get(f"/load/rebalance?{wrong}")
            assert (answer.status_code, 'role="alert"' in answer.text) == (200, True), wrong


async def test_a_preview_simulates_the_turns_on_record(tmp_path: Path) -> None:
    asked = {"weights": {"a": 0.0, "b": 1.0}, "strategy": "weighted", "preview": True}
    async with serving(tmp_path, squads=[squad()], tiers={"boss": ("a/m", "b/m")}) as (server, manager):
        assert (await change(server, None, **asked))["outlook"] is None
        run = (await server.http.post("/api/runs", json={"squad": "notes"})).json()["run_id"]
        await until_state(server, run, "waiting")
        asked["traffic_hours"] = 1
        outlook = (await change(server, None, **asked))["outlook"]
        shares = [outlook[which]["shares"] for which in ("recorded", "before", "after")]
        assert shares == [{"a": 1.0}, {"a": 1.0}, {"b": 1.0}]
        assert outlook["before"]["tiers"] == {"boss": {"a": 1.0}}
        query = {"preview": "1", "strategy": "weighted", "weight.a": "0", "weight.b": "1"}
        page = await server.http.get("/load/rebalance", params=query)
        assert "Share of b" in page.text
        assert (ControlLog(tmp_path).stamp(), manager.fleet.control.version) == (None, 0)
