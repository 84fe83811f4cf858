"""A simulation as a picture: who answered when, what failed, who was down, what it cost. Hand-written SVG, pure.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2008), which people who see colours differently can tell
apart; from the eighth provider on they come again, hatched. Nothing is told by colour alone: bars carry their figures
as `<title>`, failures are crosses, lanes have names. A dark viewer turns paper and ink; where it does not (a PNG), the
picture has a paper of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from providers.simulation.report import Bucket, Report
from providers.simulation.scenario import Outage, Scenario
from providers.unicode import printable

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00", "#cc79a7", "#f0e442")
WIDTH = 960
REGION = "region "
LONGEST_TITLE = 72
"""Characters; more would leave the picture."""
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
    shared = _Axes(
        tuple(providers),
        max(_height(report.timeline) for _, report in reports),
        max(report.cost for _, report in reports) / 1e6,
    )
    drawn, below = _legend(providers, 62)
    for label, report in reports:
        picture = _Picture(scenario, report, label, shared, below + 8)
        drawn += list(picture.draw())
        below = picture.bottom
    size = f'viewBox="0 0 {WIDTH} {below:g}" width="{WIDTH}" height="{below:g}"'
    told = " ".join(_told(label, report) for label, report in reports)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
        f'<title id="title">{_text(scenario.title)}</title>',
        f'<desc id="desc">{_text(told)}</desc>',
        f"<style>{_STYLE}</style>",
        f"<defs>{''.join(_hatches())}</defs>",
        f'<rect class="paper" width="{WIDTH}" height="{below:g}" fill="#ffffff"/>',
        _label(LEFT, 34, _cut(scenario.title, LONGEST_TITLE), "ink h1"),
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
    top: float
    bottom: float = 0.0

    def draw(self) -> Iterator[str]:
        y = self.top + 8
        if self.label:
            yield _label(LEFT, y, self.label, "ink h2")
            y += 20
        yield _label(LEFT, y, _sums(self.report), "soft")
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
        last = self.report.timeline[-1].at if self.report.timeline else 0.0
        return last + self.report.bucket_seconds or 1.0

    def x(self, seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(seconds / self.span, 0.0), 1.0)

    def _bars(self, top: float) -> Iterator[str]:
        foot, scale = top + BARS, _ceiling(max(self.axes.most, 4))
        yield from _grid(top, BARS, scale, _count)
        yield _label(LEFT, top - 10, f"turns answered per {_time(self.report.bucket_seconds)}", "ink h2")
        for bucket in self.report.timeline:
            left, right = self.x(bucket.at), self.x(bucket.at + self.report.bucket_seconds)
            gap = min(1.0, (right - left) / 5)
            yield f"<g><title>{_text(self._bar_told(bucket))}</title>"
            at = foot
            for name in self.axes.providers:
                if count := bucket.answers.get(name, 0):
                    high = BARS * count / scale
                    at -= high
                    yield _rect(left, at, right - left - gap, high, _fill(self.axes.providers.index(name)))
            yield "</g>"

    def _bar_told(self, bucket: Bucket) -> str:
        who = ", ".join(f"{name} {count:,}" for name, count in bucket.answers.items() if count) or "no answer"
        failed = f"; {bucket.failed:,} failed" if bucket.failed else ""
        return f"{_time(bucket.at)} to {_time(bucket.at + self.report.bucket_seconds)}: {who}{failed}"

    def _shades(self, top: float) -> Iterator[str]:
        for name, outages in _downs(self.scenario).items():
            for outage in outages:
                left, right = self.x(outage.begins), self.x(outage.begins + outage.lasts)
                if right > left:
                    told = f"<title>{_text(_outage_told(name, outage))}</title>"
                    yield _rect(left, top, right - left, BARS, 'class="down" fill="#000000" fill-opacity=".07"', told)

    def _lanes(self, top: float) -> Iterator[str]:
        """A lane for each one that was down, and one with a cross for each stretch in which turns failed."""
        for name, outages in _downs(self.scenario).items():
            yield _label(LEFT - 8, top + 13, f"{_cut(name.removeprefix(REGION), 12)} down", "soft end")
            fill = (
                _fill(self.axes.providers.index(name)) if name in self.axes.providers else 'class="soft" fill="#666666"'
            )
            for outage in outages:
                left, right = self.x(outage.begins), self.x(outage.begins + outage.lasts)
                if right > left:
                    told = f"<title>{_text(_outage_told(name, outage))}</title>"
                    yield _rect(left, top + 4, max(right - left, 2), LANE - 6, fill, told)
            top += LANE
        if self.report.failed:
            yield _label(LEFT - 8, top + 13, "failed", "soft end")
            for bucket in self.report.timeline:
                if bucket.failed:
                    x = self.x(bucket.at + self.report.bucket_seconds / 2)
                    told = f"{bucket.failed:,} failed, {_time(bucket.at)}"
                    yield _cross(x, top + LANE / 2 + 1, told)

    def _times(self, top: float, foot: float) -> Iterator[str]:
        yield _line(LEFT, foot, WIDTH - RIGHT, foot)
        step = _tick(self.span)
        for number in range(floor(self.span / step + 1e-9) + 1):
            x = self.x(number * step)
            yield _line(x, foot, x, foot + 4)
            yield _label(x, top + 14, _time(number * step), "soft mid")
        yield _label(WIDTH - RIGHT, top + 30, "time since the start", "soft end")

    def _money(self, top: float) -> Iterator[str]:
        """What was spent until then, as a line that rises."""
        most = _ceiling(self.axes.usd)
        yield from _grid(top, MONEY, most, _usd, lines=2)
        yield _label(LEFT, top - 8, "cost so far, USD", "ink h2")
        spent, points = 0, [f"{LEFT:g},{top + MONEY:g}"]
        for bucket in self.report.timeline:
            spent += bucket.cost
            x = self.x(bucket.at + self.report.bucket_seconds)
            points.append(f"{x:.1f},{top + MONEY * (1 - spent / 1e6 / most):.1f}")
        told = f"<title>{_text(_usd(spent / 1e6))} in all</title>"
        stroke = 'class="line" fill="none" stroke="#222222" stroke-width="2"'
        yield f'<polyline {stroke} points="{" ".join(points)}">{told}</polyline>'
        yield _line(LEFT, top + MONEY, WIDTH - RIGHT, top + MONEY)


def _downs(scenario: Scenario) -> dict[str, tuple[Outage, ...]]:
    """Return who is down when, as the scenario says it: regions under their own name, then single providers."""
    regions = {f"{REGION}{name}": outages for name, outages in scenario.regions.items() if outages}
    return {**regions, **{name: row.outages for name, row in scenario.providers.items() if row.outages}}


def _outage_told(name: str, outage: Outage) -> str:
    return f"{name} is down from {_time(outage.begins)} for {_time(outage.lasts)}: it {outage.how}"


def _told(label: str, report: Report) -> str:
    shares = ", ".join(f"{name} {use.share:.1%}" for name, use in report.providers.items() if use.answers)
    return f"{label + ': ' if label else ''}{_sums(report)}. Answers by provider: {shares or 'none'}."


def _sums(report: Report) -> str:
    words = [f"{report.turns:,} turns", f"{report.answered_in_time:,} answered in time"]
    late = report.answered - report.answered_in_time
    words += [f"{late:,} late"] if late else []
    words += [f"{report.failed:,} failed", _usd(report.cost / 1e6), f"seed {report.seed}"]
    return " · ".join(words)


def _height(timeline: Iterable[Bucket]) -> int:
    return max((sum(bucket.answers.values()) for bucket in timeline), default=0)


def _legend(providers: Sequence[str], top: float) -> tuple[list[str], float]:
    """Return the names with their colours, in rows, and where they end."""
    drawn, x, y = [], float(LEFT), top
    for at, name in enumerate(providers):
        wide = 30 + 7.2 * len(name)
        if x + wide > WIDTH - RIGHT:
            x, y = float(LEFT), y + 20
        drawn += [_rect(x, y - 10, 12, 12, _fill(at)), _label(x + 18, y, name, "ink")]
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


def _grid(top: float, high: float, most: float, word: Callable[[float], str], lines: int = 4) -> Iterator[str]:
    for number in range(lines + 1):
        y = top + high * (1 - number / lines)
        if number:
            yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>'
        yield _label(LEFT - 8, y + 4, word(most * number / lines), "soft end")


def _rect(x: float, y: float, wide: float, high: float, fill: str, inside: str = "") -> str:
    shape = f'<rect x="{x:.2f}" y="{y:.2f}" width="{wide:.2f}" height="{high:.2f}" {fill}'
    return f"{shape}>{inside}</rect>" if inside else f"{shape}/>"


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="line" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="#222222"/>'


def _cross(x: float, y: float, told: str) -> str:
    d = f"M{x - 4:.1f} {y - 4:.1f}l8 8M{x - 4:.1f} {y + 4:.1f}l8 -8"
    return f'<path class="line" d="{d}" stroke="#222222" stroke-width="2"><title>{_text(told)}</title></path>'


def _label(x: float, y: float, text: str, kind: str) -> str:
    fill = "#111111" if "ink" in kind else "#555555"
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" fill="{fill}">{_text(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."


def _text(text: str) -> str:
    return escape(printable(text))


def _ceiling(most: float) -> float:
    """Return the least number that holds `most` and has short quarters."""
    if most <= 0:
        return 1.0
    power = 10.0 ** floor(log10(most))
    return next(
        factor * power for factor in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if most <= factor * power * (1 + 1e-9)
    )


def _tick(span: float) -> float:
    """Return seconds between the marks of an axis: at most eleven of them, at times that people count in."""
    usual = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 604800)
    return next((float(step) for step in usual if span / step <= 10), ceil(span / 10 / 604800) * 604800.0)


def _time(seconds: float) -> str:
    """Return seconds as `1.5 s`, `90 s`, `2:30 min`, `15 min`, `1:30 h` or `2 d`."""
    if seconds < 120 and seconds != 60:
        return f"{seconds:.3g} s" if seconds else "0"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if not round(seconds) % size and (size > 60 or seconds < 7200):
            return f"{round(seconds) // size} {unit}"
    size, unit = (60, "min") if seconds < 3600 else (3600, "h")
    return f"{int(seconds // size)}:{int(seconds % size * 60 / size):02} {unit}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.3g}"
