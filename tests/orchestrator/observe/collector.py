"""A collector of OpenTelemetry in this process: it takes OTLP over HTTP, and tells what came."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class SpanSeen:
    """One span as it came. `parent` and `status` are empty where there is none."""

    name: str
    id: str
    trace: str
    parent: str
    kind: int
    attributes: dict[str, Any]
    events: list[str]
    failed: bool
    start: int
    end: int


@dataclass
class Collector:
    """What came. `status` answers each request, after `delay_s`."""

    url: str = ""
    spans: list[SpanSeen] = field(default_factory=list)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    status: int = 200
    delay_s: float = 0.0

    def named(self, beginning: str) -> list[SpanSeen]:
        return [span for span in self.spans if span.name.startswith(beginning)]

    def above(self, span: SpanSeen) -> list[str]:
        """Return the names of the spans above one, the innermost first."""
        by_id = {one.id: one for one in self.spans}
        found = []
        while (above := by_id.get(span.parent)) is not None:
            found.append(above.name)
            span = above
        return found

    def take(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path.endswith("/v1/traces"):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = _values(resource.resource.attributes)
                self.spans += [_span(one) for scope in resource.scope_spans for one in scope.spans]
        elif path.endswith("/v1/metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
                    points = [
                        {**_values(p.attributes), "count": p.count, "sum": p.sum} for p in metric.histogram.data_points
                    ]
                    self.metrics[metric.name] = points


def _span(one: Any) -> SpanSeen:
    return SpanSeen(
        one.name,
        one.span_id.hex(),
        one.trace_id.hex(),
        one.parent_span_id.hex(),
        one.kind,
        _values(one.attributes),
        [event.name for event in one.events],
        one.status.code == 2,
        one.start_time_unix_nano,
        one.end_time_unix_nano,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting(**more: Any) -> Iterator[Collector]:
    """Yield a collector that listens on this machine."""
    seen = Collector(**more)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            time.sleep(seen.delay_s)
            packed = self.headers.get("content-encoding") == "gzip"
            seen.take(self.path, gzip.decompress(body) if packed else body)
            self.send_response(seen.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
