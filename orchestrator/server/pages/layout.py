"""Where the boxes of a layered graph stand, and how the lines between them run. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

BOX_W, BOX_H = 216.0, 56.0
GAP_X, GAP_Y = 24.0, 40.0
BEND_W = 8.0
"""Room that a line takes which passes a layer."""
MARGIN = 8.0
SWEEPS = 4
MOST_BENDS = 2000
"""Lines that pass layers are led around boxes; more are drawn straight."""


class Corner(NamedTuple):
    """The left upper corner of a box."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class GraphLayout:
    """The places of boxes by their ids, the points of each line, and the size of all of it."""

    places: Mapping[str, Corner]
    lines: Mapping[tuple[str, str], Sequence[tuple[float, float]]]
    width: float
    height: float


@dataclass(slots=True)
class _Layers:
    """Boxes and bends in layers. `above` and `below`: what each is joined to in the layer before and after it."""

    rows: list[list[str]]
    above: dict[str, list[str]]
    below: dict[str, list[str]]
    bends: set[str]
    chains: dict[tuple[str, str], list[str]]

    def width(self, name: str) -> float:
        return BEND_W if name in self.bends else BOX_W


def laid_out(layers: Sequence[Sequence[str]], needs: Mapping[str, Sequence[str]]) -> GraphLayout:
    """Return where the boxes of these layers stand. What a box needs is in a layer above it."""
    made = _with_bends(layers, needs)
    _order(made)
    centres = _centres(made)
    left = min((centres[name] - made.width(name) / 2 for row in made.rows for name in row), default=0.0)
    shift = MARGIN - left
    places: dict[str, Corner] = {}
    points: dict[str, tuple[float, float, float]] = {}
    for number, row in enumerate(made.rows):
        y = MARGIN + number * (BOX_H + GAP_Y)
        for name in row:
            x = centres[name] + shift
            points[name] = (x, y, y + BOX_H)
            if name not in made.bends:
                places[name] = Corner(x - BOX_W / 2, y)
    lines = {edge: _points(chain, points) for edge, chain in made.chains.items()}
    right = max((place.x + BOX_W for place in places.values()), default=0.0)
    right = max([right, *(x for line in lines.values() for x, _ in line)])
    return GraphLayout(places, lines, right + MARGIN, 2 * MARGIN + len(made.rows) * (BOX_H + GAP_Y) - GAP_Y)


def _points(chain: Sequence[str], points: Mapping[str, tuple[float, float, float]]) -> list[tuple[float, float]]:
    x, _, bottom = points[chain[0]]
    found = [(x, bottom)]
    for name in chain[1:-1]:
        x, top, bottom = points[name]
        found += [(x, top), (x, bottom)]
    x, top, _ = points[chain[-1]]
    return [*found, (x, top)]


def _with_bends(layers: Sequence[Sequence[str]], needs: Mapping[str, Sequence[str]]) -> _Layers:
    level = {name: number for number, row in enumerate(layers) for name in row}
    made = _Layers([list(row) for row in layers], {}, {}, set(), {})
    for name in level:
        for need in needs.get(name, ()):
            if need not in level:
                continue
            chain = [need]
            for number in range(level[need] + 1, level[name]):
                if len(made.bends) >= MOST_BENDS:
                    break
                bend = f"{need}\0{name}\0{number}"
                made.bends.add(bend)
                made.rows[number].append(bend)
                chain.append(bend)
            chain.append(name)
            made.chains[need, name] = chain
            for upper, lower in itertools.pairwise(chain):
                made.below.setdefault(upper, []).append(lower)
                made.above.setdefault(lower, []).append(upper)
    return made


def _order(made: _Layers) -> None:
    """Order each layer so that few lines cross: by the middle of what each is joined to, down and up in turn."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        joined = made.above if down else made.below
        rows = made.rows if down else made.rows[::-1]
        at: dict[str, float] = {}
        for row in rows:
            own = {name: float(index) for index, name in enumerate(row)}
            middle = {name: _mean([at[one] for one in joined.get(name, ()) if one in at], own[name]) for name in row}
            row.sort(key=lambda name: (middle[name], own[name]))  # sort calls it at once
            at |= {name: index * 100.0 / max(len(row) - 1, 1) for index, name in enumerate(row)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _centres(made: _Layers) -> dict[str, float]:
    """Return the middle of each box: near those that it is joined to, and clear of its neighbours."""
    centres: dict[str, float] = {}
    for row in made.rows:
        offsets = _offsets(row, made.width)
        centres |= {name: offset - offsets[-1] / 2 for name, offset in zip(row, offsets, strict=True)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        joined = made.above if down else made.below
        for row in made.rows if down else made.rows[::-1]:
            wanted = [_mean([centres[one] for one in joined.get(name, ())], centres[name]) for name in row]
            centres |= zip(row, _spread(wanted, _offsets(row, made.width)), strict=True)
    return centres


def _offsets(row: Sequence[str], width: Callable[[str], float]) -> list[float]:
    """Return how far right of the first one the middle of each must be at least."""
    offsets = [0.0] if row else []
    for left, right in itertools.pairwise(row):
        offsets.append(offsets[-1] + (width(left) + width(right)) / 2 + GAP_X)
    return offsets


def _spread(wanted: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Return places as near to the wanted ones as the offsets between them allow (isotonic regression)."""
    blocks: list[tuple[float, int]] = []  # sum of what is wanted, less the offsets, and of how many
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before, many = blocks.pop()
            total, count = total + before, count + many
        blocks.append((total, count))
    free = [total / count for total, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(free, offsets, strict=True)]
