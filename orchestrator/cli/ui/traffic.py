"""Recorded traffic beside what simulations of it came to, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.cli.recorded_load import RecordedLoad
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.figures import duration
from orchestrator.cli.ui.simulation import WIDTH, Measure, as_money, as_share, as_whole
from orchestrator.forecast.figures import Figures, ModelError, model_error
from providers.documents.unicode import printable

PolicyFigures = Sequence[tuple[str, Figures]]
"""What each policy came to; the first of them is the one in use."""


def render_traffic(load: RecordedLoad, found: PolicyFigures) -> str:
    """Return what really happened, and what each policy came to; how honest the model is comes first."""
    real, same = load.trial.recorded, found[0][1]
    lines = [
        f"recorded traffic: {load.title}",
        f"model error, same policy: {told_error(model_error(real, same))}",
    ]
    lines += [part for note in [*load.notes, *_without_calls(found)] for part in textwrap.wrap(note, WIDTH)]
    assumed = ["Assumed:"]
    for text in load.trial.observed.assumptions:
        assumed += textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return printable("\n\n".join(["\n".join(lines), compared([("recorded", real), *found]), "\n".join(assumed)]))


def _without_calls(found: PolicyFigures) -> Iterator[str]:
    for name, figures in found:
        if figures.turns and not figures.calls:
            why = "none that it names has a key here; --all-providers takes each as if it had"
            yield f"{name} calls no provider: {why}"


def compared(figures: PolicyFigures, *, moved: bool | None = None) -> str:
    """Return the figures as a table, with what `moved` to the last from the one before it; None: of three and more."""
    tells = len(figures) > 2 if moved is None else moved
    known = [dict(_measures(each)) for _, each in figures]
    names = dict.fromkeys(name for each in known for name in each)
    rows = []
    for name in names:
        usual = next(each[name] for each in known if name in each)
        measures = [each.get(name, usual._replace(value=0.0)) for each in known]
        last = [measures[-2].moved_to(measures[-1].value)] if tells else []
        rows.append((name, *(each.written(each.value) for each in measures), *last))
    head = ("", *(name.upper() if name == "recorded" else name for name, _ in figures))
    return columns([(*head, "MOVED") if tells else head, *rows])


def told_error(error: ModelError) -> str:
    """Return in a line how far the simulation is from what really happened."""
    parts = [
        f"cost {_percent(error.cost)}",
        f"half answered within {_percent(error.p50)}",
        f"95% within {_percent(error.p95)}",
        f"failures {error.failed * 100:+.1f} points",
        f"{error.moved:.1%} of the answers from another provider",
    ]
    return ", ".join(parts)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share * 100:+.1f}%"


def _measures(figures: Figures) -> Iterator[tuple[str, Measure]]:
    yield "turns answered", Measure(figures.answered, as_whole)
    yield "failed", Measure(figures.failed, as_whole)
    yield "cost", Measure(figures.cost, as_money)
    if figures.unpriced:
        yield "answers of unknown price", Measure(figures.unpriced, as_whole)
    yield "half answered within", Measure(figures.p50, _took, duration)
    yield "95% within", Measure(figures.p95, _took, duration)
    yield "waited for room", Measure(figures.waited, as_whole)
    yield "calls", Measure(figures.calls, as_whole)
    for name, answers in figures.providers.items():
        yield f"{name}: share of answers", _share_of(answers, figures.answered)
    for tier, providers in figures.tiers.items():
        total = sum(providers.values())
        for name, answers in providers.items():
            yield f"tier {tier}: {name}", _share_of(answers, total)


def _took(seconds: float) -> str:
    """Return how long answers took; a dash where there is none."""
    return duration(seconds) if seconds else "-"


def _share_of(part: int, total: int) -> Measure:
    return Measure(part / total if total else 0.0, as_share, lambda points: f"{points * 100:.1f} points")


def traffic_document(load: RecordedLoad, found: PolicyFigures) -> Mapping[str, Any]:
    """Return all of it as plain data."""
    real = load.trial.recorded
    return {
        "schema_version": 1,
        "held": True,
        "traffic": {
            "since": load.since,
            "until": load.until,
            "runs": len({turn.run for turn in load.traffic.turns if turn.run}),
            "gateway_requests": sum(not turn.run for turn in load.traffic.turns),
            "turns": len(load.traffic.turns),
            "left_out": dict(load.traffic.left_out),
        },
        "model_error": model_error(real, found[0][1]).to_json(),
        "recorded": real.to_json(),
        "policies": [{"policy": name, **figures.to_json()} for name, figures in found],
        "notes": [*load.notes, *_without_calls(found)],
        "assumptions": list(load.trial.observed.assumptions),
    }
