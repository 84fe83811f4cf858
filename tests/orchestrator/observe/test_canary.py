"""A key that goes through everything shows in nothing that is told to other software."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents import tool
from orchestrator import Squad, run_squad
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.notices import telling
from orchestrator.observe.logs import LogLines, open_log
from orchestrator.observe.opening import observing
from tests.components import imported
from tests.loopback import Loopback, Seen, Served

imported("opentelemetry.sdk.trace", "otel")
imported("opentelemetry.exporter.otlp.proto.http", "otel")
imported("prometheus_client", "server")
from orchestrator.observe.metrics import Metrics  # noqa: E402  # it needs them
from tests.orchestrator.observe.collector import collecting  # noqa: E402

pytestmark = [pytest.mark.anyio, pytest.mark.long]
CANARY = "sk-canary-4f9a7c1e5b2d8f60"
WORDS = "canary-word-1b2c3d4e5f"
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}


@tool
async def look(what: str) -> str:
    """Look."""
    return f"looked for {what}: {CANARY} {WORDS}"


class Lab:
    """Refuses once with the key in its words, then calls the tool with it, then says it."""

    def __init__(self) -> None:
        self.count = 0

    def answer(self, seen: Seen) -> Served:
        self.count += 1
        if self.count == 1:
            return Served(500, {"error": {"message": f"bad day for {CANARY} and {WORDS}", "type": CANARY}})
        message: dict[str, Any] = {"role": "assistant", "content": f"It is {CANARY}, or {WORDS}."}
        if self.count == 2:
            arguments = f'{{"what": "{CANARY} {WORDS}"}}'
            calls = [{"id": "c", "type": "function", "function": {"name": "look", "arguments": arguments}}]
            message = {"role": "assistant", "content": "", "tool_calls": calls}
        finish = "tool_calls" if self.count == 2 else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return Served(200, {"id": "x", "choices": [choice], "usage": USAGE}, {"set-cookie": f"a={CANARY}"})


async def test_a_key_shows_in_no_span_no_figure_no_log_and_no_exchange(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = loopback.by(Lab().answer)
    (tmp_path / "agent_routing.yaml").write_text(
        f"tiers: {{worker: [lab/m], boss: [lab/m]}}\nlast_resort: []\nproviders:\n  lab:\n    dialect: openai-chat\n"
        f"    base_url: {url}\n    api_key_env: LAB_KEY\n"
        "    models: {m: {context: 100000, max_output: 1000, tools: true}}\n"
    )
    squad = Squad.from_mapping(
        {
            "name": "canary",
            "agents": {"ann": {"instructions": f"Keep {CANARY} and {WORDS}.", "tools": ["look"]}},
            "tasks": {"a": {"agent": "ann", "description": f"Say {CANARY} and {WORDS}.", "retry": {"max_attempts": 3}}},
        },
        routing=tmp_path / "agent_routing.yaml",
        tools=[look],
    )
    environ = {"LAB_KEY": CANARY, "MY_TOKEN": WORDS, "ORCHESTRATOR_DEBUG": "lab"}
    lines, said, shown, metrics = io.StringIO(), list[str](), list[str](), Metrics()
    log = LogLines(open_log("json", color=False, file=lines), lambda document: mask_document(document, environ))
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
        with observing(dict(os.environ), lambda text: mask_secrets(text, environ), said.append) as by:
            more: dict[str, Any] = {"subscribers": [*by, log, metrics], "environ": environ}
            with anyio.fail_after(60):
                result = await run_squad(squad, notify=telling(said.append, shown.append), **more)
    assert result.status == "done", result.errors
    assert len(shown) == 3, "each exchange is shown"
    assert collector.named("execute_tool")
    assert "bad day for ***" in str(collector.spans) + lines.getvalue()
    sinks = {
        "spans": b"".join(collector.bodies),
        "figures": metrics.text()[0],
        "log": lines.getvalue().encode(),
        "notices": "\n".join(said).encode(),
    }
    leaks = [name for name, told in sinks.items() if CANARY.encode() in told or WORDS.encode() in told]
    assert leaks == []
    assert CANARY not in "\n".join(shown), "of the exchanges, which hold all words, keys are taken out"
