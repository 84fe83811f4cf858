"""The MCP servers of a run: opened when it starts, their tools compared with what was accepted, closed when it ends."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from agents.mcp.definitions import Definition, DefinitionChange, changes
from agents.mcp.errors import McpFault
from agents.mcp.owner import Owner, opened
from agents.mcp.servers import McpHttpServer, McpServer, McpStdioServer
from agents.mcp.tools import TIMEOUT_S, StandIn, caller
from agents.tools import Tool
from orchestrator.mcp_pins import McpPins
from orchestrator.options import RunOptions
from orchestrator.squad.load import Squad
from orchestrator.squad.mcp_servers import McpEntry
from orchestrator.squad.mcp_specs import McpSpec, McpTools, filled, tool_of
from orchestrator.squad.named_files import named_files
from orchestrator.trust import refuse_code
from providers.catalog.trust import Consent

Definitions = Mapping[str, Sequence[Definition]]


@asynccontextmanager
async def mcp_opened(
    squad: Squad, options: RunOptions, recorded: Definitions | None = None
) -> AsyncIterator[tuple[Squad, tuple[Tool, ...]]]:
    """Start the servers whose tools the squad uses, and yield it with their definitions, and the tools at work.

    `recorded` are the definitions that the run began with: they hold, and a server that has others now is refused.
    Where the run has a folder of state, so are definitions other than those that were accepted there; those of a
    server's first use are accepted. Raise `McpFault` with what is wrong, and `PlanError` where a tool is not there.
    """
    names = squad.servers()
    if not names:
        yield squad, ()
        return
    refuse_code(squad.code_uses(names), options.trust)
    environ = os.environ if options.environ is None else options.environ
    pins = None if options.state is None else McpPins(options.state)
    stand_ins = {name: one for name, one in options.stand_ins.items() if name in names}
    async with opened(servers_of(squad, [name for name in names if name not in stand_ins], environ)) as owners:
        found = {name: _settled(squad, owner, pins, (recorded or {}).get(name)) for name, owner in owners.items()}
        bound = squad.with_mcp({**found, **{name: one.definitions for name, one in stand_ins.items()}})
        yield bound, tuple(_tools(bound, {**owners, **stand_ins}))


async def listed(
    squad: Squad, names: Iterable[str], environ: Mapping[str, str], trust: Consent
) -> dict[str, tuple[Definition, ...]]:
    """Return what these servers of the squad say of their tools now. Raise `McpFault` and `CodeNotTrusted`."""
    names = list(names)
    refuse_code(squad.code_uses(names), trust)
    async with opened(servers_of(squad, names, environ)) as owners:
        return {name: owner.definitions for name, owner in owners.items()}


def servers_of(squad: Squad, names: Iterable[str], environ: Mapping[str, str]) -> list[McpServer]:
    """Return how these servers of the squad are reached. Raise `McpFault` for a variable that is not set."""
    return [_server(name, squad.mcp[name], environ) for name in names]


def _server(name: str, entry: McpEntry, environ: Mapping[str, str]) -> McpServer:
    spec = entry.spec
    try:
        texts = spec.headers if spec.url is not None else spec.variables
        values = {key: filled(text, environ) for key, text in texts.items()}
    except KeyError as error:
        raise McpFault(name, "no_variable", f"{error.args[0]} is not set", "set it, or put it in .env") from None
    timeout_s = spec.timeout or TIMEOUT_S
    secrets = tuple(environ[name] for name in spec.secret_reads if environ.get(name))
    if spec.url is not None:
        return McpHttpServer(name, spec.url, values, timeout_s, secrets=secrets)
    beside = str(entry.beside / (spec.cwd or "."))
    code = named_files(spec.words, entry.beside.resolve(), spec.cwd or ".").code
    return McpStdioServer(name, spec.words, values, beside, timeout_s, secrets=secrets, pinned=code)


def _settled(
    squad: Squad, owner: Owner, pins: McpPins | None, recorded: Sequence[Definition] | None
) -> Sequence[Definition]:
    """Return the definitions that hold for the run, in the order in which they were seen first."""
    name, spec = owner.server.name, squad.mcp[owner.server.name].spec
    if recorded is not None and (differing := offered_changes(spec, recorded, owner.definitions)):
        hint = "go on by its new ones: `runs resume --edited`, or begin a new run"
        raise _changed(name, "since the run began", differing, hint)
    if pins is not None:
        accepted = pins.accepted(name, spec)
        if accepted is None:
            pins.accept(name, spec, owner.definitions)
        elif differing := offered_changes(spec, accepted, owner.definitions):
            hint = f"read them: `orchestrator mcp ls {squad.file}`; then `orchestrator mcp accept {squad.file}`"
            raise _changed(name, "since they were accepted", differing, hint)
    return owner.definitions if recorded is None else recorded


def offered_changes(
    spec: McpSpec, accepted: Sequence[Definition], now: Sequence[Definition]
) -> tuple[DefinitionChange, ...]:
    """Return the changes of those tools that the squad takes from the server."""
    return tuple(one for one in changes(accepted, now) if spec.tools is None or one.tool in spec.tools)


def _changed(name: str, since: str, differing: Sequence[DefinitionChange], hint: str) -> McpFault:
    shown = "; ".join(map(str, differing[:5])) + (f"; and {len(differing) - 5} more" if len(differing) > 5 else "")
    return McpFault(name, "changed", f"its tools changed {since}: {shown}", hint)


def _tools(squad: Squad, owners: Mapping[str, Owner | StandIn]) -> Iterable[Tool]:
    specs = {name: entry.spec for name, entry in squad.mcp.items()}
    known = McpTools(specs, squad.definitions)
    for server, owner in owners.items():
        for name, definition in known.offered(server).items():
            yield tool_of(name, definition, specs[server], caller(owner, definition.name))
