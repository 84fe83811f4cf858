"""`providers ls` and `providers test`; `limits` and `reset` stand in `allowances.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import click

from orchestrator.cli.app import Group, settings_of
from orchestrator.cli.arguments import environment, load_policy
from orchestrator.cli.commands.limits import limits_command, reset_command
from orchestrator.cli.exits import Exit, NothingSelected, Unusable
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.cli.ui.progress import duration, usd
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.cli.app import Settings
    from orchestrator.environment import Environment
    from providers.catalog.model import Catalog, Limit, Model, Price, Provider
    from providers.policy.model import Policy

TEST_TOKENS = 256
"""Enough for a model that thinks before it says one word; at the dearest price in the catalog, half a cent."""
WINDOWS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}


@click.group("providers", cls=Group)
def providers_command() -> None:
    """Who can be asked."""


providers_command.add_command(limits_command)
providers_command.add_command(reset_command)


@providers_command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def list_providers(context: click.Context, as_json: bool) -> None:
    """List models with what they can do and cost, and which providers have their key. Keys are never shown."""
    policy, catalog, environ = asked_here(settings_of(context))
    missing, keys = catalog.unconfigured(environ), keys_of(catalog, environ)
    if as_json:
        print_json([_document(provider, policy, missing, keys) for provider in catalog.providers.values()], indent=2)
        return
    rows: list[tuple[str, ...]] = [("MODEL", "CONTEXT", "OUTPUT", "$/M IN", "$/M OUT", "ABILITIES", "TIERS")]
    for provider in catalog.providers.values():
        rows += [_row(provider, model, policy) for model in provider.models.values()]
    click.echo(columns(rows))
    click.echo()
    heads = [("PROVIDER", "KEY", "LIMITS")]
    for name, provider in catalog.providers.items():
        heads.append(
            (name, key_state(provider, missing, keys), "; ".join(map(limit_words, provider.limits)) or "none known")
        )
    click.echo(columns(heads))


def asked_here(settings: Settings) -> tuple[Policy, Catalog, Environment]:
    """Return the policy and the catalog that hold here, with what the environment says, and that environment."""
    from providers.policy.model import with_environment

    environ = environment(settings)
    return *with_environment(*load_policy(settings), environ), environ


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


def limit_words(limit: Limit) -> str:
    """Return a limit as `30 requests / minute`."""
    window = WINDOWS.get(limit.window) or duration(limit.window)
    what = f"{limit.amount:,g} {limit.metric} / {window}"
    return f"{what} ({limit.model})" if limit.model else what


def _row(provider: Provider, model: Model, policy: Policy) -> tuple[str, ...]:
    name = provider.full_name(model.name)
    per_in, per_out = prices(model.price)
    abilities = " ".join(sorted(model.abilities))
    return (
        name,
        f"{model.context:,}",
        f"{model.max_output:,}",
        per_in,
        per_out,
        abilities,
        " ".join(tiers(name, policy)),
    )


def tiers(name: str, policy: Policy) -> list[str]:
    """Return the tiers that name a model, or all of its provider's."""
    whole = f"{name.partition('/')[0]}/*"
    return [tier for tier, names in policy.tiers.items() if name in names or whole in names]


def prices(price: Price | None) -> tuple[str, str]:
    return ("?", "?") if price is None else (f"{price.input:g}", f"{price.output:g}")


