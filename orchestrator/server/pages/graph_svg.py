"""The graph of a run's tasks as SVG: state by colour, sign and word, each task a link. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from orchestrator.server.pages.layout import BOX_H, BOX_W, GraphLayout, laid_out
from orchestrator.server.pages.words import STATES
from orchestrator.server.views.graph import GraphNode, layers_of
from providers.documents.unicode import cut, printable

TITLE_W, LINE_W = 20.0, 29.0
"""How wide the two lines of a box may be, in letters of a common width; what is wider still is cut off at its edge."""
NARROW, WIDE = frozenset("fijlrt.,:;'|![]() "), frozenset("mwMWGOQ@%")


def graph_svg(nodes: Sequence[GraphNode], href: Callable[[GraphNode], str], selected: str = "") -> Markup:
    """Return the graph of these nodes, in which each is a link to what `href` returns."""
    layers = layers_of(nodes)
    layout = laid_out([[node.id for node in layer] for layer in layers], {node.id: node.needs for node in nodes})
    known = {node.id: node for node in nodes}
    size = f'width="{layout.width:.0f}" height="{layout.height:.0f}"'
    box = f'viewBox="0 0 {layout.width:.0f} {layout.height:.0f}"'
    lines = "".join(_line(known[upper], points) for (upper, _), points in layout.lines.items())
    boxes = "".join(_box(node, layout, href(node), is_selected=selected in (node.id, *node.of)) for node in nodes)
    return Markup(f'<svg class="graph" {size} {box} role="group" aria-label="Tasks">{lines}{boxes}</svg>')  # noqa: S704  # all texts in it are escaped


def _line(upper: GraphNode, points: Sequence[tuple[float, float]]) -> str:
    x, y = points[0]
    path = [f"M{x:.0f} {y:.0f}"]
    for to_x, to_y in points[1:]:
        if to_x == x:
            path.append(f"V{to_y:.0f}")
        else:
            middle = (y + to_y) / 2
            path.append(f"C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}")
        x, y = to_x, to_y
    done = " line-done" if upper.status in ("ok", "skipped") else ""
    arrow = f"M{x - 4:.0f} {y - 6:.0f}l4 6l4 -6z"
    return f'<path class="line{done}" d="{"".join(path)}"/><path class="arrow{done}" d="{arrow}"/>'


def _box(node: GraphNode, layout: GraphLayout, href: str, *, is_selected: bool) -> str:
    place = layout.places[node.id]
    sign, word = STATES.get(node.status, ("", node.status))
    of = f"{node.done} of {node.elements}" if node.elements and not node.many else ""
    more = ", ".join(filter(None, (of, *node.notes)))
    said = f"{sign} {word}" + "".join(f" · {part}" for part in (more, node.who) if part)
    title = f"{node.label}: {word}" + (f", {more}" if more else "") + (f", by {node.who}" if node.who else "")
    stack = f'<rect class="stack" x="6" y="-5" width="{BOX_W - 6:.0f}" height="{BOX_H:.0f}" rx="7"/>'
    is_stack = node.many or node.elements or "@*" in node.id
    progress = ""
    if node.elements and not node.many:
        share = (BOX_W - 14) * node.done / node.elements
        progress = f'<rect class="share" x="9" y="{BOX_H - 5:.0f}" width="{share:.1f}" height="2.5" rx="1.2"/>'
    chosen = ' aria-current="true"' if is_selected else ""
    return (
        f'<a href="{escape(href)}" class="box box-{escape(node.status)}{" selected" if is_selected else ""}"{chosen} '
        f'transform="translate({place.x:.0f} {place.y:.0f})"><title>{escape(printable(title))}</title>'
        f"{stack if is_stack else ''}"
        f'<rect class="card" width="{BOX_W:.0f}" height="{BOX_H:.0f}" rx="7"/>'
        f'<rect class="stripe" width="5" height="{BOX_H - 14:.0f}" x="0" y="7" rx="2"/>'
        f'<svg width="{BOX_W - 8:.0f}" height="{BOX_H:.0f}">'
        f'<text class="name" x="16" y="23">{escape(fitted(node.label, TITLE_W))}</text>'
        f'<text class="said" x="16" y="42">{escape(fitted(said, LINE_W))}</text></svg>{progress}</a>'
    )


def fitted(text: str, room: float) -> str:
    """Return the beginning of a text that is no wider than so many letters of a common width, on one line."""
    flat = " ".join(printable(text).split())
    kept = cut(flat, int(2 * room))
    while kept and sum(map(_width, kept)) > room:
        kept = kept[:-1]
    return kept if kept == flat else f"{kept[:-1].rstrip()}…"


def _width(letter: str) -> float:
    if letter in NARROW:
        return 0.55
    if letter in WIDE:
        return 1.4
    return 2.0 if unicodedata.east_asian_width(letter) in "WF" else 1.15 if letter.isupper() else 1.0
