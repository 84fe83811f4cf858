"""The page Providers: what state each is in, and why it is not used now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from orchestrator.server.pages.charts import sparkline
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.pages.words import seconds
from orchestrator.server.provider_view import (
    EndpointShown,
    ErrorShown,
    ProviderShown,
    ProvidersStatus,
    QuotaShown,
    providers_status,
)

MOST_CARDS, MOST_NAMED = 12, 4
"""Providers that are shown whatever they tell; those that are named in the sentence."""


class ProviderCard(NamedTuple):
    """A provider as the page shows it. `badge`: the class and the words of its state."""

    shown: ProviderShown
    badge: tuple[str, str]
    line: Markup
    quotas: list[QuotaShown]
    breakers: str
    last_error: ErrorShown | None


async def providers_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows."""
    status = await providers_status(asked.state)
    cards = [_card(at, one) for at, one in enumerate(status.providers)]
    shown, idle = _apart(cards)
    return {
        "status": status,
        "cards": shown,
        "idle": idle,
        "all_cards": cards,
        "sentence": sentence(status),
        "percent": percent,
        "quick": quick,
        "badge_of": badge_of,
    }


def _apart(cards: list[ProviderCard]) -> tuple[list[ProviderCard], list[ProviderCard]]:
    """Return the cards to look at, what is wrong first, and of many those that tell nothing."""
    shown = sorted(cards, key=lambda card: card.badge[0] == "ok")
    idle = [card for card in shown if not (card.shown.why_not or card.shown.hour.calls or card.shown.in_flight)]
    if len(cards) <= MOST_CARDS or len(idle) == len(cards):
        return shown, []
    return [card for card in shown if card not in idle], idle


def _card(at: int, one: ProviderShown) -> ProviderCard:
    title = f"Calls of {one.name} a minute, over the last hour"
    line = sparkline(f"calls-{at}", title, one.calls_by_minute, lambda value: f"{value:.0f}")
    quotas = {(quota.label, quota.amount): quota for endpoint in one.endpoints for quota in endpoint.quotas}
    tightest = sorted(quotas.values(), key=lambda quota: quota.left)
    errors = [endpoint.last_error for endpoint in one.endpoints if endpoint.last_error is not None]
    last = max(errors, key=lambda error: error.at, default=None)
    return ProviderCard(one, badge_of(one), line, tightest, _breakers(one), last)


def badge_of(one: ProviderShown | EndpointShown) -> tuple[str, str]:
    """Return the state of a provider or a model: a class of the style sheet, and words."""
    if one.hold is not None and one.why_not:
        return ("paused" if one.hold.kind == "paused" else "stopped"), one.hold.kind
    if one.why_not:
        return "failed", "not used now"
    return ("waiting", "at its limit") if is_spent(one) else ("ok", "in use")


def is_spent(one: ProviderShown | EndpointShown) -> bool:
    """Return whether a limit that is counted here leaves no room now: a turn goes elsewhere, or waits."""
    if isinstance(one, ProviderShown):
        return all(is_spent(endpoint) for endpoint in one.endpoints)
    return any(quota.left <= 0 for quota in one.quotas)


def _breakers(one: ProviderShown) -> str:
    """Return how its models' breakers stand, in words."""
    open_ones = [endpoint.breaker for endpoint in one.endpoints if endpoint.breaker.state != "closed"]
    if not open_ones:
        return "closed"
    states = dict.fromkeys(breaker.state for breaker in open_ones)
    of = f" ({len(open_ones)} of {len(one.endpoints)} models)" if len(one.endpoints) > 1 else ""
    return f"{', '.join(states)}{of}"


def sentence(status: ProvidersStatus) -> str:
    """Return the state of all in one sentence."""
    if not status.providers:
        return "No provider is set up."
    endpoints = [endpoint for one in status.providers for endpoint in one.endpoints]
    usable = sum(not endpoint.why_not and not is_spent(endpoint) for endpoint in endpoints)
    if len(endpoints) == 1:
        said = f"The one model that is set up {'can' if usable else 'cannot'} be asked now"
    else:
        every = "All" if usable == len(endpoints) else f"{usable} of"
        said = f"{every} {len(endpoints)} models can be asked now"
    out = [f"{one.name} is {badge_of(one)[1]}" for one in status.providers if one.why_not or is_spent(one)]
    if len(out) > MOST_NAMED:
        out[MOST_NAMED:] = [f"and {len(out) - MOST_NAMED} more"]
    return f"{said}{': ' if out else ''}{', '.join(out)}."


def percent(share: float | None) -> str:
    """Return a share as people read it; None: there was nothing."""
    if share is None:
        return "nothing yet"
    return f"{share:.1%}" if 0.99 <= share < 1 or 0 < share < 0.01 else f"{share:.0%}"


def quick(value: float | None) -> str:
    """Return a length of time, in milliseconds below a second."""
    return f"{value * 1000:.0f} ms" if value is not None and value < 1 else seconds(value)
