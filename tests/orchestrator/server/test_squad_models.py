"""Squads that answer as models: their inputs, their progress, their ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.server.gateway.failures import GatewayFailure
from orchestrator.server.gateway.squad_models import inputs_in
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from providers.errors import BadRequest
from providers.messages import Request, system, user
from tests.orchestrator.server.served import SECRET, served
from tests.orchestrator.server.test_gateway import events_in

pytestmark = pytest.mark.anyio
AGENT = "agents: {ann: {persona: analyst}}\n"


def squad(inputs: str = "{topic: {}}", more: str = "") -> Squad:
    tasks = 'tasks:\n  draft: {agent: ann, description: "Write."}\n' + more
    return Squad.from_text(f"name: notes\ninputs: {inputs}\n{AGENT}{tasks}", "notes.yaml")


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "squad/notes", "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize(
    ("inputs", "said", "given"),
    [
        ("{topic: {}}", "tea", {"topic": "tea"}),
        ("{topic: {}, size: {type: integer, default: 3}}", '{"topic": "tea", "size": 4}', {"topic": "tea", "size": 4}),
        ("{topic: {}}", '{"other": 1}', {"topic": '{"other": 1}'}),
        ("{size: {type: integer}}", "4", {"size": 4}),
        ("{topic: {default: tea}}", "coffee", {"topic": "coffee"}),
        ("{topic: {default: tea}}", " ", {}),
        ("{}", "go", {}),
    ],
)
def test_the_last_message_holds_the_inputs(inputs: str, said: str, given: dict[str, Any]) -> None:
    request = Request((system("Be brief."), user("earlier"), user(said)))
    assert inputs_in(squad(inputs), request) == given


def test_several_inputs_are_asked_for_by_their_names() -> None:
    with pytest.raises(GatewayFailure, match=r'needs several inputs: a, b; write the message as \{"a": "..."'):
        inputs_in(squad("{a: {}, b: {}}"), Request((user("tea"),)))


async def test_a_run_answers_with_its_progress_and_its_outputs(tmp_path: Path) -> None:
    async with scripted(f"Tea, {SECRET}.", "Tea.") as manager, served(manager, tmp_path, None, [squad()]) as server:
        whole = await server.http.post("/v1/chat/completions", json=asking("tea"))
        assert whole.json()["choices"][0]["message"]["content"] == "Tea, ***."
        run = (await server.http.get(f"/api/runs/{whole.headers['x-orchestrator-run']}")).json()
        assert (run["state"], run["squad"]) == ("done", "notes")
        streamed = await server.http.post("/v1/chat/completions", json=asking("tea", stream=True))
        listed = (await server.http.get("/v1/models")).json()["data"]
    deltas = [one["choices"][0]["delta"] for one in events_in(streamed.text)[:-1]]
    assert "".join(one.get("reasoning_content", "") for one in deltas) == "draft has begun\ndraft is ok\n"
    assert "".join(one.get("content") or "" for one in deltas) == "Tea."
    assert streamed.headers["x-orchestrator-run"] != whole.headers["x-orchestrator-run"]
    assert "squad/notes" in [one["id"] for one in listed]


@pytest.mark.few(1)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_run_that_does_not_end_well_is_an_error_that_says_why(stream: bool, tmp_path: Path) -> None:
    asks = squad(more='  gate: {needs: [draft], approval: {prompt: "Good?", show: [draft]}}\n')
    for script, status, code, words in (
        ("A.", 409, "awaiting_approval", "gate"),
        (BadRequest("odd"), 500, "run_failed", "odd"),
    ):
        async with scripted(script) as manager, served(manager, tmp_path, None, [asks]) as server:
            answer = await server.http.post("/v1/chat/completions", json=asking("tea", stream=stream))
        error = events_in(answer.text)[-1]["error"] if stream else answer.json()["error"]
        assert answer.status_code == (200 if stream else status)
        assert error["code"] == code
        assert words in error["message"]


async def test_what_a_squad_cannot_do_is_refused(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path, None, [squad("{size: {type: integer}}")]) as server:
        for more in ({"tools": [{"type": "function", "function": {"name": "x"}}]}, {}):
            answer = await server.http.post("/v1/chat/completions", json=asking("many", **more))
            assert answer.status_code == 400, answer.text
