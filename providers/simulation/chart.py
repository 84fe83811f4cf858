"""A simulation as a picture: what answered when, what failed, what was down, what it cost. Pure, and SVG by hand.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2008), which people who see colours differently can tell
apart; from the eighth provider on they come again, hatched. Nothing is told by colour alone: bars carry their figures
as `<title>`, failures are crosses, lanes have names. A dark viewer turns paper and ink; where it does not (a PNG), the
picture has a paper of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

from providers.simulation.report import Bucket, Report
from providers.simulation.scenario import Outage, Scenario
from providers.simulation.svg import (
    ceiling,
    count_word,
    cross,
    cut,
    escaped,
    grid,
    line_to,
    rect,
    text_at,
    tick,
    time_word,
    usd_word,
)

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00", "#cc79a7", "#f0e442")
WIDTH = 960
REGION = "region "
LONGEST_TITLE = 72
"""Characters; more would leave the picture."""
MOST_BARS = 240
"""More could not be seen."""
LEFT, RIGHT = 124, 24
"""Pixels beside the plots."""
BARS, MONEY, LANE = 240, 80, 16
"""Pixels: height of the two plots, and of a lane."""
_STYLE = """
text { font: 12px system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif }
.h1 { font-size: 18px; font-weight: 600 } .h2 { font-size: 14px; font-weight: 600 }
.end { text-anchor: end } .mid { text-anchor: middle }
@media (prefers-color-scheme: dark) {
  .paper { fill: #14171c } .ink { fill: #e8e8e8 } .soft { fill: #a8adb5 }
  .line { stroke: #e8e8e8 } .grid { stroke: #3a3f47 } .down { fill: #ffffff; fill-opacity: .13 }
}
"""


def to_svg(scenario: Scenario, reports: Sequence[tuple[str, Report]]) -> str:
    """Return an SVG document with a picture for each (label, report), on axes that compare. At least one is needed."""
    uses = [item for _, report in reports for item in report.providers.items()]
    providers = list(dict.fromkeys(name for name, use in uses if use.calls))
    lines = [_coarse(report) for _, report in reports]
    shared = _Axes(
        tuple(providers),
        max(_height(line) for _, line in lines),
        max(report.cost for _, report in reports) / 1e6,
    )
    drawn, below = _legend(providers, 62)
    for (label, report), (width, buckets) in zip(reports, lines, strict=True):
        picture = _Picture(scenario, report, label, shared, width, buckets, below + 8)
        drawn += list(picture.draw())
        below = picture.bottom
    size = f'viewBox="0 0 {WIDTH} {below:g}" width="{WIDTH}" height="{below:g}"'
    told = " ".join(_told(label, report) for label, report in reports)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
        f'<title id="title">{escaped(scenario.title)}</title>',
        f'<desc id="desc">{escaped(told)}</desc>',
        f"<style>{_STYLE}</style>",
        f"<defs>{''.join(_hatches())}</defs>",
        f'<rect class="paper" width="{WIDTH}" height="{below:g}" fill="#ffffff"/>',
        text_at(LEFT, 34, cut(scenario.title, LONGEST_TITLE), "ink h1"),
    ]
    return "\n".join([*head, *drawn, "</svg>", ""])


def to_png(svg: str) -> bytes:
    """Return the picture as a PNG of twice its size. Raise `ImportError` without the extra `[charts]`."""
    from resvg_py import svg_to_bytes  # an extra, and large

    # The renderer reads CSS without media queries, so what is for dark viewers has to go.
    light = svg.partition("@media")[0] + "</style>" + svg.partition("</style>")[2]
    return svg_to_bytes(svg_string=light, zoom=2, sans_serif_family="DejaVu Sans")


@dataclass(frozen=True, slots=True)
class _Axes:
    """What several pictures share, so that they compare: the colours, the tallest bar, the most money (USD)."""

    providers: Sequence[str]
    most: int
    usd: float


@dataclass(slots=True)
class _Picture:
    """The plots of one report, one above the other on one axis of time."""

    scenario: Scenario
    report: Report
    label: str
    axes: _Axes
    width: float
    """Seconds of a bucket."""
    buckets: Sequence[Bucket]
    top: float
    bottom: float = 0.0

    def draw(self) -> Iterator[str]:
        y = self.top + 8
        if self.label:
            yield text_at(LEFT, y, cut(self.label, LONGEST_TITLE), "ink h2")
            y += 20
        yield text_at(LEFT, y, _sums(self.report), "soft")
        plot = y + 36
        yield from self._shades(plot)
        yield from self._bars(plot)
        foot = plot + BARS
        yield from self._lanes(foot + 6)
        foot += LANE * (len(_downs(self.scenario)) + bool(self.report.failed)) + 10
        yield from self._times(foot, plot + BARS)
        foot += 56
        if self.axes.usd:
            yield from self._money(foot)
            foot += MONEY
        self.bottom = foot + 28

    @property
    def span(self) -> float:
        """Seconds that the axis shows: all buckets, whole."""
        return len(self.buckets) * self.width or 1.0

    def x(self, seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(seconds / self.span, 0.0), 1.0)

    def _bars(self, top: float) -> Iterator[str]:
        foot, scale = top + BARS, ceiling(max(self.axes.most, 4))
        yield from grid(LEFT, WIDTH - RIGHT, top, BARS, scale, count_word)
        yield text_at(LEFT, top - 10, f"turns answered per {time_word(self.width)}", "ink h2")
        for bucket in self.buckets:
            left, right = self.x(bucket.at), self.x(bucket.at + self.width)
            gap = min(1.0, (right - left) / 5)
            yield f"<g><title>{escaped(self._bar_told(bucket))}</title>"
            at = foot
            for name in self.axes.providers:
                if count := bucket.answers.get(name, 0):
                    high = BARS * count / scale
                    at -= high
                    yield rect(left, at, right - left - gap, high, _fill(self.axes.providers.index(name)))
            yield "</g>"

    def _bar_told(self, bucket: Bucket) -> str:
        who = ", ".join(f"{name} {count:,}" for name, count in bucket.answers.items() if count) or "no answer"
        failed = f"; {bucket.failed:,} failed" if bucket.failed else ""
        return f"{time_word(bucket.at)} to {time_word(bucket.at + self.width)}: {who}{failed}"

    def _shades(self, top: float) -> Iterator[str]:
        for name, outages in _downs(self.scenario).items():
            for outage in outages:
                left, right = self.x(outage.begins), self.x(outage.begins + outage.lasts)
                if right > left:
                    told = f"<title>{escaped(_outage_told(name, outage))}</title>"
                    yield rect(left, top, right - left, BARS, 'class="down" fill="#000000" fill-opacity=".07"', told)

    def _lanes(self, top: float) -> Iterator[str]:
        """A lane for each one that was down, and one with a cross for each stretch in which turns failed."""
        for name, outages in _downs(self.scenario).items():
            yield text_at(LEFT - 8, top + 13, f"{cut(name.removeprefix(REGION), 12)} down", "soft end")
            fill = (
                _fill(self.axes.providers.index(name)) if name in self.axes.providers else 'class="soft" fill="#666666"'
            )
            for outage in outages:
                left, right = self.x(outage.begins), self.x(outage.begins + outage.lasts)
                if right > left:
                    told = f"<title>{escaped(_outage_told(name, outage))}</title>"
                    yield rect(left, top + 4, max(right - left, 2), LANE - 6, fill, told)
            top += LANE
        if self.report.failed:
            yield text_at(LEFT - 8, top + 13, "failed", "soft end")
            for bucket in self.buckets:
                if bucket.failed:
                    x = self.x(bucket.at + self.width / 2)
                    told = f"{bucket.failed:,} failed, {time_word(bucket.at)}"
                    yield cross(x, top + LANE / 2 + 1, told)

    def _times(self, top: float, foot: float) -> Iterator[str]:
        yield line_to(LEFT, foot, WIDTH - RIGHT, foot)
        step = tick(self.span)
        for number in range(floor(self.span / step + 1e-9) + 1):
            x = self.x(number * step)
            yield line_to(x, foot, x, foot + 4)
            yield text_at(x, top + 14, time_word(number * step), "soft mid")
        yield text_at(WIDTH - RIGHT, top + 30, "time since the start", "soft end")

    def _money(self, top: float) -> Iterator[str]:
        """What was spent until then, as a line that rises."""
        most = ceiling(self.axes.usd)
        yield from grid(LEFT, WIDTH - RIGHT, top, MONEY, most, usd_word, lines=2)
        yield text_at(LEFT, top - 8, "cost so far, USD", "ink h2")
        spent, points = 0, [f"{LEFT:g},{top + MONEY:g}"]
        for bucket in self.buckets:
            spent += bucket.cost
            x = self.x(bucket.at + self.width)
            points.append(f"{x:.1f},{top + MONEY * (1 - spent / 1e6 / most):.1f}")
        told = f"<title>{escaped(usd_word(spent / 1e6))} in all</title>"
        stroke = 'class="line" fill="none" stroke="#222222" stroke-width="2"'
        yield f'<polyline {stroke} points="{" ".join(points)}">{told}</polyline>'
        yield line_to(LEFT, top + MONEY, WIDTH - RIGHT, top + MONEY)


def _downs(scenario: Scenario) -> dict[str, tuple[Outage, ...]]:
    """Return which provider is down when, by the scenario: regions under their own name, then single providers."""
    regions = {f"{REGION}{name}": outages for name, outages in scenario.regions.items() if outages}
    return {**regions, **{name: row.outages for name, row in scenario.providers.items() if row.outages}}


def _outage_told(name: str, outage: Outage) -> str:
    return f"{name} is down from {time_word(outage.begins)} for {time_word(outage.lasts)}: it {outage.how}"


def _told(label: str, report: Report) -> str:
    shares = ", ".join(f"{name} {use.share:.1%}" for name, use in report.providers.items() if use.answers)
    return f"{label + ': ' if label else ''}{_sums(report)}. Answers by provider: {shares or 'none'}."


def _sums(report: Report) -> str:
    words = [f"{report.turns:,} turns", f"{report.answered_in_time:,} answered in time"]
    late = report.answered - report.answered_in_time
    words += [f"{late:,} late"] if late else []
    unknown = f" and {report.unpriced:,} answers of unknown price" if report.unpriced else ""
    words += [f"{report.failed:,} failed", usd_word(report.cost / 1e6) + unknown, f"seed {report.seed}"]
    return " · ".join(words)


def _coarse(report: Report) -> tuple[float, Sequence[Bucket]]:
    """Return a timeline that has no more buckets than can be seen, and the seconds of each."""
    fold = ceil(len(report.timeline) / MOST_BARS) or 1
    parts = [report.timeline[at : at + fold] for at in range(0, len(report.timeline), fold)]
    return report.bucket_seconds * fold, [_folded(part) for part in parts]


def _folded(buckets: Sequence[Bucket]) -> Bucket:
    answers, errors = Counter[str](), Counter[str]()
    for bucket in buckets:
        answers.update(bucket.answers)
        errors.update(bucket.errors)
    failed, cost = sum(bucket.failed for bucket in buckets), sum(bucket.cost for bucket in buckets)
    return Bucket(buckets[0].at, answers, errors, failed, cost)


def _height(timeline: Iterable[Bucket]) -> int:
    return max((sum(bucket.answers.values()) for bucket in timeline), default=0)


def _legend(providers: Sequence[str], top: float) -> tuple[list[str], float]:
    """Return the names with their colours, in rows, and where they end."""
    drawn, x, y = [], float(LEFT), top
    for at, name in enumerate(providers):
        wide = 30 + 7.2 * len(name)
        if x + wide > WIDTH - RIGHT:
            x, y = float(LEFT), y + 20
        drawn += [rect(x, y - 10, 12, 12, _fill(at)), text_at(x + 18, y, name, "ink")]
        x += wide
    return drawn, y + 20


def _hatches() -> Iterator[str]:
    size = 'width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"'
    for at, colour in enumerate(COLOURS):
        ground = f'<rect width="6" height="6" fill="{colour}" fill-opacity=".35"/>'
        yield f'<pattern id="hatch{at}" {size}>{ground}<rect width="3" height="6" fill="{colour}"/></pattern>'


def _fill(at: int) -> str:
    if at < len(COLOURS):
        return f'fill="{COLOURS[at]}"'
    return f'fill="url(#hatch{at % len(COLOURS)})"'
