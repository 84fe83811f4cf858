"""Runs that are begun, or gone on with, at a server."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
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
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.gates import ApproveChoice
from orchestrator.squad.given import InputImage, UnreadInput
from orchestrator.squad.spec import InputSpec
from providers.documents.problems import nearest
from providers.documents.unicode import printable


async def run_there(
    settings: Settings,
    server: str,
    named: str,
    given: GivenInputs,
    *,
    run_id: str | None,
    max_cost: float | None,
    approve: ApproveChoice,
    as_json: bool,
) -> Exit:
    """Have a server begin a run of a squad that it offers, and show it to its end.

    `named` is the squad's name, or a file that holds it: the server runs the squad that it was given.
    """
    async with remote_desk(settings, server) as desk:
        squad = _offered(desk, _name_of(named, settings))
        declared = {
            name: InputSpec(type=one["type"], default=None, description=one["description"])
            for name, one in squad["inputs"].items()
        }
        inputs = _as_json(given.typed(declared))
        run = await desk.begin(squad["name"], inputs, run_id, max_cost)
        desk.console.say(printable(f"{run} runs at {desk.api.url}"))
        session = RunSession(named, NO_CAPS, approve, as_json, settings, Console(settings), None)
        return await follow_there(desk, session, run, [])


async def resume_there(desk: RemoteDesk, run: str, *, approve: ApproveChoice, as_json: bool) -> Exit:
    """Have a server go on with a run, and show the rest of it."""
    past = list((await desk.record(run)).events)
    await desk.resume(run)
    session = RunSession(run, NO_CAPS, approve, as_json, desk.settings, desk.console, None)
    return await follow_there(desk, session, run, past)


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
