"""Charts as SVG, made on the server: bars with a limit and a projection, and small lines. Pure.

No chart holds text of its own, which would shrink with it: what it says stands around it, and in a table under it.
Nothing in it has a style: `page.css` gives colours by class. All that is given is text, and is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, floor, isfinite, log10

from markupsafe import Markup

Figure = Callable[[float], str]
"""Makes a figure of a value, as people read it: `$1.20`."""
TALL = 100
"""Units of height of a chart; a bar is one unit wide, and is stretched to what room there is."""
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class ChartBar:
    """A bar: `value`, and `more` on top of it that is expected. `note` is said beside its figure."""

    label: str
    value: float
    more: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class ChartLimit:
    """A line across a chart."""

    label: str
    value: float


def bar_chart(
    ident: str,
    title: str,
    bars: Sequence[ChartBar],
    figure: Figure,
    limit: ChartLimit | None = None,
    *,
    of: str = "Day",
) -> Markup:
    """Return bars, with a table of them. `ident` begins the ids of its elements; `of` names what bars stand for.

    A limit far beyond what the bars need is told in words alone, so that small bars can be seen under a large one.
    """
    tallest = max((bar.value + bar.more for bar in bars), default=0.0)
    is_near = limit is not None and limit.value <= 4 * tallest
    top = scale_of(max(tallest, limit.value if limit is not None and is_near else 0.0))
    drawn = Markup("").join(_bar(number, bar, top, figure) for number, bar in enumerate(bars))
    if limit is not None and is_near:
        at = _height(limit.value, top)
        drawn += Markup('<line class="limit" x1="0" x2="{n}" y1="{y}" y2="{y}"><title>{t}</title></line>').format(
            n=len(bars), y=_number(TALL - at), t=f"{limit.label}: {figure(limit.value)}"
        )
    told = _told(bars, figure, limit)
    return Markup(
        '<figure class="chart"><figcaption>{title}</figcaption><div class="plot">'
        '<p class="scale" aria-hidden="true"><span>{top}</span><span>{half}</span><span>{none}</span></p>'
        '<svg viewBox="0 0 {wide} {tall}" preserveAspectRatio="none" role="img" aria-labelledby="{id}-title {id}-desc">'
        '<title id="{id}-title">{title}</title><desc id="{id}-desc">{told}</desc>'
        '<line class="grid" x1="0" x2="{wide}" y1="{mid}" y2="{mid}"/>{drawn}</svg></div>'
        '<p class="ends" aria-hidden="true"><span>{first}</span><span>{last}</span></p>'
        "<p>{told}</p>{table}</figure>"
    ).format(
        title=title,
        top=figure(top),
        half=figure(top / 2),
        none=figure(0),
        wide=max(len(bars), 1),
        tall=TALL,
        id=ident,
        told=told,
        mid=TALL // 2,
        drawn=drawn,
        first=bars[0].label if bars else "",
        last=bars[-1].label if len(bars) > 1 else "",
        table=_table(title, bars, figure, of),
    )


def _bar(number: int, bar: ChartBar, top: float, figure: Figure) -> Markup:
    high, more = _height(bar.value, top), _height(bar.more, top)
    words = f"{bar.label}: {figure(bar.value)}{f', {bar.note}' if bar.note else ''}"
    rect = Markup('<rect class="{c}" x="{x}" y="{y}" width="0.8" height="{h}"><title>{t}</title></rect>')
    made = rect.format(c="bar", x=_number(number + 0.1), y=_number(TALL - high), h=_number(high), t=words)
    if more:
        at = _number(TALL - high - more)
        made += rect.format(c="bar expected", x=_number(number + 0.1), y=at, h=_number(more), t=words)
    return made


def _told(bars: Sequence[ChartBar], figure: Figure, limit: ChartLimit | None) -> str:
    if not bars:
        return "There is nothing to show."
    if not any(bar.value for bar in bars):
        return "Every figure is 0." + (f" {bars[-1].label}: {bars[-1].note}." if bars[-1].note else "")
    most = max(bars, key=lambda bar: bar.value)
    said = f"The most: {figure(most.value)} ({most.label}). The last: {figure(bars[-1].value)} ({bars[-1].label})"
    said += f", {bars[-1].note}." if bars[-1].note else "."
    if limit is None:
        return said
    above = sum(bar.value > limit.value for bar in bars)
    return f"{said} {limit.label}: {figure(limit.value)}, {_times(above)}."


def _times(passed: int) -> str:
    return {0: "never passed", 1: "passed once"}.get(passed, f"passed {passed} times")


def _table(title: str, bars: Sequence[ChartBar], figure: Figure, of: str) -> Markup:
    if not bars:
        return Markup("")
    row = Markup('<tr><th scope="row">{0}</th><td class="figure">{1}</td><td>{2}</td></tr>')
    rows = Markup("").join(row.format(bar.label, figure(bar.value), bar.note) for bar in reversed(bars))
    head = Markup(
        '<thead><tr><th scope="col">{0}</th><th scope="col" class="figure">Figure</th>'
        '<th scope="col">Note</th></tr></thead>'
    ).format(of)
    summary = Markup("<details><summary>The figures as a table</summary>")
    return summary + Markup("<table><caption>{0}</caption>{1}<tbody>{2}</tbody></table></details>").format(
        title, head, rows
    )


def sparkline(ident: str, title: str, values: Sequence[float | None], figure: Figure) -> Markup:
    """Return values as a small line; None is a gap. What it shows is said in its description."""
    known = [value for value in values if value is not None]
    if not known:
        return Markup('<span class="quiet">no figures yet</span>')
    low, high = min(known), max(known)
    told = f"{len(known)} figures, from {figure(low)} to {figure(high)}; the last is {figure(known[-1])}."
    lines = Markup("").join(_line(points, low, high) for points in _runs_of(values))
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {wide} {tall}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{id}-title {id}-desc"><title id="{id}-title">{title}</title>'
        '<desc id="{id}-desc">{told}</desc>{lines}</svg>'
    ).format(wide=max(len(values), 2), tall=TALL, id=ident, title=title, told=told, lines=lines)


def _runs_of(values: Sequence[float | None]) -> Iterable[list[tuple[int, float]]]:
    """Yield the values between gaps, each with its place."""
    for is_known, run in groupby(enumerate(values), key=lambda one: one[1] is not None):
        if is_known:
            yield [(place, value) for place, value in run if value is not None]


def _line(points: Sequence[tuple[int, float]], low: float, high: float) -> Markup:
    """Return one line. One that is level is in the middle; a single value is drawn as wide as one."""
    spread = high - low
    made = [(place + 0.5, 10 + 80 * ((high - value) / spread if spread else 0.5)) for place, value in points]
    if len(made) == 1:
        made = [(made[0][0] - 0.4, made[0][1]), (made[0][0] + 0.4, made[0][1])]
    return Markup('<polyline points="{0}"/>').format(" ".join(f"{_number(x)},{_number(y)}" for x, y in made))


def scale_of(tallest: float) -> float:
    """Return the top of a scale that has room for a value: 1, 2, 2.5 or 5 times a power of ten."""
    if not isfinite(tallest) or tallest <= 0:
        return 1.0
    power = 10.0 ** floor(log10(tallest))
    return next((step * power for step in STEPS if step * power >= tallest), 10 * power)


def _height(value: float, top: float) -> float:
    return 0.0 if not isfinite(value) or value <= 0 else min(TALL * value / top, TALL)


def _number(value: float) -> str:
    return f"{ceil(value * 100 - 0.5) / 100:g}"
