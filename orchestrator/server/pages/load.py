"""The page Load: who answered whose turns, against the weights; where it went when something failed; the changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from orchestrator.server.load_view import ShareShown, load_shown
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.pages.providers import percent, quick
from orchestrator.server.provider_view import control_shown
from orchestrator.server.rebalance import changes_shown

LATEST = 20


async def load_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows."""
    load, state = load_shown(asked.state), asked.state
    done = asked.query.get("done", "")
    turns = f"{load.answered:,} turn{' was' if load.answered == 1 else 's were'} answered in the last hour"
    return {
        "load": load,
        "sentence": f"{turns if load.answered else 'No turn was answered in the last hour'}; "
        f"the strategy “{load.strategy}” decides who answers.",
        "control": control_shown(state, state.manager.fleet.control),
        "changes": await changes_shown(state, LATEST),
        "done": int(done) if done.isdecimal() and len(done) < 10 else None,
        "percent": percent,
        "quick": quick,
        "share_bar": share_bar,
    }


def share_bar(one: ShareShown) -> Markup:
    """Return a share as a bar, with a mark where its weight would have it. What it shows stands beside it."""
    mark = Markup("")
    if one.by_weight is not None:
        line = Markup('<line class="planned" x1="{0:g}" x2="{0:g}" y1="0" y2="10"/>')
        mark = line.format(round(100 * one.by_weight, 1))
    return Markup(
        '<svg class="sharebar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="10"/><rect class="bar" width="{0:g}" height="10"/>{1}</svg>'
    ).format(round(100 * one.share, 1), mark)
