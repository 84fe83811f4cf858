"""What reaches a collector of OpenTelemetry, over HTTP, of real runs at providers on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import SqliteJournal, Squad, resume_run, run_squad
from orchestrator.observe.opening import observing
from orchestrator.runtime import open_run
from orchestrator.subscribers import subject_of
from tests.components import imported
from tests.loopback import Loopback
from tests.patience import PATIENCE_S

imported("opentelemetry.sdk.trace", "otel")
imported("opentelemetry.exporter.otlp.proto.http", "otel")
from tests.orchestrator.observe.collector import Collector, collecting  # noqa: E402  # it needs them

pytestmark = [pytest.mark.anyio, pytest.mark.long]
ASKED_BY = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "sk-canary-4f9a7c1e5b2d8f60"
CONTENT = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}
SQUAD: dict[str, Any] = {
    "name": "équipe 🛒",
    "agents": {"ann": {"instructions": "Be brief."}, "bob": {"instructions": "Be brief."}},
    "tasks": {
        "plan": {"agent": "ann", "description": f"Plan it; the key is {SECRET}."},
        "each": {
            "for_each": "${{ ['a', 'b'] }}",
            "key": "${{ item }}",
            "agent": "bob",
            "description": "${{ item }}",
            "needs": ["plan"],
        },
        "tell": {"agent": "ann", "description": "Tell it.", "needs": ["plan"]},
    },
}


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The SDK reads the process's environment."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    return


def given(folder: Path, *urls: str, **more: Any) -> Squad:
    """A squad, and providers that are tried in order."""
    lines = "".join(
        f"  p{number}:\n    dialect: openai-chat\n    base_url: {url}\n    api_key_env: LAB_KEY\n"
        "    models: {m: {context: 100000, max_output: 1000, tools: true, price: {input: 1, output: 2}}}\n"
        for number, url in enumerate(urls)
    )
    names = ", ".join(f"p{number}/m" for number in range(len(urls)))
    routing = folder / "agent_routing.yaml"
    routing.write_text(f"tiers: {{worker: [{names}], boss: [{names}]}}\nlast_resort: []\nproviders:\n{lines}")
    return Squad.from_mapping({**SQUAD, **more}, routing=routing)


def mask(text: str) -> str:
    return text.replace(SECRET, "***")


class Sent:
    """A collector, and runs that are told to it."""

    def __init__(self, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.collector, self.said, self._patch = collector, list[str](), monkeypatch

    async def run(self, squad: Squad, more: Mapping[str, str] | None = None, **options: Any) -> Any:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url, **(more or {})}
        for name, value in environ.items():
            self._patch.setenv(name, value)
        with observing(environ, mask, self.said.append) as subscribers:
            return await run_squad(squad, subscribers=subscribers, environ={"LAB_KEY": SECRET}, **options)


async def test_the_spans_of_a_run_stand_in_one_tree_and_each_attempt_is_known_to_its_provider(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        sent = Sent(collector, monkeypatch)
        squad = given(tmp_path, loopback.url("500"), loopback.url("ok"))
        result = await sent.run(squad, run_id="r")
        assert result.status == "done"
    assert sent.said == []
    assert {span.trace for span in collector.spans} == {subject_of("r").trace.trace_id}
    (root,) = collector.named("invoke_workflow")
    assert (root.name, root.parent) == ("invoke_workflow équipe 🛒", "")
    assert not [span for span in collector.spans if span is not root and not collector.above(span)]
    assert {tuple(collector.above(span)) for span in collector.named("chat")} == {
        ("invoke_agent ann", "task plan", root.name),
        ("invoke_agent bob", "task each[a]", "task each", root.name),
        ("invoke_agent bob", "task each[b]", "task each", root.name),
        ("invoke_agent ann", "task tell", root.name),
    }
    attempts = {span.id: span for span in collector.named("attempt")}
    asked = [seen.headers["traceparent"].split("-") for seen in loopback.requests]
    assert sorted(attempts) == sorted(span for _, _, span, _ in asked)
    assert {trace for _, trace, _, _ in asked} == {root.trace}
    failed = [span for span in attempts.values() if span.failed]
    assert {span.attributes["error.type"] for span in failed} == {"ServerFault"}
    assert not [span for span in collector.spans if span.failed and span not in failed]
    assert collector.resource["service.name"] == "squad-orchestrator"
    told = str(collector.spans)
    assert SECRET not in told
    assert "Plan it" not in told, "content is told only where it is asked for"
    points = collector.metrics["gen_ai.client.operation.duration"]
    assert sum(point["count"] for point in points) == 4


async def test_content_goes_where_it_is_asked_for_and_a_key_goes_nowhere(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        await Sent(collector, monkeypatch).run(given(tmp_path, loopback.url("ok")), CONTENT)
    (chat,) = (span for span in collector.named("chat") if "task plan" in collector.above(span))
    assert "Plan it; the key is ***." in chat.attributes["gen_ai.input.messages"]
    assert "Hello" in chat.attributes["gen_ai.output.messages"]
    assert not [body for body in collector.bodies if SECRET.encode() in body]


async def test_a_run_stands_below_the_span_that_asks_for_it_also_when_it_is_resumed(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squad, environ = given(tmp_path, loopback.url("ok")), {"LAB_KEY": SECRET}
    async with SqliteJournal(tmp_path / "journal.db") as journal:
        with collecting() as collector:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            with observing(dict(os.environ), mask, print) as by:
                more: dict[str, Any] = {"journal": journal, "environ": environ, "subscribers": by}
                async with open_run(squad, run_id="r", traceparent=ASKED_BY, **more) as run:
                    async for event in run:
                        if event.type == "task.ended":
                            break
                async with resume_run(squad, "r", **more) as run:
                    async for _ in run:
                        pass
    first, second = sorted(collector.named("invoke_workflow"), key=lambda span: span.start)
    assert {(span.trace, span.parent) for span in (first, second)} == {(ASKED_BY[3:35], ASKED_BY[36:52])}
    assert (first.attributes["orchestrator.run.resumed"], first.failed) == (False, True)
    assert (second.attributes["orchestrator.run.resumed"], second.failed) == (True, False)
    above = {collector.above(span)[-1] for span in collector.named("chat")}
    assert above == {first.name}
    paid = [span for span in collector.named("chat") if not span.failed]
    assert len(paid) == len({(span.attributes["orchestrator.turn"], *collector.above(span)) for span in paid}) == 4


async def test_whoever_asked_decides_whether_spans_are_kept(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        sent = Sent(collector, monkeypatch)
        await sent.run(given(tmp_path, loopback.url("ok")), traceparent=ASKED_BY[:-1] + "0")
        assert collector.spans == []
        assert {seen.headers["traceparent"][-2:] for seen in loopback.requests} == {"00"}
        await sent.run(given(tmp_path, loopback.url("ok")), {"OTEL_TRACES_SAMPLER": "always_off"})
        assert collector.spans == []


async def test_two_runs_at_once_are_two_traces(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squad = given(tmp_path, loopback.url("ok"))
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with observing(dict(os.environ), mask, print) as by:
            more: dict[str, Any] = {"subscribers": by, "environ": {"LAB_KEY": SECRET}}
            async with anyio.create_task_group() as tasks:
                for name in ("one", "two"):
                    tasks.start_soon(lambda name=name: run_squad(squad, run_id=name, **more))  # type: ignore[misc]
    for name in ("one", "two"):
        of_run = [span for span in collector.spans if span.trace == subject_of(name).trace.trace_id]
        assert {span.attributes["gen_ai.conversation.id"] for span in of_run} == {name}
        assert len([span for span in of_run if span.name.startswith("chat")]) == 4


async def test_a_lone_surrogate_takes_no_other_span_with_it(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {"a": {"agent": "ann", "description": "Say \ud83d it."}}
    with collecting() as collector:
        await Sent(collector, monkeypatch).run(given(tmp_path, loopback.url("ok"), tasks=tasks), CONTENT)
    assert collector.named("chat")
    assert collector.named("invoke_workflow")


async def test_a_run_of_a_thousand_tasks_loses_no_span(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = {
        "for_each": f"${{{{ {list(range(1000))} }}}}",
        "key": "${{ item }}",
        "agent": "bob",
        "description": "${{ item }}",
    }
    with collecting() as collector:
        sent = Sent(collector, monkeypatch)
        await sent.run(given(tmp_path, "http://unused", tasks={"each": each}), offline=True)
    assert len(collector.named("chat")) == 1000
    assert len({span.id for span in collector.spans}) == len(collector.spans) == 4002
    assert sent.said == []


def command(folder: Path, *words: str, **environ: str) -> None:
    """Call the command line, as a process of its own."""
    line = [sys.executable, "-m", "orchestrator", *words]
    done = subprocess.run(line, cwd=folder, env={**os.environ, **environ}, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr.decode()


FILE = """\
name: two
offline: always
agents: {ann: {instructions: Be brief.}}
tasks:
  a: {agent: ann, description: Write.}
  b: {needs: [a], approval: {prompt: "Good?"}}
