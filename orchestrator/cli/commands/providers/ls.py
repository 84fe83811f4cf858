"""`providers ls`: the models of the catalog, and which providers have a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from orchestrator.cli.app import Command, settings_of
from orchestrator.cli.files import configured
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.figures import duration
from providers.catalog.model import Candidate, Catalog, Limit, Model, Price, Provider
from providers.catalog.trust import IN_CATALOG
from providers.documents.secrets import hidden
from providers.policy.model import Policy
from providers.windows import CALENDAR_SECONDS, span

COUNTED = ("requests", "neurons", "usd")
"""What limits count beside tokens."""
WINDOWS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day", CALENDAR_SECONDS["month"]: "month"}


@click.command("ls", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def ls_command(context: click.Context, as_json: bool) -> None:
    """List models with their capabilities and prices, and which providers have a key. Keys are never shown."""
    settings = settings_of(context)
    policy, catalog, environ = configured(settings, Console(settings).say)
    missing, keys = catalog.unconfigured(environ), keys_of(catalog, environ)
    firsts = {one.provider.name: one for one in reversed(catalog.candidates(environ))}
    if as_json:
        rows_of = catalog.providers.values()
        print_json([_document(row, policy, missing, keys, firsts.get(row.name)) for row in rows_of], indent=2)
        return
    rows: list[tuple[str, ...]] = [("MODEL", "CONTEXT", "OUTPUT", "$/M IN", "$/M OUT", "CAPABILITIES", "TIERS")]
    for provider in catalog.providers.values():
        rows += [_row(provider, model, policy) for model in provider.models.values()]
    click.echo(columns(rows))
    click.echo()
    heads = [("PROVIDER", "KEY", "ADDRESS", "LIMITS")]
    for name, provider in catalog.providers.items():
        limits = "; ".join(map(limit_text, provider.limits)) or "none known"
        heads.append((name, key_state(provider, missing, keys), _address(firsts.get(name)), limits))
    click.echo(columns(heads))


def _address(first: Candidate | None) -> str:
    """Return where else than at its vendor's a provider is asked, and who says so; "" where that is the catalog."""
    if first is None or first.whence.address in ("", IN_CATALOG):
        return ""
    return f"{hidden(first.provider.base_url, guess=False)} ({first.whence.address})"


def keys_of(catalog: Catalog, environ: Mapping[str, str]) -> Mapping[str, list[str]]:
    """Return by provider the variables that hold its keys, one for each account."""
    found: dict[str, list[str]] = {}
    for candidate in catalog.candidates(environ):
        variable = candidate.provider.key_env
        if variable is not None and variable not in found.setdefault(candidate.provider.name, []):
            found[candidate.provider.name].append(variable)
    return found


def key_state(provider: Provider, missing: Mapping[str, object], keys: Mapping[str, Sequence[str]]) -> str:
    """Return `yes`, how many there are, `not needed`, or what it takes."""
    if provider.name in missing:
        return str(missing[provider.name])
    if not provider.key_env:
        return "not needed"
    many = len(keys[provider.name])
    return "yes" if many == 1 else f"{many} keys"


def limit_text(limit: Limit) -> str:
    """Return a limit for the table, `8,000 uncached tokens / minute`. The document has the catalog's own word."""
    words = limit_words(limit)
    return (
        words if limit.metric in COUNTED else words.replace(" / ", " tokens / ", 1).replace(" total tokens", " tokens")
    )


def limit_words(limit: Limit) -> str:
    """Return a limit as `30 requests / minute`."""
    window = WINDOWS.get(span(limit.window)) or duration(span(limit.window))
    amount = f"{limit.amount:,.0f}" if limit.amount == int(limit.amount) else f"{limit.amount:,g}"
    what = f"{amount} {limit.metric} / {window}"
    return f"{what} ({limit.model})" if limit.model else what


def _row(provider: Provider, model: Model, policy: Policy) -> tuple[str, ...]:
    name = provider.full_name(model.name)
    per_in, per_out = prices(model.price)
    capabilities = " ".join(sorted(model.capabilities))
    return (
        name,
        f"{model.context:,}",
        f"{model.max_output:,}",
        per_in,
        per_out,
        capabilities,
        " ".join(tiers(name, policy)),
    )


def tiers(name: str, policy: Policy) -> list[str]:
    """Return the tiers that name a model, or all of its provider's."""
    whole = f"{name.partition('/')[0]}/*"
    return [tier for tier, names in policy.tiers.items() if name in names or whole in names]


def prices(price: Price | None) -> tuple[str, str]:
    return ("?", "?") if price is None else (f"{price.input:g}", f"{price.output:g}")


def _document(
    provider: Provider,
    policy: Policy,
    missing: Mapping[str, object],
    keys: Mapping[str, Sequence[str]],
    first: Candidate | None,
) -> dict[str, Any]:
    """Return a provider's row; `first` is a candidate of its first account, None where it has none."""
    models = [
        {
            "name": provider.full_name(m.name),
            "context": m.context,
            "max_output": m.max_output,
            "abilities": sorted(m.capabilities),
            "price_usd_per_million": None if m.price is None else {"input": m.price.input, "output": m.price.output},
            "tiers": tiers(provider.full_name(m.name), policy),
        }
        for m in provider.models.values()
    ]
    return {
        "schema_version": 1,
        "provider": provider.name,
        "configured": provider.name not in missing,
        "key": key_state(provider, missing, keys),
        "key_variable": provider.key_env,
        "accounts": list(keys.get(provider.name, ())),
        "base_url": hidden((provider if first is None else first.provider).base_url, guess=False),
        "base_url_from": None if first is None else first.whence.address or None,
        "key_from": None if first is None else first.whence.key or None,
        "limits": list(map(limit_words, provider.limits)),
        "models": models,
    }
