"""What a cluster came to, and what it would carry, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.cli.ui.columns import columns
from providers.simulation.cluster.capacity import HOUR, Capacity
from providers.simulation.report import ClusterUse, Durations

WIDTH = 100


def render_cluster(use: ClusterUse) -> str:
    """Return what was used of each thing, and what to do."""
    head = ("RESOURCE", "USED", "BY FORMULA", "CARRIES, TURNS/H", "WAITED, HALF", "99%", "LONGEST")
    rows = [
        (
            f"{name} *" if name == use.first else name,
            f"{of.used:.1%}",
            f"{of.planned:.1%}",
            "any" if of.carries is None else f"{of.carries:,.0f}",
            *_waited(of.waited),
        )
        for name, of in use.resources.items()
    ]
    return "\n\n".join((columns([head, *rows]), columns(list(_lines(use))), _advised(use.advice)))


def render_capacity(rows: Sequence[tuple[int, Capacity]], own: int, advised: Sequence[str]) -> str:
    """Return a table of what so many workers carry, and what to do with as many as the file has (`own`)."""
    names = list(rows[0][1].needs)
    head = ("WORKERS", "CARRIES, TURNS/H", "FIRST", *(name.upper() for name in names))
    cells = [
        (
            f"{workers:,}{' *' if workers == own else ''}",
            f"{capacity.carries * HOUR:,.0f}",
            capacity.first,
            *(_share(capacity.used[name]) for name in names),
        )
        for workers, capacity in rows
    ]
    offered = rows[0][1].offered * HOUR
    told = f"By formulas, of {offered:,.0f} turns an hour: the share of each thing that they use; past 100% they queue."
    return "\n\n".join((told, columns([head, *cells]), _advised(advised)))


def _share(share: float) -> str:
    return f"{share:,.0%}" if share >= 0.1 else f"{share:.2%}"


def _lines(use: ClusterUse) -> Iterator[tuple[str, str]]:
    if use.connected < use.workers:
        yield "workers", f"{use.workers:,}, of which {use.connected:,} found room for their connections"
    else:
        yield "workers", f"{use.workers:,}"
    yield "turns", f"{use.reached:,.0f} an hour were done, of {use.offered:,.0f} that came"
    for queue, waited in use.jobs.items():
        half, most, longest = _waited(waited)
        yield queue, f"half began within {half}, 99% within {most}, the longest waited {longest}"
    yield "limits", f"{use.exceeded:,} calls exceeded a provider's limit"
    if use.lost:
        yield "ledger", f"workers lost it {use.lost:,} times, and went on alone"
    if use.unfinished:
        yield "unfinished", f"{use.unfinished:,} turns: no worker was left for them"
    if use.cut:
        yield "deaths", f"{use.cut:,} calls were in flight: they are paid for, and made again"


def _waited(waited: Durations) -> tuple[str, str, str]:
    half, most = (min(value, waited.longest) for value in (waited.p50, waited.p99))
    return seconds_word(half), seconds_word(most), seconds_word(waited.longest)


def seconds_word(seconds: float) -> str:
    """Return seconds with three digits, in us, ms, s or h."""
    for most, size, unit in ((0.001, 1e6, "us"), (1.0, 1e3, "ms"), (7200.0, 1.0, "s")):
        if seconds < most:
            return f"{seconds * size:.3g} {unit}" if seconds >= 5e-7 else "-"
    return f"{seconds / 3600:.3g} h"


def _advised(advised: Sequence[str]) -> str:
    lines = (textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ") for text in advised)
    return "\n".join(["What to do:", *(line for wrapped in lines for line in wrapped)])


def capacity_document(rows: Sequence[tuple[int, Capacity]], advised: Sequence[str]) -> Mapping[str, object]:
    """Return plain data that `json.dumps` takes. Turns are by the hour."""
    return {
        "schema_version": 1,
        "advice": list(advised),
        "sizes": [
            {
                "workers": workers,
                "offered": capacity.offered * HOUR,
                "carries": capacity.carries * HOUR,
                "first": capacity.first,
                "used": dict(capacity.used),
                "turn_seconds": capacity.turn,
                "task_seconds": capacity.task,
            }
            for workers, capacity in rows
        ],
    }
