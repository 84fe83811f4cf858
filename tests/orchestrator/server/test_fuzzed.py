"""schemathesis over the OpenAPI document: whatever is sent, the server answers as it says, and never with a fault."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import none, sampled_from

from orchestrator.squad.routing import load_routing
from providers.client.manager import open_manager
from tests.orchestrator.server.served import listening, served
from tests.orchestrator.server.test_api import squad
from tests.patience import PATIENCE_S

LEFT_OUT = "positive_data_acceptance"
"""A check: a request may be as its type says and still name a squad, a state or a choice that is not there."""
EXAMPLES = 25
STREAMS = {"follow_run", "follow_answers"}
"""Their answers do not end."""
RUNS = ("one", "two", "one/../two", "é%", ".", "")
"""Ids that are tried beside any other: two of them are there."""
pytestmark = pytest.mark.long


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """Serve a squad, with the built-in stub for all models."""
    policy, catalog = load_routing(None)
    async with (
        open_manager(policy, catalog, {}, offline=True, state=folder) as manager,
        served(manager, folder, None, [squad()]) as server,
        listening(server.app) as address,
    ):
        yield address


def test_what_the_document_describes_is_what_is_answered(tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="pip install 'squad-orchestrator[oracles]'")
    schemathesis.checks.load_all_checks()
    at_work = serving(tmp_path)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(at_work) as address:
        headers = {"Authorization": f"Bearer {(tmp_path / 'server-token').read_text()}"}
        schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json", headers=headers)
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) > 15
        for name in ("one", "two"):
            begun = httpx2.post(f"{address}/api/runs", json={"squad": "notes", "run_id": name}, headers=headers)
            assert begun.status_code == 201, begun.text
        for operation in operations:
            if operation.path.startswith("/api/") and operation.definition.raw["operationId"] not in STREAMS:
                for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                    fuzz(operation, mode, headers, [schemathesis.checks.CHECKS.get_one(LEFT_OUT)])


def fuzz(operation: Any, mode: Any, headers: dict[str, str], left_out: list[Any]) -> None:
    """Send what fits the description of an operation, or what does not, also about runs that are there."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), run=sampled_from(RUNS) | none())
    def one(case: Any, run: str | None) -> None:
        if run is not None and "run" in (case.path_parameters or {}):
            case.path_parameters["run"] = run
        response = case.call(headers=headers, timeout=PATIENCE_S)
        what = f"{case.as_curl_command()}: {response.status_code} {response.content[:500]!r}"
        assert response.status_code < 500 or b"HostStopping" in response.content, what
        if run is None:
            case.validate_response(response, headers=headers, excluded_checks=left_out)
        elif response.status_code >= 400:
            assert {"code", "message", "hint"} <= set(response.json()["error"]), what

    one()
