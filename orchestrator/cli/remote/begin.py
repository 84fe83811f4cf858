"""Runs that are begun, or gone on with, at a server."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.app import Settings
from orchestrator.cli.exits import Exit, NothingSelected, Unusable
from orchestrator.cli.inputs import GivenInputs
from orchestrator.cli.remote.desk import RemoteDesk, remote_desk
from orchestrator.cli.remote.session import follow_there
from orchestrator.cli.session import RunSession
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.gates import ApproveChoice
from orchestrator.cli.ui.reasons import Document
from orchestrator.squad.given_values import InputImage, UnreadInput
from orchestrator.squad.spec import InputSpec
from providers.documents.problems import nearest
from providers.documents.unicode import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowOptions:
    """How a run at a server is followed here. Files that it made are written below `out`, where that is given."""

    approve: ApproveChoice
    stream: bool
    as_json: bool
    out: str | None
    overwrite: bool


async def run_there(
    settings: Settings,
    server: str,
    named: str,
    given: GivenInputs,
    *,
    run_id: str | None,
    max_cost: float | None,
    timeout_s: float | None,
    priority: int,
    how: FollowOptions,
) -> Exit:
    """Have a server begin a run of a squad that it offers, and show it to its end.

    `named` is the squad's name, or a file that holds it: the server runs the squad that it was given.
    """
    async with remote_desk(settings, server) as desk:
        squad = _offered(desk, _name_of(named, settings))
        inputs = _as_json(given.typed(_declared(squad)))
        caps = {"max_cost_usd": max_cost, "timeout_s": timeout_s}
        asked = given_only(run_id=run_id, stream=how.stream, priority=priority, **caps)
        run = await desk.begin(squad["name"], inputs, **asked)
        desk.console.say(printable(f"{run} runs at {desk.api.url}"))
        return await _followed(desk, named, run, [], how)


async def resume_there(
    desk: RemoteDesk,
    run: str,
    *,
    max_cost: float | None,
    timeout_s: float | None,
    how: FollowOptions,
) -> Exit:
    """Have a server go on with a run, and show the rest of it."""
    past = list((await desk.record(run)).events)
    await desk.resume(run, **given_only(max_cost_usd=max_cost, timeout_s=timeout_s, stream=how.stream))
    return await _followed(desk, run, run, past, how)


async def fork_there(
    desk: RemoteDesk,
    run: str,
    given: GivenInputs,
    *,
    start: str | None,
    run_id: str | None,
    max_cost: float | None,
    timeout_s: float | None,
    dry_run: bool,
    how: FollowOptions,
) -> Exit:
    """Have a server fork a run, and show the new one to its end. With `dry_run` only what would become of it."""
    inputs: dict[str, Any] = {}
    if given:
        squad = _offered(desk, (await desk.record(run)).squad)
        inputs = _as_json(given.typed(_declared(squad)))
    asked = given_only(start=start, run_id=run_id, max_cost_usd=max_cost, timeout_s=timeout_s, stream=how.stream)
    shown = await desk.fork(run, inputs=inputs, preview=dry_run, **asked)
    rows = [(one["task"], one["before"], one["now"], one["why"]) for one in shown["tasks"]]
    table = printable(columns([("TASK", "BEFORE", "NOW", "WHY"), *rows]))
    if dry_run:
        click.echo(table)
        return Exit.DONE
    new = str(shown["run_id"])
    desk.console.say(f"{table}\n\n{printable(f'{new} runs at {desk.api.url}')}")
    # What it took over is no news: it is shown from where it goes on by itself.
    events = list((await desk.record(new)).events)
    taken = next((at for at, one in enumerate(events, 1) if one["type"] == "run.forked"), 0)
    return await _followed(desk, new, new, events[:taken], how)


async def _followed(desk: RemoteDesk, named: str, run: str, past: Sequence[Document], how: FollowOptions) -> Exit:
    """Show a run from after its `past` events on."""
    session = RunSession(named, NO_CAPS, how.approve, how.as_json, desk.settings, desk.console, None, how.stream)
    out = None if how.out is None else Path(how.out)
    return await follow_there(desk, session, run, list(past), out=out, overwrite=how.overwrite)


def given_only(**how: Any) -> dict[str, Any]:
    """Return the options that were given, as fields of a request."""
    return {name: value for name, value in how.items() if value not in (None, False)}


def _declared(squad: Mapping[str, Any]) -> dict[str, InputSpec]:
    return {
        name: InputSpec(type=one["type"], default=None, description=one["description"])
        for name, one in squad["inputs"].items()
    }


def only_here(**given: Any) -> None:
    """Raise `UsageError` for options that are given and that a server does not take."""
    if wrong := [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, False, ())]:
        raise click.UsageError(f"{', '.join(wrong)}: not with --server, which decides it itself")


NO_CAPS = Caps()


def _name_of(named: str, settings: Settings) -> str:
    return load_squad(named, settings).name if Path(named).is_file() else named


def _offered(desk: RemoteDesk, name: str) -> Mapping[str, Any]:
    offered: Iterable[Mapping[str, Any]] = desk.shown["squads"]
    by_name = {one["name"]: one for one in offered}
    if name not in by_name:
        hint = nearest(name, by_name) if by_name else "give squad files to `orchestrator serve`"
        raise NothingSelected(printable(f"{desk.api.url} offers no squad '{name}'"), hint)
    return by_name[name]


def _as_json(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs as JSON has them. Raise `Unusable` for one that could not be read."""
    return {name: _plain(name, value) for name, value in inputs.items()}


def _plain(name: str, value: Any) -> Any:
    match value:
        case UnreadInput(why, hint):
            raise Unusable(printable(f"-i {name}: {why}"), hint)
        case InputImage(_, media_type, data):
            return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        case str():
            return str.__str__(value)
    return value
