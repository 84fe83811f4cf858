"""The one door to what the environment asks for: opened with a program, closed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.observe.settings import OtelSettings, is_installed
from orchestrator.subscribers import Subscriber

if TYPE_CHECKING:
    from orchestrator.observe.metrics import Metrics


@contextmanager
def observing(
    environ: Mapping[str, str], mask: Callable[[str], str], say: Callable[[str], None]
) -> Iterator[tuple[Subscriber, ...]]:
    """Yield who is to be told of all runs in the block. `environ` is the process's own, of which no file has a say.

    `say` is told, once, why something cannot be sent; it may be called in another thread.
    """
    settings = OtelSettings.of(environ)
    if not settings.is_wanted:
        yield ()
        return
    if settings.unusable:
        say(f"no telemetry is sent: {settings.unusable}")
        yield ()
        return
    from orchestrator.observe.otel import otlp  # OpenTelemetry's SDK, an extra

    said: list[str] = []

    def trouble(what: str) -> None:
        if not said:
            said.append(what)
            say(f"telemetry is not sent as it should be: {mask(what)}")

    telemetry = otlp(settings, mask, trouble)
    try:
        yield (telemetry,)
    finally:
        if not telemetry.close():
            trouble("the collector takes too long; what was not sent yet is given up")


def metrics_where_installed() -> Metrics | None:
    """Return what counts for Prometheus, None without its client."""
    if not is_installed("prometheus_client"):
        return None
    from orchestrator.observe.metrics import Metrics  # Prometheus' client, an extra

    return Metrics()
