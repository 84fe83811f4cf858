"""`tools`: what a squad's agents may call."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import click

from agents.mcp.owner import opened
from agents.tools import Tool
from orchestrator.cli.app import Group, Settings, argument, settings_of
from orchestrator.cli.consent import consent_to_code
from orchestrator.cli.exits import Exit, NothingSelected, Unusable
from orchestrator.cli.files import environment, routing_file
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.arguments import split_inputs
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.gates import ApproveChoice, approve_option
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.known_tools import SERVED, known_tools, tool_document
from orchestrator.mcp_tools import listed, servers_of
from orchestrator.squad.load import Squad
from orchestrator.squad.mcp_specs import tool_of
from orchestrator.squad.routing_tools import tools_of_routing, tree_of_routing
from orchestrator.squad.tool_source import ToolSource
from orchestrator.trust import trust_file
from providers.documents.problems import SpecError, nearest
from providers.documents.unicode import printable
from providers.documents.yaml import read_text
from providers.messages import ToolCall


@click.group("tools", cls=Group)
def tools_command() -> None:
    """List the tools that a squad's agents may call, show one, or call one yourself."""


@tools_command.command("ls")
@argument(
    "file",
    metavar="[SQUAD]",
    required=False,
    help="The squad whose tools are meant (those built in).",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def ls_command(context: click.Context, file: str | None, as_json: bool) -> None:
    """List the tools that are built in, and those that SQUAD declares. Runs none of their code."""
    settings = settings_of(context)
    squad = _squad(file, settings)
    rows = [tool_document(tool, origin) for tool, origin in known_tools(squad, _declared(squad, settings))]
    if as_json:
        print_json([{"schema_version": 1, **row} for row in rows], indent=2)
        return
    shown = [(row["name"], row["from"], row["risk"], row["approval"], _first_line(row["description"])) for row in rows]
    click.echo(columns([("TOOL", "FROM", "RISK", "APPROVAL", "WHAT IT DOES"), *shown]))


@tools_command.command("show")
@argument("name", help="The tool's name.")
@argument(
    "file",
    metavar="[SQUAD]",
    required=False,
    help="The squad whose tools are meant (those built in).",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def show_command(context: click.Context, name: str, file: str | None, as_json: bool) -> None:
    """Show a tool as a model is told of it. Code of SQUAD runs only if you allowed it before."""
    settings = settings_of(context)
    squad = _squad(file, settings)
    if squad is not None and "/" in name and not name.endswith("/*"):
        tool, origin = anyio.run(_of_server, squad, name, settings, Console(settings)), SERVED
    else:
        tool, origin = _named(name, squad, settings)
    source = _source(name, squad, settings)
    parameters: Any = tool.spec.parameters
    if source is not None and source.load is not None and all(map(trust_file().allows, source.uses)):
        parameters = anyio.run(source.load, environment(settings)).spec.parameters
    elif source is not None and source.signature:
        parameters = source.signature
    if as_json:
        print_json({"schema_version": 1, **tool_document(tool, origin), "parameters": parameters}, indent=2)
        return
    row = tool_document(tool, origin)
    facts = [
        (key, str(row[key])) for key in ("name", "from", "risk", "approval", "idempotent", "untrusted", "timeout_s")
    ]
    click.echo(columns(facts))
    click.echo(printable(f"\n{tool.description}\n"))
    shown = parameters if isinstance(parameters, str) else json.dumps(parameters, indent=2, ensure_ascii=False)
    click.echo(printable(shown))


@tools_command.command("call")
@argument("name", help="The tool's name.")
@argument("words", nargs=-1, metavar="[SQUAD] [KEY=VALUE]...", help="The squad, and arguments of the tool.")
@click.option("--json", "written", metavar="JSON", help="The arguments as a JSON object; KEY=VALUE overrides it.")
@approve_option
@click.pass_context
def call_command(
    context: click.Context, name: str, words: tuple[str, ...], written: str | None, approve: ApproveChoice
) -> int:
    """Call a tool, and print what a model would read. Asks first where the tool is risky, or its `approval` is `ask`.

    Tools for files work on the workspace of SQUAD; without one they read the working folder.
    """
    settings, console = settings_of(context), Console(settings_of(context))
    file, pairs = (words[0], words[1:]) if words and "=" not in words[0] else (None, words)
    squad = _squad(file, settings)
    if squad is not None and "/" in name:
        tool = anyio.run(_of_server, squad, name, settings, console)
    else:
        tool, _ = _named(name, squad, settings)
    environ, source = environment(settings), _source(name, squad, settings)
    if source is not None:
        consent_to_code(settings, source.uses, console)
        tool = tool if source.load is None else anyio.run(source.load, environ)
    arguments = {**_object(written or "{}"), **_typed(tool, split_inputs(pairs, "tools call", "an argument"))}
    if (wrong := tool.refused(ToolCall("call", name, json.dumps(arguments, ensure_ascii=False)))) is not None:
        hint = f"`orchestrator tools show {name}` tells what it takes"
        raise Unusable(mask_secrets(printable(wrong.content), environ), hint)
    if (tool.approval == "ask" or tool.risk == "risky") and not _is_allowed(name, arguments, approve, console):
        return Exit.WAITING if approve == "ask" else Exit.FAILED
    result = anyio.run(tool.call, ToolCall("call", name, json.dumps(arguments, ensure_ascii=False)))
    text = mask_secrets(printable(result.content), environ)
    if result.is_error:
        console.fail(text)
        return Exit.FAILED
    click.echo(text)
    return Exit.DONE


def _is_allowed(name: str, arguments: Mapping[str, Any], approve: ApproveChoice, console: Console) -> bool:
    if approve != "ask":
        return approve == "auto"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        console.fail(f"{name} is called only where a person allows it", "call it at a terminal, or with --approve auto")
        return False
    console.write(printable(f"{name} {json.dumps(arguments, ensure_ascii=False)}"))
    return click.confirm("Call it?", default=False, err=True)


def _squad(file: str | None, settings: Settings) -> Squad | None:
    if file is not None and not Path(file).exists() and Path(file).suffix not in (".yaml", ".yml"):
        hint = "an argument is KEY=VALUE; the order is TOOL squad.yaml KEY=VALUE"
        raise Unusable(f"{file} is neither a squad file nor an argument", hint)
    return None if file is None else load_squad(file, settings)


def _declared(squad: Squad | None, settings: Settings) -> tuple[ToolSource, ...]:
    """Return the tools of the squad; without one, those of the routing file. Raise `SpecError` for its mistakes."""
    if squad is not None:
        return squad.declared
    file = routing_file(settings)
    root = None if file is None else tree_of_routing(file, {str(file): read_text(file)})
    if file is None or root is None:
        return ()
    found, problems = tools_of_routing(root, str(file))
    if problems:
        raise SpecError(problems)
    return found


def _source(name: str, squad: Squad | None, settings: Settings) -> ToolSource | None:
    return next((one for one in _declared(squad, settings) if one.name == name), None)


def _named(name: str, squad: Squad | None, settings: Settings) -> tuple[Tool, str]:
    known = {tool.name: (tool, origin) for tool, origin in known_tools(squad, _declared(squad, settings))}
    if name not in known:
        hint = nearest(name, known) or "`orchestrator tools ls [SQUAD]` lists them"
        if Path(name).suffix in (".yaml", ".yml"):
            hint = f"the tool comes first, then its squad: TOOL {name}"
        elif squad is None:
            hint += "; a tool of a squad needs its file: TOOL squad.yaml"
        raise NothingSelected(f"there is no tool {printable(name)}", hint)
    return known[name]


async def _of_server(squad: Squad, name: str, settings: Settings, console: Console) -> Tool:
    """Return a tool of an MCP server, as `git/log` names it: each call of it starts the server, and ends it."""
    server = name.partition("/")[0]
    if server not in squad.mcp:
        raise NothingSelected(f"{printable(squad.file)} has no MCP server {printable(server)}")
    environ = environment(settings)
    trust = consent_to_code(settings, squad.code_uses([server]), console)
    found = (await listed(squad, [server], environ, trust))[server]
    definition = next((one for one in found if f"{server}/{one.name}" == name), None)
    if definition is None:
        there = ", ".join(f"{server}/{one.name}" for one in found) or "none"
        raise NothingSelected(f"there is no tool {printable(name)}", printable(f"it has: {there}"))

    async def call(**arguments: Any) -> str:
        async with opened(servers_of(squad, [server], environ)) as owners:
            return await owners[server].call(definition.name, arguments)

    return tool_of(name, definition, squad.mcp[server].spec, call)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _typed(tool: Tool, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return arguments that were given as texts, each as its schema has it: what is no text there is read as JSON."""
    properties = tool.spec.parameters.get("properties", {})
    return {key: _value(key, text, properties.get(key, {})) for key, text in pairs}


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"--json: {error}", '--json \'{"path": "README.md"}\'') from None
    if not isinstance(value, dict):
        raise Unusable("--json: the arguments are a JSON object", '--json \'{"path": "README.md"}\'')
    return value


def _value(key: str, text: str, schema: Any) -> Any:
    kinds = {schema.get("type")} | {one.get("type") for one in schema.get("anyOf", ()) if isinstance(one, dict)}
    if "string" in kinds or kinds == {None}:
        return text
    try:
        return json.loads(text)
    except ValueError:
        if "array" in kinds:
            return [text]
        raise Unusable(f"{key}={printable(text)} is no {' or '.join(str(kind) for kind in kinds if kind)}") from None
