"""`mcp`: squads as tools of an MCP server, and the MCP servers whose tools a squad uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from agents.mcp.connection import package_fault
from agents.mcp.definitions import Definition
from orchestrator.cli.app import Group, Settings, argument, settings_of
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.files import environment, load_policy
from orchestrator.cli.journals import db_option, journal_url, record_for_run
from orchestrator.cli.local import with_local_server
from orchestrator.cli.observed import server_observed
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.arguments import DurationOption, UsdOption
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.cli.ui.next_step import answer_line, command_line
from orchestrator.cli.ui.notices import STUB_NOTICE, telling
from orchestrator.errors import NoProvider
from orchestrator.mcp_pins import McpPins
from orchestrator.mcp_server import Offer, serve_http, serve_stdio, tool_names
from orchestrator.mcp_tools import listed, offered_changes
from orchestrator.options import RunOptions, steady
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from personas import Personas, packaged
from providers.catalog.trust import Consent
from providers.documents.unicode import printable

SERVE = "serve"


class McpGroup(Group):
    """Without the name of a command it is `serve`: `mcp`, `mcp squad.yaml`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        if not {*self.commands, "-h", "--help"} & set(arguments):
            arguments = [SERVE, *arguments]
        return super().parse_args(context, arguments)


@click.group("mcp", cls=McpGroup)
def mcp_command() -> None:
    """Offer squads as tools of an MCP server; list and accept the tools of servers that a squad uses.

    `orchestrator mcp squad.yaml` is what a client's configuration names as the server's command.
    """


@mcp_command.command(SERVE)
@argument("files", nargs=-1, metavar="[SQUAD]...", help="Squad files that are offered.")
@click.option("--http", "port", type=click.IntRange(0, 65535), metavar="PORT", help="Serve http://127.0.0.1:PORT/mcp.")
@click.option("--ask/--no-ask", default=True, help="Whether the library's personas answer questions, too (yes).")
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@click.option("--max-cost", type=UsdOption(), metavar="USD", help="Stop a run before it costs more.")
@click.option("--timeout", type=DurationOption(), metavar="DUR", help="Stop a run after this time: 90s, 10m, 2h.")
@click.option(
    "--out", metavar="DIR", help="The folder for files, with one folder for each run (none: files are in the reply)."
)
@db_option
@click.pass_context
def serve_command(
    context: click.Context,
    files: tuple[str, ...],
    port: int | None,
    ask: bool,
    offline: bool,
    max_cost: float | None,
    timeout: float | None,
    out: str | None,
    db: str | None,
) -> int:
    """Offer squads as tools of an MCP server.

    Each SQUAD is a tool, on stdin and stdout, or by HTTP on this machine. Messages go to stderr.
    """
    settings = settings_of(context)
    if (wrong := package_fault()) is not None:
        raise Unusable(*wrong)
    journal_url(settings, db)
    squads = [load_squad(file, settings) for file in files]
    try:
        named = tool_names(squads)
    except ValueError as error:
        raise Unusable(str(error)) from error
    if not named and not ask:
        raise Unusable("there is nothing to offer", "name a squad, or leave out --no-ask")
    options = RunOptions(offline=offline or None, max_cost_usd=max_cost, timeout_s=timeout, state=settings.state_folder)
    anyio.run(_serve, settings, named, ask, options, out, port, db)
    return Exit.DONE


