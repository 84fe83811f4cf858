"""A run's timeline as SVG, a strip for each lane: what was at work when, who was asked, what was waited for. Pure.

A strip is as wide as its place: all that stands in it is placed in per cent. Times in which nothing was at work are
drawn short, so that a run that was resumed after a night can be read.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from orchestrator.server.pages.words import seconds
from orchestrator.server.views.timeline import Lane, ProviderSwitch, Span, TimelineView
from providers.documents.unicode import printable

STRIP_H = 22
LEAST = 0.35
"""Per cent of the width that is drawn of what took no time to speak of."""
GAP = 4.0
"""Per cent of the width that a time takes in which nothing was at work."""
LONG = 0.08
"""Share of the time at work from which on such a time is drawn short."""
MOST_GAPS = 8
TICKS = 6
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)


class Gap(NamedTuple):
    """A time in which nothing was at work: where it is drawn, and how long it took."""

    left: float
    took: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Times as per cent of a strip's width. `stops` are times with their places; between two of them it is even."""

    stops: Sequence[tuple[float, float]]
    gaps: Sequence[Gap]
    worked: float

    def at(self, time: float) -> float:
        """Return where a time is, 0 to 100."""
        stops = self.stops
        index = min(max(bisect_right(stops, (time, 1e9)) - 1, 0), len(stops) - 2)
        (began, left), (ended, right) = stops[index], stops[index + 1]
        share = (time - began) / (ended - began) if ended > began else 0.0
        return left + (right - left) * min(max(share, 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Return places of even times at work, and what each is called."""
        step = next((one for one in STEPS if self.worked / one <= TICKS), STEPS[-1])
        found: list[tuple[float, str]] = []
        worked, number = 0.0, 0
        for (began, left), (ended, right) in zip(self.stops, self.stops[1:], strict=False):
            if any(gap.left == left for gap in self.gaps):
                continue
            while number * step <= worked + ended - began:
                share = (number * step - worked) / (ended - began) if ended > began else 0.0
                found.append((left + (right - left) * share, _tick(number * step)))
                number += 1
            worked += ended - began
        return found


def _tick(time: float) -> str:
    return f"{time:.1f} s" if 0 < time < 1 else f"{time:.0f} s" if time < 60 else seconds(time)


def scale_of(spans: Iterable[Span], now: float) -> Scale:
    """Return the scale on which these spans are drawn; what goes on lasts until `now`."""
    busy = _joined(sorted((span.began, max(span.ended or now, span.began)) for span in spans if span.kind != "person"))
    if not busy:
        return Scale([(now, 0.0), (now + 1, 100.0)], (), 1.0)
    worked = sum(ended - began for began, ended in busy) or 1.0
    idle = [(later[0] - before[1], index) for index, (before, later) in enumerate(itertools.pairwise(busy))]
    long = {index for took, index in sorted(idle, reverse=True)[:MOST_GAPS] if took > worked * LONG}
    pieces: list[tuple[float, float]] = [busy[0]]
    for index, piece in enumerate(busy[1:]):
        if index in long:
            pieces.append(piece)
        else:
            pieces[-1] = (pieces[-1][0], piece[1])
    shown = sum(ended - began for began, ended in pieces) or 1.0
    room = (100.0 - GAP * (len(pieces) - 1)) / shown
    stops: list[tuple[float, float]] = []
    gaps: list[Gap] = []
    left = 0.0
    for number, (began, ended) in enumerate(pieces):
        stops.append((began, left))
        left += (ended - began) * room
        stops.append((ended, left))
        if number + 1 < len(pieces):
            gaps.append(Gap(left, pieces[number + 1][0] - ended))
            left += GAP
    return Scale(stops, gaps, shown)


def _joined(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for began, ended in intervals:
        if found and began <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((began, ended))
    return found


def axis_svg(scale: Scale) -> Markup:
    """Return the strip above the lanes: times at work, and how long each time took that is drawn short."""
    parts = [
        f'<text class="tick" x="{place:.2f}%" y="14" text-anchor="{_anchor(place)}">{escape(text)}</text>'
        for place, text in scale.ticks()
    ]
    parts += [
        f"<g><title>nothing was at work for {seconds(gap.took)}</title>"
        f'<rect class="gap" x="{gap.left:.2f}%" width="{GAP}%" height="{STRIP_H}"/>'
        f'<text class="tick" x="{gap.left + GAP / 2:.2f}%" y="14" text-anchor="middle">⋯</text></g>'
        for gap in scale.gaps
    ]
    return _strip("".join(parts), "axis")


def _anchor(place: float) -> str:
    return "start" if place < 3 else "end" if place > 97 else "middle"


def lane_svg(lane: Lane, switches: Iterable[ProviderSwitch], scale: Scale, now: float) -> Markup:
    """Return the strip of one lane: work behind, calls and waits in front, a mark for each switch of provider."""
    order = {"work": 0, "person": 1, "wait": 2, "call": 3}
    parts = [f'<line class="rule" x1="{at:.2f}%" x2="{at:.2f}%" y1="0" y2="{STRIP_H}"/>' for at, _ in scale.ticks()]
    parts += [f'<rect class="gap" x="{gap.left:.2f}%" width="{GAP}%" height="{STRIP_H}"/>' for gap in scale.gaps]
    parts += [_bar(span, scale, now) for span in sorted(lane.spans, key=lambda one: order[one.kind])]
    parts += [
        f"<g><title>{escape(printable(f'{one.before} → {one.after}: {one.why}'))}</title>"
        f'<text class="switch" x="{scale.at(one.at):.2f}%" y="16" text-anchor="middle">⇄</text></g>'
        for one in switches
    ]
    return _strip("".join(parts), "lane")


def _bar(span: Span, scale: Scale, now: float) -> str:
    began, ended = scale.at(span.began), scale.at(span.ended if span.ended is not None else now)
    width = max(ended - began, LEAST)
    top, height = {"work": (3, 16), "person": (3, 16), "wait": (7, 8), "call": (7, 8)}[span.kind]
    how = f" span-{span.outcome}" if span.outcome else " span-open"
    return (
        f'<g><title>{escape(printable(told(span, now)))}</title><rect class="span span-{span.kind}{escape(how)}" '
        f'x="{min(began, 100 - width):.2f}%" width="{width:.2f}%" y="{top}" height="{height}" rx="2"/></g>'
    )


def told(span: Span, now: float) -> str:
    """Return a span in words."""
    took = seconds((span.ended if span.ended is not None else now) - span.began)
    again = f", attempt {span.attempt}" if span.attempt > 1 else ""
    what = {"work": "at work", "wait": f"waits for {span.text}", "person": "awaits a person"}.get(span.kind, span.text)
    outcome = f": {span.outcome}" if span.outcome and span.outcome != "ok" else ""
    return f"{what}{again}, {took}{outcome}{f' ({span.why[:200]})' if span.why else ''}"


def _strip(inside: str, kind: str) -> Markup:
    return Markup(f'<svg class="{kind}" width="100%" height="{STRIP_H}" aria-hidden="true">{inside}</svg>')  # noqa: S704  # all texts in it are escaped


class LaneShown(NamedTuple):
    """One row of the timeline. `said` are its figures in words."""

    name: str
    task: str
    strip: Markup
    took: float
    said: str


@dataclass(frozen=True, slots=True)
class TimelineShown:
    """The timeline as a page shows it. `left_out`: lanes that are not."""

    axis: Markup
    lanes: Sequence[LaneShown]
    switches: Sequence[ProviderSwitch]
    left_out: int


def timeline_shown(timeline: TimelineView, now: float, most: int | None) -> TimelineShown:
    """Return the timeline; of more than `most` lanes those that were at work last. `now` ends what goes on."""
    lanes = list(timeline.lanes.values())
    if most is not None and len(lanes) > most:
        latest = sorted(lanes, key=lambda lane: max((s.ended or now for s in lane.spans), default=0.0))[-most:]
        kept = {lane.name for lane in latest}
        lanes = [lane for lane in lanes if lane.name in kept]
    scale = scale_of((span for lane in lanes for span in lane.spans), now)
    by_lane: dict[str, list[ProviderSwitch]] = {}
    for switch in timeline.switches:
        by_lane.setdefault(switch.lane, []).append(switch)
    shown = [
        LaneShown(
            lane.name,
            lane.task,
            lane_svg(lane, by_lane.get(lane.name, ()), scale, now),
            sum((s.ended or now) - s.began for s in lane.spans if s.kind == "work"),
            _figures(lane, len(by_lane.get(lane.name, ()))),
        )
        for lane in lanes
    ]
    return TimelineShown(axis_svg(scale), shown, timeline.switches, len(timeline.lanes) - len(lanes))


def _figures(lane: Lane, switches: int) -> str:
    calls = [span for span in lane.spans if span.kind == "call"]
    failed = sum(span.outcome == "failed" for span in calls)
    waits = sum(span.kind == "wait" for span in lane.spans)
    people = sum(span.kind == "person" for span in lane.spans)
    said = (
        (len(calls), "call", "calls"),
        (failed, "failed", "failed"),
        (switches, "switch of provider", "switches of provider"),
        (waits, "wait", "waits"),
        (people, "question", "questions"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in said if count)