"""


def test_the_command_line_is_told_by_its_variables_alone(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(FILE)
    with collecting() as collector:
        (tmp_path / ".env").write_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}\n")
        command(tmp_path, "run", "two.yaml", "--approve", "auto")
        assert collector.bodies == [], "a file of the folder has no say in where it goes"
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACEPARENT": ASKED_BY}
        command(tmp_path, "run", "two.yaml", "--approve", "auto", **environ)
    assert {span.trace for span in collector.spans} == {ASKED_BY[3:35]}
    (approval,) = collector.named("await_approval")
    assert approval.attributes["orchestrator.approval.choice"] == "approve"


def test_replay_simulate_and_a_dry_run_send_nothing(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(FILE)
    with collecting() as collector:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        command(tmp_path, "run", "two.yaml", "--approve", "auto", "--run-id", "r")
        for words in (
            ("run", "two.yaml", "--dry-run"),
            ("runs", "replay", "r"),
            ("simulate", "two.yaml", "--all-providers"),
        ):
            command(tmp_path, *words, **environ)
    assert collector.bodies == []


def test_what_a_killed_process_had_sent_and_what_resumes_it_are_one_trace(loopback: Loopback, tmp_path: Path) -> None:
    with collecting() as collector:
        given(tmp_path, loopback.url("ok", "hang"))
        (tmp_path / "two.yaml").write_text(
            "name: two\nagents: {ann: {instructions: Be brief.}}\ntasks:\n"
            "  a: {agent: ann, description: One.}\n  b: {agent: ann, description: Two., needs: [a]}\n"
        )
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "LAB_KEY": SECRET,
            "ORCHESTRATOR_TRUST": "1",
        }
        line = [sys.executable, "-m", "orchestrator", "run", "two.yaml", "--run-id", "r"]
        with subprocess.Popen(line, cwd=tmp_path, env={**os.environ, **environ}) as first:
            with_patience(lambda: len(loopback.requests) >= 2 and collector.named("task a"))
            first.send_signal(signal.SIGKILL)
        routing = tmp_path / "agent_routing.yaml"
        routing.write_text(routing.read_text().replace("hang", "ok"))
        command(tmp_path, "runs", "resume", "r", **environ)
    assert {span.trace for span in collector.spans} == {subject_of("r").trace.trace_id}
    assert len(collector.named("task a")) == len(collector.named("task b")) == 1
    (root,) = collector.named("invoke_workflow")  # the first one's never ended
    assert root.attributes["orchestrator.run.resumed"] is True


async def test_a_collector_that_is_down_costs_one_line_and_no_time_of_the_run(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        pass  # nobody listens there any more
    sent = Sent(collector, monkeypatch)
    began = time.monotonic()
    result = await sent.run(given(tmp_path, loopback.url("ok")))
    assert result.status == "done"
    assert time.monotonic() - began < PATIENCE_S
    assert len(sent.said) == 1
    assert sent.said[0].startswith("telemetry is not sent as it should be: ")


async def test_a_collector_that_hangs_holds_up_nothing_but_a_little_the_end(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting(delay_s=20.0) as collector:
        sent = Sent(collector, monkeypatch)
        result = await sent.run(given(tmp_path, loopback.url("ok")))
        assert result.status == "done"
        assert len(sent.said) == 1


def with_patience(is_so: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
