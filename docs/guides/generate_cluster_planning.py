"""Makes the figures of `cluster-planning.md`: `python docs/guides/generate_cluster_planning.py` (two minutes).

Simulates `cluster-planning.yaml` with 1 to 10,000 workers, and its limits on each kind of ledger; keeps the figures in
`cluster-planning.json`, draws `cluster-planning.svg`, and writes the tables between the marks of the page. With
`--tables` it simulates nothing: formulas, tables and picture are made anew of the figures that are kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import log10
from pathlib import Path
from typing import Any

from orchestrator.cli.ui.cluster import seconds_word
from providers.catalog.model import Catalog, Limit
from providers.simulation import Scenario, load_scenario, simulate
from providers.simulation.chart import COLOURS
from providers.simulation.cluster.capacity import HOUR, capacity_of
from providers.simulation.cluster.model import Away, Cluster
from providers.simulation.svg import cross, escaped, grid, line_to, text_at
from providers.windows import Rolling

DOCS = Path(__file__).parent
PAGE, KEPT, PICTURE = (DOCS / f"cluster-planning.{kind}" for kind in ("md", "json", "svg"))
SIZES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
LOADS = (10_000, 100_000, 1_000_000)
DRAWN = ("task slots", "worker CPU", "PostgreSQL", "Redis", "providers")
Figures = Mapping[str, Any]


def base() -> tuple[Scenario, Cluster]:
    """Return the scenario of the page, and its cluster."""
    scenario = load_scenario(DOCS / "cluster-planning.yaml")
    assert scenario.cluster is not None
    return scenario, scenario.cluster


def at_size(workers: int) -> Figures:
    """Simulate the page's load on so many workers."""
    scenario, cluster = base()
    use = simulate(replace(scenario, cluster=replace(cluster, workers=workers))).cluster
    assert use is not None
    return {
        "workers": workers,
        "offered": round(use.offered),
        "reached": round(use.reached),
        "first": use.first,
        "used": {name: round(of.used, 4) for name, of in use.resources.items()},
        "waits": [use.jobs["tasks"].p50, use.jobs["tasks"].p99],
    }


LEDGERS: Mapping[str, Mapping[str, Any]] = {
    "`redis`": {},
    "`redis`, away for 20 s": {"away": Away(60.0, 20.0)},
    "`redis`, away for 20 s, and empty then": {"away": Away(60.0, 20.0, empty=True)},
    "`postgres`": {"ledger": "postgres"},
    "`redis`, read as it was up to 1 s ago": {"stale": 1.0},
    "`split`": {"ledger": "split"},
    "`memory`": {"ledger": "memory"},
}


def on_ledger(name: str) -> Figures:
    """Simulate 100 workers and a limit of 1,000 calls a minute, five times as many as which come, on one ledger."""
    scenario, cluster = base()
    said = dict(LEDGERS[name])
    away = said.pop("away", None)
    redis = replace(cluster.redis, away=() if away is None else (away,))
    load = tuple(replace(each, count=15_000) for each in scenario.load)
    cluster = replace(cluster, workers=100, redis=redis, **said)
    use = simulate(replace(scenario, catalog=_limited(scenario.catalog, 1000), load=load, cluster=cluster))
    assert use.cluster is not None
    groq = use.providers["groq"]
    return {"name": name, "answers": groq.answers, "exceeded": use.cluster.exceeded, "lost": use.cluster.lost}


def _limited(catalog: Catalog, calls: float) -> Catalog:
    """Return the catalog in which one of the two providers allows so many calls in a minute, and the other any."""
    rows = dict(catalog.providers)
    rows["groq"] = replace(rows["groq"], limits=(Limit("requests", calls, Rolling(60.0)),))
    rows["cerebras"] = replace(rows["cerebras"], limits=())
    return Catalog(rows)


