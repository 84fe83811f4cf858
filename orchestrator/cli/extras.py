"""The extras of the distribution: what each gives, and whether it is installed. Reads no package of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple


class Extra(NamedTuple):
    """An optional part: its top-level modules, all of which it needs, and what it gives."""

    modules: tuple[str, ...]
    gives: str

    @property
    def is_installed(self) -> bool:
        return all(map(_is_there, self.modules))


EXTRAS: Mapping[str, Extra] = {
    "mcp": Extra(("mcp", "mcp_types"), "tools of MCP servers, and `orchestrator mcp`"),
    "server": Extra(("fastapi", "prometheus_client", "uvicorn"), "`orchestrator serve`: pages, JSON API, gateway"),
    "cluster": Extra(("procrastinate", "psycopg", "psycopg_pool"), "runs over several machines, in PostgreSQL"),
    "redis": Extra(("redis",), "limits that several machines share, in Redis"),
    "otel": Extra(
        ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"), "traces and metrics to OpenTelemetry"
    ),
    "embeddings": Extra(("numpy",), "memory that is searched by meaning, with a model in a folder"),
    "prices": Extra(("genai_prices",), "prices of models that the catalog does not know"),
    "fast": Extra(("httptools",), "faster network calls"),
    "charts": Extra(("resvg_py",), "charts of `simulate` as PNG"),
}
"""Extra -> what it is. Those for work on the project itself are not among them."""


def install(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'squad-orchestrator[{extra}]'"


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
