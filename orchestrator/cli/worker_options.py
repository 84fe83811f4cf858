"""How a worker process is to work, as the command line says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click

from providers.documents.likeness import closest

QUEUES = {"tasks": 20, "runs": 20}
"""How many jobs of each queue a worker does at a time, where nothing is said. One that drives a run mostly waits."""
MOST_SLOTS = 1000
HEALTH_HOST = "127.0.0.1"


class HealthAddress(NamedTuple):
    """Where who watches over the worker asks."""

    host: str
    port: int


class QueuesOption(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """`tasks=50,runs=5`: how many jobs of each queue are done at a time; of one that is not named, none."""

    name = "queues"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Mapping[str, int]:
        if isinstance(value, Mapping):
            return value
        slots: dict[str, int] = {}
        for part in str(value).split(","):
            queue, _, number = (word.strip() for word in part.partition("="))
            if queue not in QUEUES:
                like = closest(queue, QUEUES)
                hint = f"did you mean {like}?" if like else f"there are: {', '.join(QUEUES)}"
                self.fail(f"there is no queue {queue!r}: {hint}", param, ctx)
            if queue in slots:
                self.fail(f"{queue} is named twice", param, ctx)
            if not number.isdecimal() or int(number) > MOST_SLOTS:
                self.fail(f"{part!r}: write tasks=50, a number up to {MOST_SLOTS}", param, ctx)
            slots[queue] = int(number)
        return slots if any(slots.values()) else self.fail("a worker serves one queue at least", param, ctx)


class HealthOption(click.ParamType):  # type: ignore[type-arg]  # as above
    """`8080`, or `0.0.0.0:8080` where others than this machine may ask."""

    name = "health"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> HealthAddress:
        if isinstance(value, HealthAddress):
            return value
        host, colon, port = str(value).rpartition(":")
        if not port.isdecimal() or int(port) > 65535 or (colon and not host):
            self.fail(f"{value!r}: write a port, or HOST:PORT", param, ctx)
        return HealthAddress(host.strip("[]") or HEALTH_HOST, int(port))


@dataclass(frozen=True, slots=True)
class WorkerAsked:
    """How to work, as the command line says it. Times are seconds."""

    db: str
    queues: Mapping[str, int]
    health: HealthAddress | None
    out: Path | None
    grace: float
    heartbeat: float
    timeout: float
