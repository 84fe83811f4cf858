"""The page on which load is rebalanced: a form, what it would come to, and the word to do it, with a reason.

What would be done stands in the page's address, so a preview changes nothing, can be sent to somebody, and goes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.outlook import FiguresShown, OutlookShown
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.pages.providers import percent, quick
from orchestrator.server.pages.words import usd
from orchestrator.server.rebalance import RebalanceAsked, rebalance
from orchestrator.server.state import ServerState
from providers.client.control_log import StaleVersion
from providers.routing.control import STRATEGIES, RoutingControl

WEIGHT, USE = "weight.", "use."
USES = {"in-use": "in use", "paused": "paused", "drained": "drained"}


class ControlRow(NamedTuple):
    """A provider (or a model that is held by itself) in the form: what stands in its fields.

    `weighs`: only providers have a weight.
    """

    name: str
    weight: str
    written: str
    use: str
    weighs: bool


async def rebalancing_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the form as it was filled in, and what that would come to, where it was sent."""
    state, query = asked.state, asked.query
    state.manager.look()
    control = state.manager.fleet.control
    shown, error = None, ""
    if "undo" in query or "preview" in query:
        try:
            shown = await rebalance(state, _asked(query, control, preview=True), channel="dashboard")
        except (RequestRefused, ValidationError) as refused:
            error = _words(state, refused)
    return {
        "rows": _rows(state, control, query),
        "uses": USES,
        "strategies": STRATEGIES,
        "strategy": query.get("strategy", control.strategy or "policy"),
        "written_strategy": state.manager.fleet.written.strategy,
        "minutes": query.get("minutes", ""),
        "undoes": query.get("undo", ""),
        "shown": shown,
        "error": error,
        "reason": "",
        "by": "",
        "percent": percent,
        "quick": quick,
        "dollars": dollars,
        "outlook_providers": outlook_providers,
    }


def outlook_providers(seen: OutlookShown) -> list[str]:
    """Return the providers that answer something before or after, the largest share before first."""
    names = {*seen.recorded.shares, *seen.before.shares, *seen.after.shares}
    return sorted(names, key=lambda name: (-seen.before.shares.get(name, 0.0), name))


def dollars(figures: FiguresShown) -> str:
    """Return what is known of a cost."""
    unknown = f" and {figures.unpriced} answers of unknown price" if figures.unpriced else ""
    return f"{usd(round(figures.cost_usd * 1e6))}{unknown}"


async def rebalance_act(asked: PageRequest) -> str | Mapping[str, Any]:
    """Do what the address says, under the version that was shown; return where it is told of."""
    state, form = asked.state, asked.form
    state.manager.look()
    typed = {"reason": form.get("reason", ""), "by": form.get("by", "")}
    try:
        wanted = _asked(asked.query, state.manager.fleet.control, preview=False, form=form)
        done = await rebalance(state, wanted, channel="dashboard")
    except StaleVersion as stale:
        return {**typed, "error": f"{stale}. What you see now is new: look at it, and confirm it if it is still meant."}
    except (RequestRefused, ValidationError) as error:
        return {**typed, "error": _words(state, error)}
    return f"/load?done={done.version}"


def _asked(
    query: QueryParams, control: RoutingControl, *, preview: bool, form: Mapping[str, str] | None = None
) -> RebalanceAsked:
    """Return what a filled-in form asks for: what differs from what is set. Raise `ValidationError`."""
    form = form or {}
    document: dict[str, Any] = {"preview": preview}
    if not preview:
        version = form.get("version", "")
        document["expected_version"] = version if version.isdecimal() else None
        document |= {"reason": form.get("reason", ""), "by": form.get("by", ""), "force": "force" in form}
    if (undo := query.get("undo")) is not None:
        return RebalanceAsked.model_validate({**document, "undo": undo})
    return RebalanceAsked.model_validate({**document, **_differing(query, control)})


def _differing(query: QueryParams, control: RoutingControl) -> dict[str, Any]:
    weights: dict[str, str | None] = {}
    held: dict[str, list[str]] = {"drain": [], "pause": [], "resume": []}
    minutes = query.get("minutes", "").strip()
    for key, value in query.items():
        if key.startswith(WEIGHT) and (name := key.removeprefix(WEIGHT)):
            known = control.weights.get(name)
            if value.strip() != ("" if known is None else f"{known:g}"):
                weights[name] = value.strip() or None
        elif key.startswith(USE) and (name := key.removeprefix(USE)):
            known_use = _use(control, name)
            if value == "paused" and (value != known_use or minutes):
                held["pause"].append(name)
            elif value != known_use and value in USES:
                held["drain" if value == "drained" else "resume"].append(name)
    strategy = query.get("strategy", "")
    changed = strategy if strategy and strategy != (control.strategy or "policy") else None
    lasts = {"pause_for_s": _seconds_of(minutes)} if held["pause"] and minutes else {}
    return {"weights": weights, "strategy": changed, **held, **lasts}


def _seconds_of(minutes: str) -> float | str:
    try:
        return float(minutes) * 60
    except ValueError:
        return minutes


def _use(control: RoutingControl, name: str) -> str:
    hold = control.holds.get(name)
    return "in-use" if hold is None else hold.kind


def _rows(state: ServerState, control: RoutingControl, query: QueryParams) -> list[ControlRow]:
    fleet = state.manager.fleet
    providers = dict.fromkeys(one.account[0] for one in fleet.states.values())
    named = [name for name in (*control.weights, *control.holds, query.get("name", "")) if name]
    rows: list[ControlRow] = []
    for name in dict.fromkeys([*providers, *named]):
        known, written = control.weights.get(name), fleet.written.weights.get(name)
        rows.append(
            ControlRow(
                name=name,
                weight=query.get(WEIGHT + name, "" if known is None else f"{known:g}"),
                written="none" if written is None else f"{written:g}",
                use=query.get(USE + name, _use(control, name)),
                weighs="/" not in name,
            )
        )
    return rows


def _words(state: ServerState, error: RequestRefused | ValidationError) -> str:
    if isinstance(error, RequestRefused):
        return state.mask(str(error))
    told = [".".join(map(str, one["loc"])) + f": {one['msg'].removeprefix('Value error, ')}" for one in error.errors()]
    return "; ".join(line.removeprefix(": ") for line in told)