def _document(
    provider: Provider, policy: Policy, missing: Mapping[str, object], keys: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    models = [
        {
            "name": provider.full_name(m.name),
            "context": m.context,
            "max_output": m.max_output,
            "abilities": sorted(m.abilities),
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
        "base_url": provider.base_url,
        "limits": list(map(limit_words, provider.limits)),
        "models": models,
    }


class Trial(NamedTuple):
    """How one provider answered. `failure` is None where it did; `cost` is USD."""

    name: str
    seconds: float
    cost: float | None
    failure: Exception | None


@providers_command.command("test")
@click.argument("name", required=False)
@click.pass_context
def test_providers(context: click.Context, name: str | None) -> int:
    """Ask each configured provider (or NAME) for one word, with its cheapest model. This costs a little.

    Of a provider with several keys, each is asked.
    """
    policy, catalog, environ = asked_here(settings_of(context))
    if name is not None and name not in catalog.providers:
        raise Unusable(f"there is no provider {name!r}", f"known: {', '.join(catalog.providers)}")
    chosen = cheapest_of_each(catalog, environ, name)
    if not chosen:
        lacking = catalog.unconfigured(environ)
        ways = [f"{who}: {why}" for who, why in lacking.items() if name in (None, who)]
        raise NothingSelected("no provider is configured to be tested", "; ".join(ways))
    trials = anyio.run(_try_all, policy, catalog, environ, chosen, settings_of(context).state_folder)
    rows = [_trial_row(trial, environ) for trial in trials]
    click.echo(columns([("MODEL", "RESULT", "TIME", "COST"), *rows]))
    failed = [trial for trial in trials if trial.failure is not None]
    Console(settings_of(context)).say(f"{len(trials) - len(failed)} of {len(trials)} answered")
    return exit_of_trials([trial.failure for trial in failed])


def cheapest_of_each(catalog: Catalog, environ: Mapping[str, str], only: str | None) -> list[str]:
    """Return for each account of each provider the cheapest model. An unknown price counts as the dearest."""
    cheapest: dict[tuple[str, int], tuple[float, str]] = {}
    for candidate in catalog.candidates(environ):
        provider, price = candidate.provider, candidate.model.price
        if only in (None, provider.name) and provider.dialect != "scripted":
            cost = float("inf") if price is None else price.input + price.output
            account = provider.name, candidate.account
            cheapest[account] = min(cheapest.get(account, (cost, candidate.name)), (cost, candidate.name))
    return [name for _, name in cheapest.values()]


def exit_of_trials(failures: Sequence[BaseException | None]) -> Exit:
    """Return how a test ends: keys first, for those an operator can mend at once."""
    from orchestrator.cli.exits import exit_of

    codes = {exit_of(failure) for failure in failures if failure is not None}
    if not codes:
        return Exit.DONE
    return Exit.CREDENTIALS if Exit.CREDENTIALS in codes else Exit.NO_ANSWER


async def _try_all(
    policy: Policy, catalog: Catalog, environ: Mapping[str, str], names: Iterable[str], state: Path
) -> list[Trial]:
    from providers.client.manager import open_manager

    trials: list[Trial] = []
    async with (
        open_manager(policy, catalog, environ, state=state) as manager,
        anyio.create_task_group() as tasks,
    ):
        for name in names:
            tasks.start_soon(_try_one, manager, name, trials)
    return sorted(trials, key=lambda trial: trial.name)


async def _try_one(manager: Any, name: str, trials: list[Trial]) -> None:
    from providers.catalog.model import of_all_accounts
    from providers.errors import ProviderError, RoutingError
    from providers.messages import Needs, Request, user

    alone = name if name != of_all_accounts(name) else f"{name}#1"
    request = Request((user("Answer with the word ok."),), max_output_tokens=TEST_TOKENS, needs=Needs(model=alone))
    began = anyio.current_time()
    try:
        response = await manager.complete(request)
    except (ProviderError, RoutingError) as error:
        trials.append(Trial(name, anyio.current_time() - began, None, error))
    else:
        cost = None if response.cost is None else response.cost / 1e6
        trials.append(Trial(name, anyio.current_time() - began, cost, None))


def _trial_row(trial: Trial, environ: Mapping[str, str]) -> tuple[str, ...]:
    result = "ok" if trial.failure is None else mask_secrets(printable(str(trial.failure)), environ)
    return trial.name, " ".join(result.split()), duration(trial.seconds), usd(trial.cost) if not trial.failure else ""