def sweep_table(figures: Figures) -> Iterator[str]:
    yield "| workers | turns an hour | most used | task slots | core | PostgreSQL | Redis | task waits: p50, p99 |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in figures["sweep"]:
        used, waits = row["used"], [seconds_word(each) for each in row["waits"]]
        first = f"{row['first']}, {used[row['first']]:.0%}"
        shares = " | ".join(f"{used[name]:.1%}" for name in DRAWN[:4])
        yield f"| {row['workers']:,} | {row['reached']:,} | {first} | {shares} | {waits[0]}, {waits[1]} |"


def ledger_table(figures: Figures) -> Iterator[str]:
    yield "| ledger | answers of the limited provider | calls past its limit | workers continued alone |"
    yield "|---|---|---|---|"
    for row in figures["ledgers"]:
        yield f"| {row['name']} | {row['answers']:,} | {row['exceeded']:,} | {row['lost']:,} times |"


def load_table() -> Iterator[str]:
    """Yield what is full first, by formulas: no simulation."""
    scenario, cluster = base()
    yield f"| workers | {' | '.join(f'{turns:,} turns an hour' for turns in LOADS)} | carries at most |"
    yield f"|---|{'---|' * (len(LOADS) + 1)}"
    for workers in (1, 10, 100, 1000, 10_000):
        cells = []
        for turns in LOADS:
            load = tuple(replace(each, count=turns, over=HOUR) for each in scenario.load)
            capacity = capacity_of(replace(scenario, load=load), replace(cluster, workers=workers))
            name = max(capacity.used, key=lambda each: capacity.used[each])
            cells.append(f"{name} {capacity.used[name]:.0%}")
        yield f"| {workers:,} | {' | '.join(cells)} | {_most(capacity.carries)} |"


def _variants(cluster: Cluster) -> Iterator[tuple[str, Cluster]]:
    costs = cluster.postgres
    yield "30 workers, 50 slots", cluster
    yield "10,000 workers, 1 slot", replace(cluster, workers=10_000, tasks=1, runs=1)
    yield (
        "10,000 workers, 1 slot, PostgreSQL with 32 cores",
        replace(cluster, workers=10_000, tasks=1, runs=1, postgres=replace(costs, cores=32)),
    )
    yield "1,000 workers that poll for jobs", replace(cluster, workers=1000, wakes="none")
    yield "20 workers, 500 slots", replace(cluster, workers=20, tasks=500, runs=500)
    yield "limits in PostgreSQL", replace(cluster, ledger="postgres")
    flushed = replace(costs, check_is_flushed=True)
    yield "limits in PostgreSQL, each check flushed", replace(cluster, ledger="postgres", postgres=flushed)
    yield "a turn takes 30 ms of a core", replace(cluster, cpu=0.03)
    yield "a disk that flushes in 20 ms", replace(cluster, postgres=replace(costs, flush=0.02))
    yield "100 connections, no pooler", replace(cluster, postgres=replace(costs, max_connections=100))


def variant_table() -> Iterator[str]:
    """Yield what else could be built for the page's load, by formulas."""
    scenario, cluster = base()
    yield "| for a million turns an hour | carries at most | first bottleneck | used of it |"
    yield "|---|---|---|---|"
    for name, other in _variants(cluster):
        capacity = capacity_of(scenario, other)
        yield f"| {name} | {_most(capacity.carries)} | {capacity.first} | {capacity.used[capacity.first]:.0%} |"


def _most(rate: float) -> str:
    """Return turns an hour with three digits: a formula has no more."""
    turns = rate * HOUR
    return f"{round(turns, 2 - int(log10(turns))):,.0f}" if turns else "nothing"


def page(figures: Figures, text: str) -> str:
    """Return the page with its tables made of the figures."""
    tables = {
        "sweep": sweep_table(figures),
        "ledgers": ledger_table(figures),
        "loads": load_table(),
        "variants": variant_table(),
    }
    for name, rows in tables.items():
        begins, ends = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begins)
        text = before + begins + "\n".join(rows) + "\n" + ends + rest.partition(ends)[2]
    return text


# The picture

