"""Draws the pictures of guides, in the manner of the concepts': `python docs/generate.py` writes them."""

from __future__ import annotations

from collections.abc import Iterator

from docs.concepts.draw import GAP, arrow, box, svg, text


def routing() -> Iterator[str]:
    """How a turn is routed: candidates by policy, a filter, an order, attempts.

    What the turn needs leads to candidates: a pinned model alone; a chain, and then the last resort; or the models of a
    tier, and then the last resort. A filter takes out each candidate that is not eligible, with a reason. If none is
    left but one will be later, the turn waits for it inside its deadline; if none will be, it fails as NoRoute with all
    reasons. The others are ordered by the strategy and the first is tried. An answer ends it; after a failure the
    filter looks again.
    """
    yield box(180, 20, 360, 38, "the turn needs: agent, persona, tier, model, task type", "amber")
    for x, words, what in (
        (24, "pinned model", "that model alone"),
        (262, "chain", "its members in order,\nthen the last resort"),
        (500, "tier", "its models,\nthen the last resort"),
    ):
        yield arrow((360, 58), (360, 72), (x + 98, 72), (x + 98, 110 - GAP))
        yield text(x + 104, 92, words, "left small bold")
        yield box(x, 110, 196, 52, what, "box")
        yield arrow((x + 98, 162), (x + 98, 178), (360, 178), (360, 196 - GAP))
    yield box(180, 196, 360, 40, "filter: what is not eligible, and why", "blue", "bold")
    yield arrow((180, 216), (110, 216), (110, 268 - GAP))
    yield text(118, 252, "none now, one later", "left small")
    yield box(24, 268, 172, 52, "wait for the earliest,\ninside the deadline", "box")
    yield arrow((540, 216), (612, 216), (612, 268 - GAP))
    yield text(604, 252, "none", "small right")
    yield box(526, 268, 172, 52, "NoRoute: each reason,\nand when to retry", "red")
    yield arrow((360, 236), (360, 268 - GAP))
    yield text(368, 257, "candidates", "left small")
    yield box(262, 268, 196, 52, "order of the first tier\nby the strategy", "box")
    yield arrow((360, 320), (360, 350 - GAP))
    yield box(262, 350, 196, 40, "try the first", "blue", "bold")
    yield arrow((458, 370), (526 - GAP, 370))
    yield text(490, 362, "answer", "small")
    yield box(526, 350, 172, 40, "done", "green")
    yield arrow((262, 370), (12, 370), (12, 206), (180 - GAP, 206))
    yield text(140, 362, "failure: the filter looks again", "small")


def pages() -> dict[str, str]:
    """Return the text of each picture by its file's name."""
    return {"routing.svg": svg(routing, 410)}
