"""Two recipes on a real engine: llama.cpp, with a tiny model that writes noise. It shows that a server takes the
requests and schemas, and nothing of what a model makes of the prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.e2e.command import orchestrator, without_traceback
from tests.e2e.test_examples_engine import ROUTING
from tests.llama import Llama

pytestmark = [pytest.mark.e2e, pytest.mark.long]


@pytest.mark.parametrize("name", ["code-review", "debate"])
def test_a_recipe_is_asked_of_a_real_engine_in_a_form_that_it_takes(name: str, llama: Llama, tmp_path: Path) -> None:
    assert orchestrator("init", "--template", name, cwd=tmp_path).code == 0
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(ROUTING), "utf-8")
    command = ["run", "squad.yaml", "--routing", "local.yaml", "--json"]
    ended = orchestrator(*command, cwd=tmp_path, env={"LOCAL_BASE_URL": llama.base_url})
    assert without_traceback(ended)
    last = ended.events[-1]
    assert (last["type"], last["stub"]) == ("run.finished", False)
    attempts = ended.of_type("attempt.ended")
    assert {event["provider"] for event in attempts} == {"local"}
    assert any(event["outcome"] == "ok" for event in attempts)
    # Noise is hardly ever JSON, nor UTF-8, of which the server makes a 500. A request that it does not take is neither.
    assert {event["error"] for event in attempts if event["outcome"] != "ok"} <= {"WrongShape", "ServerFault"}
