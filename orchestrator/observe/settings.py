"""Whether telemetry is asked for, as the variables of OpenTelemetry's SDK say it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

INSTALL = "pip install 'squad-orchestrator[otel]'"
_ENDPOINTS = {
    "traces": ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    "metrics": ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
}
NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
MOST_SPANS = 20_000
"""More than the SDK's own 2,048: a run of a thousand tasks side by side makes four spans of each at once."""
_CAPTURES = frozenset({"true", "1", "span_only", "span_and_event"})


@dataclass(frozen=True, slots=True)
class OtelSettings:
    """What is to be sent. `content`: with what models are asked and answer."""

    spans: bool = False
    metrics: bool = False
    content: bool = False
    names_service: bool = False
    queue: int | None = MOST_SPANS
    """Spans that wait to be sent at most; None: as the SDK's own variable has it."""
    unusable: str = ""
    """Why nothing can be sent although it is asked for."""

    @property
    def is_wanted(self) -> bool:
        return self.spans or self.metrics

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> OtelSettings:
        """Return what the variables ask for. Without an address of a collector nothing is sent, to nobody."""
        if environ.get("OTEL_SDK_DISABLED", "").strip().casefold() == "true":
            return cls()
        spans, metrics = _wanted(environ, "traces"), _wanted(environ, "metrics")
        if not (spans or metrics):
            return cls()
        content = environ.get(CONTENT, "").strip().casefold() in _CAPTURES
        named = bool(environ.get("OTEL_SERVICE_NAME")) or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        queue = None if environ.get("OTEL_BSP_MAX_QUEUE_SIZE") else MOST_SPANS
        return cls(spans, metrics, content, named, queue, _unusable(environ))


def _wanted(environ: Mapping[str, str], signal: str) -> bool:
    exporters = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").replace(" ", "").casefold().split(",")
    return "otlp" in exporters and any(environ.get(name, "").strip() for name in _ENDPOINTS[signal])


def _unusable(environ: Mapping[str, str]) -> str:
    for signal in ("", "TRACES_", "METRICS_"):
        name = f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL"
        if (protocol := environ.get(name, "").strip()) not in ("", "http/protobuf"):
            return f"{name} is {protocol[:40]}; only http/protobuf is spoken here"
    if not all(map(is_installed, NEEDED)):
        return f"the packages of OpenTelemetry are not installed: {INSTALL}"
    return ""


def is_installed(package: str) -> bool:
    """Return whether a package, or a module of one, can be imported."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
