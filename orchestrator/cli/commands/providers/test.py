"""`providers test`: whether each configured provider answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import click

from orchestrator.cli.app import Command, argument, settings_of
from orchestrator.cli.consent import consent
from orchestrator.cli.exits import Exit, NothingSelected, Unusable, exit_of
from orchestrator.cli.files import configured
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.figures import duration, usd
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.errors import MOST_WAYS
from providers.catalog.model import Catalog, of_all_accounts
from providers.catalog.trust import Consent
from providers.client.manager import open_manager
from providers.documents.unicode import printable
from providers.errors import ProviderError, RoutingError
from providers.messages import Needs, Request, user
from providers.policy.model import Policy

TEST_TOKENS = 256
"""Enough for a model that thinks before it says one word; at the highest price in the catalog, half a cent."""


class Trial(NamedTuple):
    """How one provider answered. `failure` is None where it did; `cost` is USD."""

    name: str
    seconds: float
    cost: float | None
    failure: Exception | None


@click.command("test", cls=Command)
@argument("name", required=False, help="A provider, or provider/model. Without it: all with a key.")
@click.pass_context
def test_command(context: click.Context, name: str | None) -> int:
    """Ask each configured provider (or NAME) for one word, with its cheapest model. This costs a little.

    Each key of a provider is tried.
    """
    settings = settings_of(context)
    policy, catalog, environ = configured(settings, Console(settings).say)
    if name is not None and name not in catalog.providers:
        raise Unusable(f"there is no provider {name!r}", f"the providers are: {', '.join(catalog.providers)}")
    chosen = cheapest_of_each(catalog, environ, name)
    if not chosen:
        lacking = catalog.unconfigured(environ)
        ways = [f"{who}: {why}" for who, why in lacking.items() if name in (None, who)]
        more = f"; and {len(ways) - MOST_WAYS} others: `orchestrator providers ls`" if len(ways) > MOST_WAYS else ""
        told = "; ".join(ways[:MOST_WAYS]) + more
        raise NothingSelected("no provider is configured, so there is nothing to test", told)
    trust = consent(settings, catalog, environ, Console(settings))
    trials = anyio.run(_try_all, policy, catalog, environ, chosen, settings.state_folder, trust)
    rows = [_trial_row(trial, environ) for trial in trials]
    click.echo(columns([("MODEL", "RESULT", "TIME", "COST"), *rows]))
    failed = [trial for trial in trials if trial.failure is not None]
    Console(settings_of(context)).say(f"{len(trials) - len(failed)} of {len(trials)} answered")
    return exit_of_trials([trial.failure for trial in failed])


def cheapest_of_each(catalog: Catalog, environ: Mapping[str, str], only: str | None) -> list[str]:
    """Return for each account of each provider the cheapest model. An unknown price counts as the highest."""
    cheapest: dict[tuple[str, int], tuple[float, str]] = {}
    for candidate in catalog.candidates(environ):
        provider, price = candidate.provider, candidate.model.price
        own = environ.get(f"{provider.env_prefix}_MODEL", "").strip() if provider.any_model else ""
        if only in (None, provider.name) and provider.dialect != "scripted" and own in ("", candidate.model.name):
            cost = float("inf") if price is None else price.input + price.output
            account = provider.name, candidate.account
            cheapest[account] = min(cheapest.get(account, (cost, candidate.name)), (cost, candidate.name))
    return [name for _, name in cheapest.values()]


def exit_of_trials(failures: Sequence[BaseException | None]) -> Exit:
    """Return the exit code of a test. Refused keys come first: an operator can replace them at once."""
    codes = {exit_of(failure) for failure in failures if failure is not None}
    if not codes:
        return Exit.DONE
    return Exit.CREDENTIALS if Exit.CREDENTIALS in codes else Exit.NO_ANSWER


async def _try_all(
    policy: Policy, catalog: Catalog, environ: Mapping[str, str], names: Iterable[str], state: Path, trust: Consent
) -> list[Trial]:
    trials: list[Trial] = []
    once = replace(policy, attempts_per_turn=1)  # what one call comes to is the question
    async with (
        open_manager(once, catalog, environ, state=state, trust=trust) as manager,
        anyio.create_task_group() as tasks,
    ):
        for name in names:
            tasks.start_soon(_try_one, manager, name, trials)
    return sorted(trials, key=lambda trial: trial.name)


async def _try_one(manager: Any, name: str, trials: list[Trial]) -> None:
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
