"""`gateway-keys`: the keys of the gateway's clients, and what each may ask and spend."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import anyio
import click

from orchestrator.cli.app import Command, Group, Settings, argument, settings_of
from orchestrator.cli.exits import Unusable
from orchestrator.cli.files import configured
from orchestrator.cli.ledgers import open_ledger
from orchestrator.cli.ui.arguments import DurationOption
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.figures import duration, usd
from orchestrator.server.gateway.allowance import meters_of
from orchestrator.server.gateway.keys import ClientKeys, Key, KeyBudget
from providers.limits.counter import LimitKey, Used

T = TypeVar("T")


class BudgetOption(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """What may be spent in each period: `5usd/day`."""

    name = "budget"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> KeyBudget:
        try:
            return KeyBudget.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group("gateway-keys", cls=Group)
def gateway_keys_command() -> None:
    """Make, list and revoke keys of the gateway's clients. A running server applies changes at once."""


@gateway_keys_command.command("add", cls=Command)
@argument("name", help="The key's name.")
@click.option("--model", "models", multiple=True, metavar="GLOB", help="A model it may use: tier/*, openai/gpt-*.")
@click.option("--rpm", type=click.IntRange(1), metavar="N", help="Rate limit: requests in any minute.")
@click.option("--tpm", type=click.IntRange(1), metavar="N", help="Rate limit: tokens in any minute.")
@click.option("--at-once", type=click.IntRange(1), metavar="N", help="Requests at the same time.")
@click.option(
    "--budget",
    "budgets",
    type=BudgetOption(),
    multiple=True,
    metavar="USD/PERIOD",
    help="What it may spend: 5usd/day, 1usd/hour, 100usd/month.",
)
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="A label for its spending: team=web.")
@click.option("--cache", "cache_s", type=DurationOption(), metavar="DUR", help="Cache its whole answers for this time.")
@click.pass_context
def add_key(context: click.Context, /, name: str, **more: Any) -> None:
    """Make a key called NAME, and show it, only this once."""
    settings = settings_of(context)
    periods = [budget.per for budget in more["budgets"]]
    if len(set(periods)) < len(periods):
        raise Unusable("two budgets are of the same period", "give one --budget for each of hour, day and month")
    lists = {field: tuple(more.pop(field)) for field in ("models", "tags", "budgets")}
    cache_s = more.pop("cache_s") or 0.0
    text = _told(lambda: ClientKeys(settings.state_folder).make(name, time.time(), cache_s=cache_s, **lists, **more))
    Console(settings).say(f"the key '{name}', which is shown this once:")
    click.echo(text)  # past the console, which masks what looks like a key


@gateway_keys_command.command("ls", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def list_keys(context: click.Context, as_json: bool) -> None:
    """List the keys by their last characters: what each may use, and what it has spent of its budgets."""
    settings = settings_of(context)
    keys = _told(ClientKeys(settings.state_folder).all)
    used = _usage(settings, keys) if any(key.budgets for key in keys) else {}
    if as_json:
        print_json([_document(key, used) for key in keys], indent=2)
    elif not keys:
        Console(settings).say("there are no keys: `orchestrator serve` makes the first one, `gateway-keys add` others")
    else:
        head = ("NAME", "KEY", "MODELS", "RATES", "BUDGET SPENT", "CACHE", "TAGS", "MADE")
        click.echo(columns([head, *(_row(key, used) for key in keys)]))


@gateway_keys_command.command("revoke", cls=Command)
@argument("name", help="The key's name.")
@click.pass_context
def revoke_key(context: click.Context, name: str) -> None:
    """Revoke the key called NAME: its next request is refused."""
    settings = settings_of(context)
    if not _told(lambda: ClientKeys(settings.state_folder).revoke(name)):
        raise Unusable(f"there is no key '{name}'", "`gateway-keys ls` lists them")
    Console(settings).say(f"the key '{name}' is revoked")


def _told(work: Callable[[], T]) -> T:
    try:
        return work()
    except (ValueError, OSError) as error:
        raise Unusable(str(error)) from None


def _usage(settings: Settings, keys: tuple[Key, ...]) -> Mapping[str, Used]:
    """Return what is counted of the keys' budgets, by meter."""
    policy, _, environ = configured(settings)
    meters = [meter for key in keys for meter in _budgets(key, policy.budget.timezone)]

    async def look() -> list[Used]:
        async with open_ledger(settings, policy, environ) as ledger:
            return await ledger.usage(meters, time.time())

    return {each.meter.key: each for each in anyio.run(look)}


def _budgets(key: Key, timezone: str = "UTC") -> tuple[LimitKey, ...]:
    return meters_of(key, timezone).budgets


def _row(key: Key, used: Mapping[str, Used]) -> tuple[str, ...]:
    rates = [(key.rpm, "requests/min"), (key.tpm, "tokens/min"), (key.at_once, "at once")]
    spent = [f"{usd(used[meter.key].used / 1e6)} of {meter.label}" for meter in _budgets(key)]
    return (
        key.name,
        f"…{key.ends}",
        " ".join(key.models) or "all",
        ", ".join(f"{most:,} {what}" for most, what in rates if most is not None) or "any",
        ", ".join(spent) or "no budget",
        duration(key.cache_s) if key.cache_s else "",
        " ".join(key.tags),
        f"{datetime.fromtimestamp(key.created, UTC):%Y-%m-%d}",
    )


def _document(key: Key, used: Mapping[str, Used]) -> dict[str, Any]:
    budgets = [
        {"usd": budget.usd, "per": budget.per, "spent_usd": used[meter.key].used / 1e6}
        for budget, meter in zip(key.budgets, _budgets(key), strict=True)
    ]
    return {
        "schema_version": 1,
        "name": key.name,
        "ends": key.ends,
        "models": list(key.models),
        "rpm": key.rpm,
        "tpm": key.tpm,
        "at_once": key.at_once,
        "budgets": budgets,
        "cache_s": key.cache_s,
        "tags": list(key.tags),
        "created": key.created,
    }
