"""`/metrics`, what it tells of runs and requests, and the dashboard whose queries stand on it."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.server.observation import Observation, observation
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from providers.emit import ignore
from providers.policy.model import DailyBudget
from tests.components import installed
from tests.orchestrator.server.served import Served, asking_at, served
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.long]
installed("prometheus_client", "server")
EXAMPLES = Path(__file__).parents[3] / "examples" / "observability"
NOTES = """
name: notes
inputs: {topic: {}}
agents: {ann: {persona: analyst, tier: worker}}
tasks:
  draft: {agent: ann, description: "Write of ${{ inputs.topic }}."}
"""


@pytest.fixture
def anyio_backend() -> str:
    """The loop that uvicorn serves on."""
    return "asyncio"


Figures = dict[str, dict[frozenset[tuple[str, str]], float]]


@asynccontextmanager
async def watched(manager: Any, folder: Path, squad: str = NOTES) -> AsyncIterator[tuple[Served, Observation]]:
    squads = [Squad.from_text(squad, "squad.yaml")]
    async with observation((), ignore, time.time) as watch, served(manager, folder, None, squads, watch) as server:
        yield server, watch


async def figures(server: Served) -> Figures:
    """Return all samples by their name, and by their labels."""
    reply = await server.http.get("/metrics")
    assert reply.status_code == 200
    found: Figures = defaultdict(dict)
    for line in reply.text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()  # type: ignore[union-attr]
            found[name][frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))] = float(value)
    return found


def of(found: Figures, name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    wanted = set(labels.items())
    return sum(value for has, value in found[name].items() if wanted <= has)


def saying(text: str, model: str = "tier/worker", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def test_requests_and_runs_are_counted_with_their_attempts(loopback: Any, tmp_path: Path) -> None:
    async with asking_at(loopback.url("500"), loopback.url("ok")) as manager, watched(manager, tmp_path) as (server, _):
        assert (await server.http.post("/v1/chat/completions", json=saying("Hi."))).status_code == 200
        found = await figures(server)
        assert of(found, "orchestrator_attempts_total", provider="p0", model="m", outcome="failed") == 1
        assert of(found, "orchestrator_attempts_total", provider="p1", model="m", outcome="ok") == 1
        assert of(found, "orchestrator_attempt_errors_total", provider="p0", error_type="ServerFault") == 1
        assert of(found, "orchestrator_failovers_total", from_provider="p0", to_provider="p1") == 1
        took = "gen_ai_client_operation_duration_seconds"
        assert of(found, f"{took}_count", gen_ai_provider_name="p1", error_type="") == 1
        assert of(found, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 12
        assert of(found, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 7
        assert of(found, "orchestrator_requests_in_flight") == 0

        streamed = await server.http.post("/v1/chat/completions", json=saying("Hi.", stream=True))
        assert streamed.text.rstrip().endswith("[DONE]")
        found = await figures(server)
        first = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
        assert of(found, first, gen_ai_provider_name="p1") == 1

        ran = await server.http.post("/v1/chat/completions", json=saying("tea", "squad/notes"))
        assert ran.status_code == 200
        found = await figures(server)
        assert of(found, "orchestrator_runs_ended_total", squad="notes", status="done") == 1
        assert of(found, "orchestrator_tasks_total", status="ok") == 1
        assert of(found, "gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="ann") == 1
        assert of(found, f"{took}_count", gen_ai_provider_name="p1", error_type="") == 3
        assert of(found, "orchestrator_runs_in_flight") == 0
        assert of(found, "orchestrator_attempts_in_flight") == 0


async def test_what_every_attempt_fails_at_is_an_error_of_the_operation(loopback: Any, tmp_path: Path) -> None:
    async with asking_at(loopback.url("400")) as manager, watched(manager, tmp_path) as (server, _):
        assert (await server.http.post("/v1/chat/completions", json=saying("Hi."))).status_code == 400
        found = await figures(server)
        assert of(found, "orchestrator_attempts_total", outcome="failed") == 1
        assert of(found, "gen_ai_client_operation_duration_seconds_count", error_type="BadRequest") == 1
        assert not found["gen_ai_client_token_usage_count"]


async def test_only_who_may_look_at_the_dashboard_may_read_the_figures(tmp_path: Path) -> None:
    async with scripted() as manager, watched(manager, tmp_path) as (server, _):
        assert (await server.http.get("/metrics", headers={"authorization": "Bearer wrong"})).status_code == 401
        assert (await server.http.get("/metrics", headers={"authorization": ""})).status_code == 401
        cookie = {"authorization": "", "cookie": f"{server.access.cookie_name}={server.access.session('viewer')}"}
        assert (await server.http.get("/metrics", headers=cookie)).status_code == 200
        assert (await server.http.get("/metrics", headers={"host": "evil.example"})).status_code == 421
        assert (
            "openmetrics"
            in (
                await server.http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
            ).headers["content-type"]
        )


async def test_what_stands_now_is_told(loopback: Any, tmp_path: Path) -> None:
    async with asking_at(loopback.url("ok")) as manager, watched(manager, tmp_path) as (server, _):
        manager.fleet.policy = replace(manager.policy, budget=DailyBudget(max_cost_per_day=2_000_000))
        found = await figures(server)
        assert of(found, "orchestrator_breaker_state", provider="p0", model="m", state="closed") == 1
        assert of(found, "orchestrator_breaker_state", provider="p0", model="m", state="open") == 0
        assert of(found, "orchestrator_account_shut", provider="p0") == 0
        assert of(found, "orchestrator_budget_cap_usd", budget="the day's budget") in (0, 2)
        assert sum(found["orchestrator_budget_cap_usd"].values()) == 2
        assert of(found, "orchestrator_approvals_waiting") == 0


GATED = """
name: gated
agents: {ann: {persona: analyst, tier: worker}}
tasks:
  draft: {agent: ann, description: "Write."}
  good: {needs: [draft], approval: {prompt: "Is it good?", show: [draft]}}