async def _serve(
    settings: Settings,
    squads: Mapping[str, Squad],
    ask: bool,
    options: RunOptions,
    out: str | None,
    port: int | None,
    db: str | None,
) -> None:
    console, (policy, catalog) = Console(settings), load_policy(settings)
    environ = environment(settings)
    keys: Consent = trust_file().allows
    code = consent_to_code(settings, [use for squad in squads.values() for use in squad.code_uses()], console)
    if options.offline:
        console.say(STUB_NOTICE)
    else:
        pinned = [agent.model for squad in squads.values() for agent in squad.outline().agents.values()]
        environ = await with_local_server(policy, catalog, environ, console.say, pinned)
        if ask and not catalog.candidates(environ):
            raise NoProvider(catalog.unconfigured(environ))
        keys = consent(settings, catalog, environ, console)
    library = Personas(packaged())
    personas = {name: library.get(name) for name in library.names()} if ask else {}
    observing = server_observed(settings, console, environ)
    async with record_for_run(settings, db, console.warn) as journal, observing as subscribers:
        given = RunOptions(
            environ=environ,
            offline=options.offline,
            max_cost_usd=options.max_cost_usd,
            timeout_s=options.timeout_s,
            clock=steady(),
            journal=journal,
            state=options.state,
            notify=telling(console.warn, console.write),
            trust=either(code, keys),
            subscribers=subscribers,
        )
        words = partial(answer_line, partial(command_line, settings, db=db))
        folder = None if out is None else Path(out)
        offer = Offer(squads, personas, policy, catalog, given, words, folder, lambda text: mask_secrets(text, environ))
        console.say(f"offers: {', '.join(one['name'] for one in offer.tools())}")
        if port is None:
            await serve_stdio(offer)
        else:
            await serve_http(offer, port, lambda at: console.say(f"serves http://127.0.0.1:{at}/mcp"))


@mcp_command.command("ls")
@argument("file", metavar="SQUAD", help="A squad file.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def ls_command(context: click.Context, file: str, as_json: bool) -> int:
    """List the tools of the servers that a squad uses.

    Starts the MCP servers of SQUAD, and says which tools differ from those that were accepted.
    """
    settings = settings_of(context)
    squad = load_squad(file, settings)
    rows = _rows(squad, McpPins(settings.state_folder), _listed(squad, settings))
    if as_json:
        print_json([{"schema_version": 1, **row} for row in rows], indent=2)
    else:
        shown = [tuple(str(row[key]) for key in ("server", "tool", "accepted", "description")) for row in rows]
        click.echo(columns([("SERVER", "TOOL", "ACCEPTED", "WHAT IT DOES"), *shown]))
    return Exit.DONE


@mcp_command.command("accept")
@argument("file", metavar="SQUAD", help="A squad file.")
@argument("servers", nargs=-1, metavar="[SERVER]...", help="Names of its MCP servers. Without any: all.")
@click.pass_context
def accept_command(context: click.Context, file: str, servers: tuple[str, ...]) -> int:
    """Accept these tools as they are now.

    These are the tools of the MCP servers that SQUAD uses, or of these SERVERs only. Runs then use them.
    """
    settings, console = settings_of(context), Console(settings_of(context))
    squad, pins = load_squad(file, settings), McpPins(settings.state_folder)
    unknown = [name for name in servers if name not in squad.servers()]
    if unknown:
        raise Unusable(f"{file} uses no MCP server '{unknown[0]}'", f"it uses: {', '.join(squad.servers()) or 'none'}")
    for name, definitions in _listed(squad, settings, servers).items():
        spec = squad.mcp[name].spec
        differing = offered_changes(spec, pins.accepted(name, spec) or (), definitions)
        pins.accept(name, spec, definitions)
        for change in differing:
            console.say(f"accepted: {name}: {change}")
        if not differing:
            console.say(f"{name}: nothing changed")
    return Exit.DONE


def _listed(squad: Squad, settings: Settings, only: Sequence[str] = ()) -> Mapping[str, Sequence[Definition]]:
    """Return what the servers say of their tools now."""
    code = consent_to_code(settings, squad.code_uses(), Console(settings))
    names = [name for name in squad.servers() if not only or name in only]
    return anyio.run(listed, squad, names, environment(settings), code)


def _rows(squad: Squad, pins: McpPins, found: Mapping[str, Sequence[Definition]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for server, definitions in found.items():
        spec = squad.mcp[server].spec
        accepted = pins.accepted(server, spec)
        differing = {one.tool: one.what for one in offered_changes(spec, accepted or (), definitions)}
        for one in definitions:
            if spec.tools is None or one.name in spec.tools:
                said = (
                    "not yet" if accepted is None else f"no: {differing[one.name]}" if one.name in differing else "yes"
                )
                first = printable(one.description.strip().partition("\n")[0])
                rows.append({"server": server, "tool": one.name, "accepted": said, "description": first})
        there = {one.name for one in definitions}
        rows += [
            {"server": server, "tool": name, "accepted": f"no: {what}", "description": ""}
            for name, what in differing.items()
            if name not in there
        ]
    return rows
