"""What happens in runs and requests as figures for Prometheus, by its own client: names as the GenAI conventions have
them (`gen_ai_*`), and ours (`orchestrator_*`).

Labels are bounded: of each, so many values are told apart as `MOST_VALUES` says, and further ones are `other`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder

from agents.events import TextsEmbedded, ToolEnded, TurnEnded
from orchestrator._version import __version__
from orchestrator.events import BudgetReached, Event, RunFinished, TaskEnded
from orchestrator.observe.cluster_figures import ClusterFigures
from orchestrator.observe.open_spans import SpanRecord
from orchestrator.observe.spans import FIRST_TOKEN, SpanTree, input_tokens, provider_name
from orchestrator.subscribers import CallEnded, Subject, SubjectEnded, Subscriber
from orchestrator.units import StepPath, Unit
from providers.documents.unicode import clean
from providers.embeddings import Embeddings
from providers.events import AttemptEnded, AttemptStarted, BudgetAlert, WaitingForBudget, WaitingForProvider
from providers.messages import Response

MOST_VALUES = 100
OTHER = "other"
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(float(4**power) for power in range(14))
MODEL = ("gen_ai_provider_name", "gen_ai_request_model")


class Metrics(Subscriber):
    """Counts what it hears. Gauges that are of no event (`GaugesNow`) are set before each look."""

    def __init__(self, most_values: int = MOST_VALUES) -> None:
        self.registry = CollectorRegistry()
        self._labels = BoundedLabels(most_values)
        self._trees: dict[Subject, SpanTree] = {}
        self._asked: dict[tuple[Subject, Unit | None, StepPath], str] = {}
        """By place: the provider of its turn's latest attempt."""
        self._children: dict[tuple[Any, tuple[str, ...]], Any] = {}
        ProcessCollector(registry=self.registry)
        self._make_figures()
        self._make_counters()
        self.now = GaugesNow(self.registry)

    def _make_figures(self) -> None:
        registry = self.registry
        self._took = Histogram(
            "gen_ai_client_operation_duration_seconds",
            "Seconds that operations took, with all their attempts.",
            ("gen_ai_operation_name", *MODEL, "error_type"),
            buckets=SECONDS,
            registry=registry,
        )
        self._first_token = Histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Seconds to the first content of streamed answers.",
            ("gen_ai_operation_name", *MODEL),
            buckets=SECONDS,
            registry=registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens that operations used.",
            ("gen_ai_operation_name", *MODEL, "gen_ai_token_type"),
            buckets=TOKENS,
            registry=registry,
        )
        self._agent_took = Histogram(
            "gen_ai_invoke_agent_duration_seconds",
            "Seconds that agents worked on their parts of tasks.",
            ("gen_ai_agent_name",),
            buckets=SECONDS,
            registry=registry,
        )
        self._tool_took = Histogram(
            "gen_ai_execute_tool_duration_seconds",
            "Seconds that calls of tools took.",
            ("gen_ai_tool_name", "error_type"),
            buckets=SECONDS,
            registry=registry,
        )

    def _make_counters(self) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"orchestrator_{name}", words, labels, registry=self.registry)

        Gauge("orchestrator_build_info", "The release.", ("version",), registry=self.registry).labels(__version__).set(
            1
        )
        self._runs = counter("runs_ended", "Runs that ended, or wait for a person.", "squad", "status")
        self._tasks = counter("tasks", "Tasks that ended.", "status")
        self._attempts = counter("attempts", "Attempts at providers.", "provider", "model", "outcome")
        self._errors = counter("attempt_errors", "Attempts that failed, by their error.", "provider", "error_type")
        self._failovers = counter(
            "failovers", "Turns that went on at another provider.", "from_provider", "to_provider"
        )
        self._cost = counter("cost_usd", "What calls cost, USD; unknown prices are not in it.", "provider", "model")
        self._unknown = counter("cost_unknown", "Calls whose cost is unknown.", "provider", "model")
        self._tools = counter("tool_calls", "Calls of tools.", "tool", "outcome")
        self._alerts = counter("budget_alerts", "Alerts: a share of a day's budget is spent.", "budget")
        self._reached = counter("budget_reached", "Caps of runs that left no room for a call.", "kind", "action")
        self._waits = counter("waits", "Turns that waited.", "what")
        for what in ("provider", "budget"):
            self._waits.labels(what)
        registry, in_flight = self.registry, "Attempts of runs that are under way."
        self._in_flight = Gauge("orchestrator_attempts_in_flight", in_flight, ("provider",), registry=registry)
        self._runs_in_flight = Gauge("orchestrator_runs_in_flight", "Runs at work here.", registry=registry)

    def with_cluster(self) -> ClusterFigures:
        """Have figures of a cluster told with these, and return what sets them. Once."""
        return ClusterFigures(self.registry)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return all figures in the format that is asked for, and its media type."""
        encoder, media_type = choose_encoder(accept)
        return encoder(_WithoutBirths(self.registry)), media_type

    def hear(self, subject: Subject, event: Event) -> None:
        if isinstance(event.data, CallEnded):
            self._call_ended(event.data)
            return
        if subject not in self._trees:
            self._trees[subject] = SpanTree(subject, _new_span_id, lambda text: text)
            self._runs_in_flight.inc()
        for span in self._trees[subject].hear(event):
            self._span_ended(span)
        self._count(subject, event)
        if isinstance(event.data, SubjectEnded):
            self._runs_in_flight.dec()
            del self._trees[subject]
            for place in [place for place in self._asked if place[0] == subject]:
                del self._asked[place]

    def _call_ended(self, call: CallEnded) -> None:
        """Count a request to the gateway by its attempts, and by its answer or the error that it ended with."""
        before, first = "", None
        for one in call.attempts:
            self._attempt_ended(one.provider, one.model, one.outcome, one.error)
            if before and before != one.provider:
                self._failed_over(before, one.provider)
            if one.cost:
                self._paid(one.provider, one.model, one.cost)
            before, first = one.provider, one.first_token_ms
        match call.answer:
            case None:
                last = call.attempts[-1]
                self._took_so_long(
                    call.operation, last.provider, last.model, type(call.error).__name__, call.seconds, None
                )
            case Response(provider=provider, model=model, usage=usage, cost=cost):
                self._took_so_long("chat", provider, model, "", call.seconds, None if first is None else first / 1000)
                output = usage.output + usage.reasoning
                self._used("chat", provider, model, {"input": input_tokens(usage), "output": output})
                self._paid(provider, model, cost)
            case Embeddings(provider=provider, model_asked=model, usage=usage, cost=cost):
                self._took_so_long("embeddings", provider, model, "", call.seconds, None)
                self._used("embeddings", provider, model, {"input": input_tokens(usage)})
                self._paid(provider, model, cost)

    def _count(self, subject: Subject, event: Event) -> None:
        told = self._labels.told
        match event.data:
            case RunFinished(status=status):
                self._of(self._runs, told("squad", subject.name), status).inc()
            case TaskEnded(status=status):
                self._of(self._tasks, status).inc()
            case AttemptStarted(number, provider):
                self._of(self._in_flight, told("provider", provider)).inc()
                place = (subject, event.unit, event.step)
                before = self._asked.get(place, provider) if number > 1 else provider
                if before != provider:
                    self._failed_over(before, provider)
                self._asked[place] = provider
            case AttemptEnded(_, provider, model, outcome, error, cost=cost):
                self._attempt_ended(provider, model, outcome, error)
                if cost:  # of one that answered its turn says it
                    self._paid(provider, model, cost)
            case TurnEnded(_, _, provider, model, _, cost) | TextsEmbedded(_, _, provider, model, _, cost):
                self._paid(provider, model, cost)
            case ToolEnded(name=name, ok=ok):
                self._of(self._tools, told("tool", name), "ok" if ok else "failed").inc()
            case BudgetAlert(which):
                self._of(self._alerts, told("budget", which)).inc()
            case BudgetReached(_, kind, action):
                self._of(self._reached, kind, action).inc()
            case WaitingForProvider():
                self._of(self._waits, "provider").inc()
            case WaitingForBudget():
                self._of(self._waits, "budget").inc()

    def _span_ended(self, span: SpanRecord) -> None:
        about, told = span.attributes, self._labels.told
        operation, took = str(about.get("gen_ai.operation.name", "")), span.end - span.start
        if span.name.startswith("attempt "):
            self._of(self._in_flight, told("provider", span.name.removeprefix("attempt ").partition("/")[0])).dec()
        elif operation == "invoke_agent":
            self._of(self._agent_took, told("agent", str(about["gen_ai.agent.name"]))).observe(took)
        elif operation == "execute_tool":
            self._of(self._tool_took, told("tool", str(about["gen_ai.tool.name"])), span.error).observe(took)
        elif operation in ("chat", "embeddings"):
            provider, model = (str(about.get(f"gen_ai.{name}", "")) for name in ("provider.name", "request.model"))
            first = about.get(FIRST_TOKEN)
            who = (operation, provider, model)
            self._took_so_long(*who, span.error, took, first if isinstance(first, float) else None)
            tokens = {sort: about.get(f"gen_ai.usage.{sort}_tokens") for sort in ("input", "output")}
            self._used(*who, {sort: count for sort, count in tokens.items() if isinstance(count, int)})

    def _of(self, metric: Any, *labels: str) -> Any:
        """Return what counts under these labels. Prometheus' client takes its time to find it, so it is kept."""
        child = self._children.get((metric, labels))
        if child is None:
            child = self._children[metric, labels] = metric.labels(*labels)
        return child

    # -- what is counted alike of runs and of requests

    def _attempt_ended(self, provider: str, model: str, outcome: str, error: str | None) -> None:
        self._of(self._attempts, *self._who(provider, model), outcome).inc()
        if error is not None:
            self._of(self._errors, self._labels.told("provider", provider), self._labels.told("error", error)).inc()

    def _failed_over(self, before: str, after: str) -> None:
        told = self._labels.told
        self._of(self._failovers, told("provider", before), told("provider", after)).inc()

    def _paid(self, provider: str, model: str, cost: int | None) -> None:
        who = self._who(provider, model)
        if cost is None:
            self._of(self._unknown, *who).inc()
        else:
            self._of(self._cost, *who).inc(cost / 1e6)

    def _took_so_long(
        self, operation: str, provider: str, model: str, error: str, seconds: float, first: float | None
    ) -> None:
        who = (operation, *self._who(provider_name(provider), model))
        self._of(self._took, *who, self._labels.told("error", error)).observe(seconds)
        if first is not None:
            self._of(self._first_token, *who).observe(first)

    def _used(self, operation: str, provider: str, model: str, tokens: Mapping[str, int]) -> None:
        who = (operation, *self._who(provider_name(provider), model))
        for sort, count in tokens.items() if any(tokens.values()) else ():  # else nobody knows how many they were
            self._of(self._tokens, *who, sort).observe(count)

    def _who(self, provider: str, model: str) -> tuple[str, str]:
        return self._labels.told("provider", provider), self._labels.told("model", model)


