"""`providers rebalance`: change, while a server runs, how load is spread over its providers."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.remote.api import server_api, server_here
from orchestrator.cli.ui.arguments import DurationOption, server_option
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.next_step import command_line
from providers.documents.unicode import printable


@click.command("rebalance", cls=Command)
@click.option(
    "--weight", "weights", multiple=True, metavar="PROVIDER=W", help="Its share; `default`: the policy's own."
)
@click.option("--strategy", metavar="NAME", help="How a tier's models are ordered; `policy`: the policy's own again.")
@click.option("--drain", multiple=True, metavar="NAME", help="Send nothing new to a provider, or provider/model.")
@click.option("--pause", multiple=True, metavar="NAME", help="As --drain, but turns that need it wait.")
@click.option("--for", "pause_for", type=DurationOption(), metavar="DUR", help="How long a pause lasts: 10m.")
@click.option("--resume", multiple=True, metavar="NAME", help="Use it again.")
@click.option("--undo", type=click.IntRange(min=1), metavar="VERSION", help="Restore the settings before this version.")
@click.option("--reason", default="", metavar="TEXT", help="The reason, which is shown with the change.")
@click.option("--preview", is_flag=True, help="Show the effect. Changes nothing.")
@click.option("--force", is_flag=True, help="Do it even if a tier or an agent would have no provider.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@server_option
@click.pass_context
def rebalance_command(context: click.Context, /, *, as_json: bool, server: str | None, **asked: Any) -> int:
    """Set weights and the strategy, drain, pause and resume providers of a running server, or undo that.

    Without --server, of the one that runs here. Runs at work apply it from their next turn on.
    """
    settings = settings_of(context)
    change = change_of(**asked)
    return anyio.run(_rebalance, settings, server, change, as_json)


def change_of(
    weights: tuple[str, ...],
    strategy: str | None,
    drain: tuple[str, ...],
    pause: tuple[str, ...],
    pause_for: float | None,
    resume: tuple[str, ...],
    undo: int | None,
    reason: str,
    preview: bool,
    force: bool,
) -> dict[str, Any]:
    """Return the change as the API takes it. Raise `Unusable`. Pure."""
    if not (weights or strategy or drain or pause or resume or undo):
        raise Unusable("nothing is to be changed", "--weight groq=0.3, --drain openai, --undo 4 ...")
    if not preview and not reason.strip():
        raise Unusable("a change has a --reason: those who see it later read it", "--preview changes nothing")
    if pause_for is not None and not pause:
        raise Unusable("--for is how long a --pause lasts")
    said: dict[str, Any] = {
        "weights": dict(map(_weight, weights)),
        "strategy": strategy,
        "pause_for_s": pause_for,
        "undo": undo,
    }
    said |= {"drain": list(drain), "pause": list(pause), "resume": list(resume), "reason": reason}
    return {name: value for name, value in said.items() if value} | {"preview": preview, "force": force}


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without a user, in some containers
        return "cli"


def _weight(text: str) -> tuple[str, float | None]:
    name, equals, weight = text.partition("=")
    if weight == "default":
        return name, None
    try:
        return (name, float(weight)) if name and equals else _no_weight(text)
    except ValueError:
        return _no_weight(text)


def _no_weight(text: str) -> tuple[str, float | None]:
    raise Unusable(f"--weight {text}: it is not PROVIDER=W", "--weight groq=0.3, or --weight groq=default")


async def _rebalance(settings: Settings, named: str | None, change: Mapping[str, Any], as_json: bool) -> int:
    async with server_api(settings, named or server_here(settings)) as api:
        version = (await api.get("providers", "status"))["control"]["version"]
        told = await api.post("providers", "rebalance", body={**change, "expected_version": version, "by": _who()})
    if as_json:
        print_json(told)
        return Exit.DONE
    click.echo(printable("\n".join(told["changes"] or ["nothing changes"])))
    console = Console(settings)
    for notice in told["notices"]:
        console.warn(printable(notice))
    for name in told["leaves_alone"]:
        console.warn(printable(f"no provider is left to ask: {name}"))
    if told["applied"]:
        undo = ("providers", "rebalance", "--undo", str(told["version"]), "--reason", "undo")
        console.say(printable(f"version {told['version']}; `{command_line(settings, *undo, server=named)}` goes back"))
    elif change["preview"]:
        console.say("a preview: nothing was changed")
    return Exit.DONE
