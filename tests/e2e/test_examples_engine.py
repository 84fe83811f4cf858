"""Three examples on a real engine: llama.cpp, with a tiny model that writes noise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.e2e.command import orchestrator, without_traceback
from tests.e2e.examples import EXAMPLES, first_run
from tests.llama import CONTEXT, Llama

pytestmark = pytest.mark.e2e

ROUTING = {
    "version": 1,
    "tiers": {"boss": ["local/*"], "worker": ["local/*"], "creative": ["local/*"]},
    "timeouts": {"first_token": "5m", "total": "10m"},
    # Noise hardly ever ends by itself.
    "providers": {"local": {"models": {"default": {"context": CONTEXT, "max_output": 60}}}},
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["weekly-report/squad.yaml", "support-triage.yaml", "debate.yaml"])
def test_an_example_ends_well_or_says_why_on_a_real_engine(name: str, llama: Llama, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(ROUTING), "utf-8")
    command = [*first_run(name), "--routing", "local.yaml", "--json"]
    ended = orchestrator(*command, cwd=tmp_path, env={"LOCAL_BASE_URL": llama.base_url})
    assert ended.code in (0, 1, 8), ended.err
    assert without_traceback(ended)
    last = ended.events[-1]
    assert (last["type"], last["stub"]) == ("run.finished", False)
    assert {event["provider"] for event in ended.of_type("attempt.ended")} == {"local"}
    assert any(event["outcome"] == "ok" for event in ended.of_type("attempt.ended"))
    for event in ended.of_type("task.ended"):
        assert event["status"] in ("ok", "skipped", "cancelled") or event["error"], event
    assert (ended.code == 0) == (last["status"] == "done")
