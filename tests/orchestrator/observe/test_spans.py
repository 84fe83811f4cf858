"""Spans out of events, without any package of OpenTelemetry."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from agents import tool
from agents.events import TextsEmbedded, TurnStarted
from orchestrator.events import Event
from orchestrator.observe.open_spans import SpanRecord
from orchestrator.observe.settings import CONTENT, OtelSettings
from orchestrator.observe.spans import SpanTree
from orchestrator.subscribers import Subject, SubjectEnded, Subscriber, subject_of
from orchestrator.units import Unit
from providers.errors import Unreachable
from providers.events import AttemptEnded, AttemptStarted
from providers.messages import FinishReason, Message, Request, Response, Text, ToolCall, Usage
from tests.orchestrator.squads import Answers, run, squad

COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


class Spans(Subscriber):
    def __init__(self, *, content: bool = False) -> None:
        self.spans: list[SpanRecord] = []
        self.wants_content = content
        self._ids = (f"{number:016x}" for number in itertools.count(1))
        self._tree: SpanTree | None = None

    def hear(self, subject: Subject, event: Event) -> None:
        self._tree = self._tree or SpanTree(
            subject, lambda: next(self._ids), lambda text: text.replace("sekret", "***"), content=self.wants_content
        )
        self.spans += self._tree.hear(event)

    def named(self, beginning: str) -> list[SpanRecord]:
        return [span for span in self.spans if span.name.startswith(beginning)]

    def paths(self) -> set[str]:
        """Each span as its name below those of the spans above it."""
        by_id = {span.id: span for span in self.spans}

        def path(span: SpanRecord) -> str:
            above = by_id.get(span.parent)
            return span.name if above is None else f"{path(above)} > {span.name}"

        return {path(span) for span in self.spans}


@tool
async def look(what: str) -> str:
    """Look."""
    return f"seen {what} sekret"


def looking(agent: str, request: Request) -> Any:
    if any(message.role == "tool" for message in request.messages) or agent != "ann":
        return Response(
            Message("assistant", (Text("It is sekret."),)), FinishReason.STOP, Usage(7, 2, 1, 3, 4), "p", "m", 5
        )
    call = ToolCall("c", "look", json.dumps({"what": "x"}))
    return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "gemini", "m", None)


@pytest.mark.anyio
async def test_a_run_is_a_tree_of_spans_however_its_tasks_are_done_side_by_side() -> None:
    spans = Spans()
    tasks: dict[str, Any] = {
        "each": {"for_each": "${{ ['x', 'ü'] }}", "key": "${{ item }}", "agent": "ann", "description": "Look."},
        "b": {"agent": "bob", "description": "Ho."},
    }
    people = {"ann": {"persona": {"name": "T", "role": "r", "tier": "worker"}, "tools": ["look"]}}
    await run(squad(tasks, tools=(look,), people=people), Answers(looking), run_id="r", subscribers=[spans])
    root = "invoke_workflow test"
    each = [f"{root} > task each > task each[{key}]" for key in ("x", "ü")]
    below = ["", " > invoke_agent ann", " > invoke_agent ann > chat m", " > invoke_agent ann > execute_tool look"]
    bobs = [f"{root} > task b", f"{root} > task b > invoke_agent bob", f"{root} > task b > invoke_agent bob > chat m"]
    assert spans.paths() == {root, f"{root} > task each", *(one + more for one in each for more in below), *bobs}
    assert all(span.start <= span.end and not span.error for span in spans.spans)
    (chat,) = (span for span in spans.named("chat") if span.attributes["gen_ai.agent.name"] == "bob")
    assert chat.kind == "client"
    assert chat.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.agent.name": "bob",
        "gen_ai.conversation.id": "r",
        "gen_ai.provider.name": "p",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.cache_creation.input_tokens": 1,
        "gen_ai.usage.reasoning.output_tokens": 4,
        "orchestrator.turn": 1,
        "orchestrator.cost_usd": 5e-06,
    }
    asking = next(span for span in spans.named("chat") if span.attributes["gen_ai.provider.name"] == "gcp.gemini")
    assert "orchestrator.cost_usd" not in asking.attributes, "unknown is not free"
    assert not [name for span in spans.spans for name in span.attributes if "messages" in name or "tool.call" in name]


@pytest.mark.anyio
async def test_content_is_told_where_it_is_asked_for_and_without_secrets() -> None:
    spans = Spans(content=True)
    people = {"ann": {"persona": {"name": "T", "role": "r", "tier": "worker"}, "tools": ["look"]}}
    await run(squad({"a": "Look for sekret."}, tools=(look,), people=people), Answers(looking), subscribers=[spans])
    first, last = spans.named("chat")
    assert json.loads(str(first.attributes["gen_ai.output.messages"])) == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c", "name": "look", "arguments": '{"what": "x"}'}],
            "finish_reason": "tool_calls",
        }
    ]
    asked = json.loads(str(last.attributes["gen_ai.input.messages"]))
    assert asked[-1]["parts"][0]["response"].startswith("seen x ***")
    assert "Look for ***." in str(asked[0])
    assert json.loads(str(last.attributes["gen_ai.system_instructions"]))[0]["type"] == "text"
    (called,) = spans.named("execute_tool")
    assert called.attributes["gen_ai.tool.call.arguments"] == '{"what": "x"}'
    assert "sekret" not in str(spans.spans)


@pytest.mark.anyio
async def test_a_secret_that_names_an_element_is_masked_as_all_texts_are() -> None:
    spans = Spans()
    task = {"for_each": "${{ ['sekret'] }}", "key": "${{ item }}", "agent": "bob", "description": "Look."}
    await run(squad({"each": task}), Answers(looking), subscribers=[spans])
    assert spans.named("task each[***]")
    assert not [span for span in spans.spans if "sekret" in f"{span.name} {span.attributes}"]


@pytest.mark.anyio
async def test_what_fails_says_so_up_to_the_run() -> None:
    def answer(agent: str, _: Request) -> str:
        raise Unreachable("nobody is at sekret")

    spans = Spans()
    await run(squad({"a": "Hi."}), Answers(answer), subscribers=[spans])
    (root,), (task,), (chat,) = spans.named("invoke_workflow"), spans.named("task"), spans.named("chat")
    assert (root.error, task.error, task.told) == ("failed", "Unreachable", "nobody is at ***")
    assert chat.error == "_OTHER"
    assert chat.attributes["error.type"] == "_OTHER"


def told(*events: tuple[tuple[str, ...], Any]) -> list[SpanRecord]:
    """Return the spans of events at these steps, a second apart."""
    ids = itertools.count(1)
    tree = SpanTree(subject_of("r", name="s"), lambda: f"{next(ids):016x}", str)
    happened = (Event("r", Unit("a"), step, 0, at, float(at), data) for at, (step, data) in enumerate(events))
    return [span for each in happened for span in tree.hear(each)]


def test_an_attempt_has_the_id_that_was_sent_and_one_that_was_left_ends_with_its_run() -> None:
    at = ("try-1",)
    first, second, *_ = told(
        (at, TurnStarted("ann", 1)),
        (at, AttemptStarted(1, "p", "m", span="00000000000000aa")),
        (at, AttemptEnded(1, "p", "m", "failed", "RateLimited", "slow down", 5.0)),
        (at, AttemptStarted(2, "q", "m", span="00000000000000bb")),
        (at, SubjectEnded()),
    )
    assert (first.id, first.error, first.told) == ("00000000000000aa", "RateLimited", "slow down")
    assert (second.id, second.error) == ("00000000000000bb", "cancelled")
    assert second.attributes["http.request.resend_count"] == 1


def test_a_turn_that_no_provider_answers_says_whom_it_asked() -> None:
    at = ("try-1",)
    spans = told(
        (at, TurnStarted("ann", 1)),
        (at, AttemptStarted(1, "p", "m")),
        (at, AttemptEnded(1, "p", "m", "failed", "RateLimited", "slow down", 5.0)),
        (at, AttemptStarted(2, "gemini", "n")),
        (at, AttemptEnded(2, "gemini", "n", "failed", "ServerFault", "no", 5.0)),
        ((), SubjectEnded()),
    )
    (chat,) = (span for span in spans if span.attributes.get("gen_ai.operation.name") == "chat")
    assert (chat.name, chat.error) == ("chat n", "ServerFault")
    assert chat.attributes["gen_ai.provider.name"] == "gcp.gemini"


def test_vectors_for_memory_take_their_time_and_stand_below_the_agent_with_their_attempts() -> None:
    at, memory = ("try-1",), ("try-1", "embedding")
    spans = told(
        (at, TurnStarted("ann", 1)),
        (memory, AttemptStarted(1, "p", "e")),
        (memory, AttemptEnded(1, "p", "e", "failed", "ServerFault", "no", 5.0)),
        (memory, AttemptStarted(2, "q", "e")),
        (memory, AttemptEnded(2, "q", "e", "ok", None, None, 5.0)),
        (memory, TextsEmbedded("ann", 2, "q", "e", Usage(7), 3)),
        (memory, AttemptStarted(1, "p", "f")),
        (memory, AttemptEnded(1, "p", "f", "failed", "ServerFault", "no", 5.0)),
        ((), SubjectEnded()),
    )
    made, failed = (span for span in spans if span.attributes.get("gen_ai.operation.name") == "embeddings")
    (agent,) = (span for span in spans if span.name == "invoke_agent ann")
    assert (made.name, made.error, made.start, made.end, made.parent) == ("embeddings e", "", 1.0, 5.0, agent.id)
    assert made.attributes["gen_ai.usage.input_tokens"] == 7
    assert (failed.name, failed.error, failed.parent) == ("embeddings f", "ServerFault", agent.id)
    parents = [span.parent for span in spans if span.name.startswith("attempt")]
    assert parents == [made.id, made.id, failed.id]


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, OtelSettings()),
        (COLLECTOR | {"OTEL_SDK_DISABLED": "true"}, OtelSettings()),
        (COLLECTOR | {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, OtelSettings()),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, OtelSettings(spans=True)),
        (COLLECTOR | {CONTENT: "True"}, OtelSettings(spans=True, metrics=True, content=True)),
        (COLLECTOR | {CONTENT: "false"}, OtelSettings(spans=True, metrics=True)),
        (COLLECTOR | {CONTENT: "EVENT_ONLY", "OTEL_SERVICE_NAME": "x"}, OtelSettings(True, True, False, True)),
    ],
)
def test_nothing_is_sent_that_no_variable_asks_for(environ: dict[str, str], wanted: OtelSettings) -> None:
    made = OtelSettings.of(environ)
    assert (made.spans, made.metrics, made.content, made.names_service) == (
        wanted.spans,
        wanted.metrics,
        wanted.content,
        wanted.names_service,
    )


def test_another_protocol_is_refused_in_words() -> None:
    for name in ("PROTOCOL", "TRACES_PROTOCOL", "METRICS_PROTOCOL"):
        assert "grpc" in OtelSettings.of(COLLECTOR | {f"OTEL_EXPORTER_OTLP_{name}": "grpc"}).unusable