LEFT, RIGHT, WIDTH, HIGH = 84, 150, 960, 190
TOPS = (96, 372)
STYLE = """
text { font: 12px system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif }
.h1 { font-size: 18px; font-weight: 600 } .h2 { font-size: 14px; font-weight: 600 }
.end { text-anchor: end } .mid { text-anchor: middle }
@media (prefers-color-scheme: dark) {
  .paper { fill: #14171c } .ink { fill: #e8e8e8 } .soft { fill: #a8adb5 }
  .line { stroke: #e8e8e8 } .grid { stroke: #3a3f47 }
}
"""


def picture(figures: Figures) -> str:
    """Return an SVG: what was done by how many workers, and below it the share of each thing that was used."""
    rows: Sequence[Figures] = figures["sweep"]
    title, height = "A million turns an hour, by the number of workers", TOPS[1] + HIGH + 60
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    told = "; ".join(f"{row['workers']:,} workers: {row['reached']:,}, {row['first']}" for row in rows)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
            f'<title id="title">{escaped(title)}</title><desc id="desc">{escaped(told)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            text_at(LEFT, 34, title, "ink h1"),
            *_done(rows),
            *_used(rows),
            "</svg>",
            "",
        ]
    )


def _x(workers: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * log10(workers) / log10(SIZES[-1])


def _done(rows: Sequence[Figures]) -> Iterator[str]:
    top, most = TOPS[0], 1_200_000
    yield text_at(LEFT, top - 16, "turns done in an hour; a cross marks a bottleneck", "ink h2")
    yield from grid(LEFT, WIDTH - RIGHT, top, HIGH, most, lambda turns: f"{turns:,.0f}")
    points = [(_x(row["workers"]), top + HIGH * (1 - min(row["reached"], most) / most)) for row in rows]
    yield _line(points, COLOURS[0])
    for (x, y), row in zip(points, rows, strict=True):
        if row["used"][row["first"]] > 0.95:
            yield cross(x, y, f"{row['first']} is full")
            below = x < WIDTH / 2  # where the line rises; the last one's is in the margin
            beside = 18 if below else -6
            yield text_at(x + 10, y + beside, row["first"], "ink")
    yield from _axis(top)


def _used(rows: Sequence[Figures]) -> Iterator[str]:
    top, ends = TOPS[1], list[tuple[float, str, str]]()
    yield text_at(LEFT, top - 16, "share that is used", "ink h2")
    yield from grid(LEFT, WIDTH - RIGHT, top, HIGH, 1.0, lambda share: f"{share:.0%}")
    for name, colour in zip(DRAWN, COLOURS, strict=False):
        points = [(_x(row["workers"]), top + HIGH * (1 - min(row["used"][name], 1.0))) for row in rows]
        yield _line(points, colour)
        ends.append((points[-1][1], name, colour))
    last = top + HIGH + 12.0
    for y, name, colour in sorted(ends, reverse=True):
        last = min(y, last - 17)
        yield f'<rect x="{WIDTH - RIGHT + 12}" y="{last - 6:.1f}" width="10" height="10" fill="{colour}"/>'
        yield text_at(WIDTH - RIGHT + 28, last + 4, name, "ink")
    yield from _axis(top)
    yield text_at((LEFT + WIDTH - RIGHT) / 2, top + HIGH + 42, "workers, of 50 slots each", "soft mid")


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    through = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points)
    return f'<polyline points="{through}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def _axis(top: float) -> Iterator[str]:
    foot = top + HIGH
    yield line_to(LEFT, foot, WIDTH - RIGHT, foot)
    for workers in SIZES:
        yield line_to(_x(workers), foot, _x(workers), foot + 4)
        yield text_at(_x(workers), foot + 20, f"{workers:,}", "soft mid")


def measured() -> Figures:
    """Simulate all of it."""
    return {"sweep": [at_size(size) for size in SIZES], "ledgers": [on_ledger(name) for name in LEDGERS]}


def main() -> None:
    if "--tables" not in sys.argv[1:]:
        KEPT.write_text(json.dumps(measured(), indent=1) + "\n", "utf-8")
    figures = json.loads(KEPT.read_text("utf-8"))
    PICTURE.write_text(picture(figures), "utf-8")
    PAGE.write_text(page(figures, PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
