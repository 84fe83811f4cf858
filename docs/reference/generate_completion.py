"""Writes `orchestrator/cli/completion.json`, by which shells complete our commands: run it after a change of options.

python docs/reference/generate_completion.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.app import COMMANDS, common_options, orchestrator
from providers.catalog.file import load_catalog
from providers.policy.parse import default_policy

PAGE = Path(__file__).parents[2] / "orchestrator" / "cli" / "completion.json"
COMMON = {option.name for option in common_options()}
SQUAD_ARGUMENTS = {
    "run file", "chat file", "validate files", "graph file", "config file", "doctor file", "test file", "simulate what",
    "mcp accept file", "mcp ls file", "mcp serve files", "serve files", "tools ls file", "tools show file",
    "tools call words",
    "runs resume file", "runs fork file", "runs replay against", "personas render squad_file",
}  # fmt: skip
KINDS = {
    **dict.fromkeys(SQUAD_ARGUMENTS, "squad"),
    "explain words": "run_or_task",
    "test run_id": "run",
    "runs rm runs": "run",
    "approvals say said": "task",
    "runs fork start": "task",
    "personas render task": "task",
    "personas show name": "persona_or_file",
    "personas render name": "persona_or_file",
    "personas new base": "persona",
    "ask persona": "persona_or_file",
    "chat agent": "agent",
    "personas render agent": "agent",
    "init name": "template",
    "docs words": "page",
    "memory add scope": "scope",
    "providers test name": "provider",
    "providers reset provider": "provider",
    "explain without": "provider",
    "gateway-keys add models": "model",
    "import crewai folder": "dir",
    "init folder": "dir",
}
BY_NAME = {
    "run": "run",
    "task": "task",
    "model": "model",
    "tier": "tier",
    "scopes": "scope",
    "pairs": "input",
    "inputs_file": "file",
    "out": "dir",
    "folder": "dir",
    "state": "dir",
    "routing": "file",
}
"""What a parameter of this name takes, wherever it stands."""


def page() -> str:
    """Return the table as JSON."""
    catalog = load_catalog()
    known = {
        "models": sorted(catalog.names()),
        "tiers": sorted(default_policy(catalog).tiers),
        "providers": sorted(catalog.providers),
    }
    common = [_param("", option) for option in common_options()]
    root = _node(orchestrator, ())
    made = {"common": common, "known": known, "root": root}
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def _node(command: click.Command, path: tuple[str, ...]) -> dict[str, Any]:
    own = [one for one in command.params if one.name not in COMMON]
    told = COMMANDS[path[0]][1] if len(path) == 1 else command.get_short_help_str(80)
    node: dict[str, Any] = {"help": told, "params": [_param(" ".join(path), one) for one in own]}
    if isinstance(command, click.Group):
        context = click.Context(command)
        names = command.list_commands(context)
        found = {name: command.get_command(context, name) for name in names}
        node["commands"] = {name: _node(one, (*path, name)) for name, one in found.items() if one is not None}
    return node


def _param(path: str, one: click.Parameter) -> dict[str, Any]:
    made: dict[str, Any] = {"name": one.name}
    kind = KINDS.get(f"{path} {one.name}") or BY_NAME.get(str(one.name))
    if isinstance(one.type, click.Choice):
        made["choices"] = [str(choice) for choice in one.type.choices]
    elif kind:
        made["kind"] = kind
    if isinstance(one, click.Option):
        made |= {"options": [*one.opts, *one.secondary_opts], "help": one.help or ""}
        made |= {"flag": True} if one.is_flag or one.count else {}
        made |= {"multiple": True} if one.multiple else {}
    elif one.nargs != 1:
        made["nargs"] = one.nargs
    return made


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