class BoundedLabels:
    """The values of labels that are told apart: the first so many of each."""

    def __init__(self, most: int) -> None:
        self._most, self._known = most, dict[str, dict[str, str]]()

    def told(self, label: str, value: str) -> str:
        """Return the value, fit for a label, or `other` where there are too many already."""
        known = self._known.setdefault(label, {})
        if (told := known.get(value)) is None:
            if len(known) >= self._most:
                return OTHER
            told = known[value] = clean(value)
        return told


class _WithoutBirths:
    """A registry without the samples that say when each series began: they double what is read, and no query asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            if metric.samples or not metric.name.endswith("_created"):
                yield metric


class GaugesNow:
    """What stands now, and is of no event: set before each look."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, words: str, *label: str) -> Gauge:
            return Gauge(f"orchestrator_{name}", words, label, registry=registry)

        self.requests = gauge("requests_in_flight", "Requests to the gateway that models answer now.")
        self.runs = gauge("runs", "Recorded runs that are not over, by their state.", "state")
        self.approvals = gauge("approvals_waiting", "Questions that await a person.")
        self.breakers = gauge("breaker_state", "1 for the state that a breaker is in.", "provider", "model", "state")
        self.shut = gauge("account_shut", "1 where an operator must act: a key, or money.", "provider", "model")
        self.cap = gauge("budget_cap_usd", "Our own cap for a day, USD.", "budget")
        self.spent = gauge("budget_spent_usd", "What of it is spent, USD.", "budget")
        self.held = gauge("budget_held_usd", "What of it calls in flight hold, USD.", "budget")

    def set_all(self, gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
        """Let a gauge have these values, and no others."""
        gauge.clear()
        for labels, value in values.items():
            gauge.labels(*labels).set(value)


def _new_span_id() -> str:
    return secrets.token_hex(8)
