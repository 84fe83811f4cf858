"""`serve` over a cluster: it shows and submits runs, which workers do."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.components import installed
from tests.e2e.command import started
from tests.orchestrator.cli.conftest import GATED
from tests.orchestrator.cli.test_cluster_commands import free_port, until, worker
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD


def get(address: str, token: str, path: str, body: Any = None) -> Any:
    """Ask the server; return the document, or the text of a page."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(f"{address}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        said = answer.read().decode()
        return json.loads(said) if answer.headers["content-type"].startswith("application/json") else said


def test_runs_are_begun_answered_and_shown_at_the_server_of_a_cluster(tmp_path: Path, postgres_url: str) -> None:
    installed("fastapi", "server")
    (tmp_path / "gated.yaml").write_text(GATED.replace("offline: auto", "offline: always"))
    port, env, said = free_port(), {"ORCHESTRATOR_DB": postgres_url}, tmp_path / "serve.log"
    with said.open("wb") as log:
        streams: dict[str, Any] = {"stdout": log, "stderr": log}
        words = ("serve", "gated.yaml", "--port", str(port))
        with started(*words, cwd=tmp_path, env=env, memory=4 << 30, **streams) as server:
            until(lambda: "the dashboard, by this link" in said.read_text() or server.poll() is not None)
            assert server.poll() is None, said.read_text()
            address, token = f"http://127.0.0.1:{port}", (tmp_path / ".orchestrator/server-token").read_text().strip()
            assert [one["code"] for one in get(address, token, "/api/cluster")["problems"]] == ["no_worker"] * 2
            run = get(address, token, "/api/runs", {"squad": "gated", "priority": 3})["run_id"]
            assert get(address, token, "/api/cluster")["queues"]["runs"]["by_priority"] == {"3": 1}
            assert get(address, token, f"/api/runs/{run}/record")["priority"] == 3
            with worker(tmp_path, postgres_url):
                until(lambda: get(address, token, f"/api/runs/{run}")["state"] == "waiting")
                shown = get(address, token, "/api/cluster")
                assert (shown["healthy"], len(shown["workers"])) == (True, 1)
                page = get(address, token, "/cluster")
                assert "Nothing: all that waits will be done." in page
                assert f"/{shown['workers'][0]['pid']}</th>" in page
                answered = get(address, token, f"/api/approvals/{run}", {"choice": "approve", "by": "me"})
                assert answered["goes_on"]
                until(lambda: get(address, token, f"/api/runs/{run}")["state"] == "done")
                fork = get(address, token, f"/api/runs/{run}/fork", {"start": "research"})["run_id"]
                until(lambda: get(address, token, f"/api/runs/{fork}")["state"] == "waiting")
                figures = get(address, token, "/metrics")
                assert 'orchestrator_cluster_workers{state="at work"} 1.0' in figures
            server.terminate()
            assert server.wait(PATIENCE_S) == 0
    assert PASSWORD not in said.read_text()