"""


async def test_a_run_that_awaits_a_person_is_counted_until_it_is_answered(loopback: Any, tmp_path: Path) -> None:
    async with asking_at(loopback.url("ok")) as manager, watched(manager, tmp_path, GATED) as (server, _):
        started = await server.http.post("/api/runs", json={"squad": "gated", "inputs": {}})
        run = started.json()["run_id"]
        with anyio.fail_after(PATIENCE_S):
            while not (await server.http.get("/api/approvals")).json()["approvals"]:  # noqa: ASYNC110  # of a run
                await anyio.sleep(0.02)
        found = await figures(server)
        assert of(found, "orchestrator_approvals_waiting") == 1
        assert of(found, "orchestrator_runs") == 1
        answered = await server.http.post(f"/api/approvals/{run}", json={"choice": "approve"})
        assert answered.status_code == 200, answered.text
        with anyio.fail_after(PATIENCE_S):
            while not of(found, "orchestrator_runs_ended_total", squad="gated", status="done"):
                found = await figures(server)


async def test_the_queries_of_the_dashboard_find_what_they_ask_for(loopback: Any, tmp_path: Path) -> None:
    """Each name in each query is one that is told, and each label one that it has."""
    async with asking_at(loopback.url("500"), loopback.url("ok")) as manager, watched(manager, tmp_path) as (server, _):
        manager.fleet.policy = replace(manager.policy, budget=DailyBudget(max_cost_per_day=2_000_000))
        for body in (saying("Hi.", stream=True), saying("tea", "squad/notes")):
            assert (await server.http.post("/v1/chat/completions", json=body)).status_code == 200
        text = (await server.http.get("/metrics")).text
        found = await figures(server)
    declared = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    known = declared | {name + end for name in declared for end in ("_bucket", "_sum", "_count", "_total")} | {*found}
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text("utf-8"))
    alerts = (EXAMPLES / "alerts.yml").read_text("utf-8")
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 20
    unfed = set()
    for query in [*queries, *re.findall(r"expr: (?:>\n)?((?:.|\n {10,})+)", alerts)]:
        outside = re.sub(r"\([\w, ]+\) \(", "(", query)  # of the labels that are summed by
        names = set(re.findall(r"\b(?:orchestrator|gen_ai|process)_\w+(?=[\s{\[)/]|$)", outside))
        assert names, query
        assert names <= known, query
        has = {label for name in names for labels in found.get(name, ()) for label, _ in labels} | {"job"}
        asked = {label for group in re.findall(r"by \(([\w, ]+)\)", query) for label in group.split(", ")}
        asked |= set(re.findall(r'[{,]\s*(\w+)=~?"', query))
        if any(found.get(name) for name in names):
            assert asked <= has, query
        else:
            unfed |= names
    # Of these nothing happened in this run; their labels are those of `Metrics`.
    assert unfed <= {
        "orchestrator_tool_calls_total",
        "orchestrator_cost_unknown_total",
        "gen_ai_execute_tool_duration_seconds_bucket",
        "orchestrator_budget_reached_total",
        "orchestrator_budget_alerts_total",
    }


async def test_a_thousand_made_up_names_of_models_are_one_label() -> None:
    from orchestrator.observe.metrics import MOST_VALUES, OTHER, BoundedLabels

    labels = BoundedLabels(MOST_VALUES)
    told = [labels.told("model", f"m{number}") for number in range(1000)]
    assert len(set(told)) == MOST_VALUES + 1
    assert told[-1] == OTHER
    assert labels.told("model", "m3") == "m3"
    assert labels.told("provider", "m999") == "m999"


async def test_figures_are_told_while_requests_go_on(loopback: Any, tmp_path: Path) -> None:
    async with asking_at(loopback.url("ok")) as manager, watched(manager, tmp_path) as (server, watch):
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(lambda: server.http.post("/v1/chat/completions", json=saying("Hi.")))
                    tasks.start_soon(lambda: server.http.get("/metrics"))
        assert of(await figures(server), "orchestrator_attempts_total", outcome="ok") == 20
        assert watch.requests.in_flight == 0
