"""Spans and figures to a collector of OpenTelemetry, by its own SDK: `pip install 'squad-orchestrator[otel]'`.

    telemetry = OpenTelemetry(BatchSpanProcessor(OTLPSpanExporter()))
    result = await run_squad(squad, subscribers=[telemetry])
    telemetry.close()

Nothing global is set: no tracer provider, no propagator, no instrumentation. Where the SDK's variables ask for it
(`OTEL_EXPORTER_OTLP_ENDPOINT`), `otlp` makes one that follows them.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from orchestrator._version import __version__
from orchestrator.observe.open_spans import Attributes, SpanRecord, Value
from orchestrator.observe.settings import OtelSettings
from orchestrator.observe.spans import EMBEDDINGS, SpanTree
from orchestrator.subscribers import Subject, SubjectEnded, Subscriber
from providers.documents.secrets import hidden
from providers.documents.unicode import clean, cut
from providers.trace_context import TraceContext

if TYPE_CHECKING:
    from orchestrator.events import Event

CLOSE_S = 5.0
"""How long the end of a process waits for what is not sent yet."""
LONGEST_NAME = 200
SCOPE = "squad-orchestrator"
_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT}
DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds: the conventions' own bounds."""
TOKENS = tuple(4**power for power in range(14))


class OpenTelemetry(Subscriber):
    """Makes spans of what it hears, and hands them to `processors` of the SDK. `close` it after the last run.

    `meters` takes figures of each model call, too. `mask` takes secrets out of every text; with `content`, what models
    are asked and answer is in their spans.
    """

    traces = True

    def __init__(
        self,
        *processors: SpanProcessor,
        resource: Resource | None = None,
        meters: MeterProvider | None = None,
        mask: Callable[[str], str] = hidden,
        content: bool = False,
    ) -> None:
        self._ids = _PlannedIds()
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SCOPE, __version__)
        self._figures = None if meters is None else _Figures(meters)
        self._meters, self._mask, self.wants_content = meters, mask, content
        self._trees: dict[Subject, SpanTree] = {}

    def samples(self, subject: Subject) -> bool:
        trace = subject.trace
        parent = None if subject.parent is None else _below(subject.parent, is_remote=True)
        decision = self._provider.sampler.should_sample(parent, int(trace.trace_id, 16), "").decision
        return decision is Decision.RECORD_AND_SAMPLE

    def hear(self, subject: Subject, event: Event) -> None:
        if subject not in self._trees:
            self._trees[subject] = SpanTree(subject, _new_span_id, self._mask, content=self.wants_content)
        for span in self._trees[subject].hear(event):
            if self._figures is not None:
                self._figures.take(span)
            if subject.trace.sampled:
                self._export(subject, span)
        if isinstance(event.data, SubjectEnded):
            del self._trees[subject]

    def _export(self, subject: Subject, span: SpanRecord) -> None:
        asked_by = "" if subject.parent is None else subject.parent.span_id
        above = _below(subject.trace.at(span.parent), is_remote=span.parent == asked_by) if span.parent else Context()
        self._ids.plan(subject.trace.trace_id, span.id)
        made = self._tracer.start_span(
            clean(span.name)[:LONGEST_NAME],
            above,
            _KINDS[span.kind],
            _values(span.attributes),
            start_time=_nanoseconds(span.start),
            record_exception=False,
        )
        for name, at, about in span.events:
            made.add_event(clean(name), _values(about), _nanoseconds(at))
        if span.error:
            made.set_status(Status(StatusCode.ERROR, clean(span.told) or None))
        made.end(_nanoseconds(span.end))

    def close(self, patience: float = CLOSE_S) -> bool:
        """Send what is not sent yet, and end. False: that took longer than `patience` seconds, and is given up."""

        def shut() -> None:
            self._provider.shutdown()
            if self._meters is not None:
                self._meters.shutdown()

        shutting = threading.Thread(target=shut, name="end of telemetry", daemon=True)
        shutting.start()
        shutting.join(patience)
        return not shutting.is_alive()


class _PlannedIds(IdGenerator):
    """Gives the ids that were planned for the next span of the same thread."""

    def __init__(self) -> None:
        self._next = threading.local()

    def plan(self, trace_id: str, span_id: str) -> None:
        self._next.ids = int(trace_id, 16), int(span_id, 16)

    def generate_trace_id(self) -> int:
        trace_id: int = self._next.ids[0]
        return trace_id

    def generate_span_id(self) -> int:
        span_id: int = self._next.ids[1]
        return span_id


class _Figures:
    """The two figures of each model call that the conventions recommend."""

    def __init__(self, meters: MeterProvider) -> None:
        meter = meters.get_meter(SCOPE, __version__)
        self._took = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATIONS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )

    def take(self, span: SpanRecord) -> None:
        told = span.attributes
        if told.get("gen_ai.operation.name") not in ("chat", EMBEDDINGS):
            return
        names = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type")
        about = _values({name: told[name] for name in names if name in told})
        self._took.record(span.end - span.start, about)
        for sort in ("input", "output"):
            if isinstance(tokens := told.get(f"gen_ai.usage.{sort}_tokens"), int):
                self._tokens.record(tokens, {**about, "gen_ai.token.type": sort})


def otlp(settings: OtelSettings, mask: Callable[[str], str], trouble: Callable[[str], None]) -> OpenTelemetry:
    """Return what sends spans and figures where the variables of OpenTelemetry's SDK say, by OTLP over HTTP.

    `trouble` is told once why something was not sent, in a thread of its own.
    """
    _heed_logs(trouble)
    resource = Resource.create({} if settings.names_service else {SERVICE_NAME: SCOPE})
    meters = None
    if settings.metrics:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        meters = MeterProvider([reader], resource, shutdown_on_exit=False)
    processors = [BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=settings.queue)] if settings.spans else []
    return OpenTelemetry(*processors, resource=resource, meters=meters, mask=mask, content=settings.content)


class _TroubleHeard(logging.Handler):
    """Tells the first thing that the SDK logs, which without a handler would be a line on stderr for each try."""

    def __init__(self, trouble: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._trouble: Callable[[str], None] | None = trouble

    def emit(self, record: logging.LogRecord) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            trouble(cut(record.getMessage(), LONGEST_NAME))


def _heed_logs(trouble: Callable[[str], None]) -> None:
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    for handler in [one for one in logger.handlers if isinstance(one, _TroubleHeard)]:
        logger.removeHandler(handler)
    logger.addHandler(_TroubleHeard(trouble))


def _below(trace: TraceContext, *, is_remote: bool) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if trace.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([trace.state]) if trace.state else None
    above = SpanContext(int(trace.trace_id, 16), int(trace.span_id, 16), is_remote, flags, state)
    return set_span_in_context(NonRecordingSpan(above), Context())


def _new_span_id() -> str:
    return secrets.token_hex(8)


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)


def _values(about: Attributes) -> Mapping[str, Any]:
    return {name: _value(value) for name, value in about.items()}


def _value(value: Value) -> Any:
    if isinstance(value, str):
        return clean(value)
    return [clean(one) for one in value] if isinstance(value, list | tuple) else value
