"""What runs and the gateway's clients asked of providers is told by the next server, and is recorded traffic."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents.memory.database import Layout, connect
from orchestrator.forecast.traffic import RecordedCall, RecordedTurn
from orchestrator.server.gateway.kept_turns import KEPT_S, read_turns, write_turns
from orchestrator.server.gateway.store import FILE, LAYOUT, turns_in_folder
from orchestrator.server.past_traffic import look_back
from providers.messages import Capability, Needs, Usage
from tests.orchestrator.server.served import asking_at, served
from tests.orchestrator.server.test_api import squad, until_state


@pytest.mark.anyio
async def test_what_runs_asked_within_the_hour_outlives_a_restart(loopback: Any, tmp_path: Path) -> None:
    addresses = loopback.url("500"), loopback.url("ok")
    async with asking_at(*addresses) as first, served(first, tmp_path, None, [squad()]) as server:
        await server.http.post("/api/runs", json={"squad": "notes", "run_id": "one"})
        await until_state(server, "one", "waiting")
        async with asking_at(*addresses) as again:
            await look_back(again, server.state.journal, server.state.store)
    told, known = (each.traffic.over(3600.0, first.clock()) for each in (again, first))
    assert told.endpoints["p1/m"].answered == known.endpoints["p1/m"].answered == 1
    assert told.endpoints["p1/m"].output_tokens == known.endpoints["p1/m"].output_tokens == 7
    assert told.endpoints["p0/m"].errors == known.endpoints["p0/m"].errors == {"ServerFault": 1}
    assert (told.served, told.failovers, [*told.tiers]) == (known.served, known.failovers, [*known.tiers])
    assert again.traffic.last_errors["p0/m"].error == "ServerFault"


@pytest.mark.anyio
async def test_requests_to_the_gateway_are_recorded_traffic_too(loopback: Any, tmp_path: Path) -> None:
    addresses = loopback.url("500"), loopback.url("ok")
    async with asking_at(*addresses) as first, served(first, tmp_path) as server:
        for stream in (False, True):
            asked = {"model": "tier/worker", "messages": [{"role": "user", "content": "Hi."}], "stream": stream}
            assert (await server.http.post("/v1/chat/completions", json=asked)).status_code == 200
        pinned = {"model": "p0/m", "messages": [{"role": "user", "content": "Hi."}]}
        assert (await server.http.post("/v1/chat/completions", json=pinned)).status_code >= 500
        change = {"preview": True, "strategy": "weighted", "weights": {"p0": 1, "p1": 3}}
        outlook = (await server.http.post("/api/providers/rebalance", json=change)).json()["outlook"]
        assert (outlook["recorded"]["turns"], outlook["recorded"]["failed"]) == (3, 1)
        assert outlook["recorded"]["tiers"] == {"worker": {"p1": 1.0}}
        async with asking_at(*addresses) as again:
            await look_back(again, server.state.journal, server.state.store)
    told, known = (each.traffic.over(3600.0, first.clock()) for each in (again, first))
    assert told.endpoints["p0/m"].errors == known.endpoints["p0/m"].errors
    assert told.served == known.served
    turns = turns_in_folder(tmp_path, 0.0, first.clock() + 1, 10)
    assert [turn.usage for turn in turns] == [Usage(12, output=7), Usage(12, output=7), None]
    assert turns_in_folder(tmp_path, first.clock() + 1, first.clock() + 2, 10) == []


def test_a_file_of_an_earlier_release_keeps_turns_from_now_on(tmp_path: Path) -> None:
    before = Layout(LAYOUT.application, LAYOUT.schema, LAYOUT.tables, 1, lambda _: None)
    with closing(connect(tmp_path / FILE, before)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'turns'").fetchall()
    assert turns_in_folder(tmp_path, 0.0, 1.0, 10) == []


def test_of_many_turns_the_latest_are_kept_and_those_of_a_month() -> None:
    call = RecordedCall(0.0, 1.0, "p", "m", None, 7)
    needs = Needs(tier="worker", chain=("p/m", "q/*"), capabilities=frozenset({Capability.TOOLS}))
    made = [RecordedTurn(float(at), 1.0, "", "", (call,), Usage(1, output=7), 5, needs=needs) for at in range(25)]
    with closing(connect(None, LAYOUT)) as db:
        write_turns(db, made, 0.0, tidy=True, most=20)
        assert read_turns(db, 0.0, float("inf"), 30) == made[5:]
        write_turns(db, [], KEPT_S + 20, tidy=True, most=20)
        assert read_turns(db, 0.0, float("inf"), 30) == made[20:]
