"""`doctor`: what works here, and what to do about the rest. It runs where much of the installation is broken."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from orchestrator.cli.app import Command, Settings, argument, settings_of
from orchestrator.cli.exits import Exit
from orchestrator.cli.extras import EXTRAS, Extra, install
from orchestrator.cli.our_packages import strange_agents
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json

PACKAGES = (
    *("anyio", "click", "dotenv", "httpx2", "jinja2", "jsonschema", "pydantic"),
    *("regex", "rich", "structlog", "yaml"),
)
OLDEST = (3, 11)
CHECKS = "orchestrator.cli.commands.doctor_checks"
"""The checks that need the rest of the installation: imported where they run, since it may be broken."""


class Finding(NamedTuple):
    """What one check found. `advice` says what to do; empty where nothing must be done."""

    check: str
    state: Literal["ok", "info", "warn", "fail"]
    text: str
    advice: str = ""


ONLINE = (
    "Also ask providers for their models, a shared ledger, and the MCP servers of SQUAD for their tools; costs nothing."
)


@click.command("doctor", cls=Command)
@argument("file", metavar="[SQUAD]", required=False, help="A squad file that is checked, too.")
@click.option("--online", is_flag=True, help=ONLINE)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def doctor_command(context: click.Context, file: str | None, online: bool, as_json: bool) -> int:
    """Check this installation and its surroundings. The exit code is 1 if something must be fixed."""
    settings = settings_of(context)
    found = list(findings(settings))
    if online:
        found += guarded("online", settings)
        found += guarded("ledger", settings)
    if file is not None:
        found += of_squad(file, settings, online)
    if as_json:
        print_json([finding._asdict() for finding in found], indent=2)
    else:
        click.echo(columns([(f.state, f.check, f.text) for f in found]))
        for finding in found:
            if finding.advice:
                click.echo(f"hint: {finding.check}: {finding.advice}")
    return Exit.FAILED if any(finding.state == "fail" for finding in found) else Exit.DONE


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what the checks find that need no network."""
    yield python_version(sys.version_info[:3])
    yield packages()
    yield from extras()
    yield our_agents()
    yield state_folder(settings.state_folder)
    yield encoding(sys.stdout.encoding or "ascii")
    yield from guarded("routing", settings)
    yield from guarded("env-file", settings)
    yield from guarded("keys", settings)


def of_squad(file: str, settings: Settings, online: bool) -> Iterator[Finding]:
    """Yield what is found of the MCP servers of a squad; they are started, or asked, where that is wanted."""
    return guarded("mcp", settings, lambda checks: checks.mcp_servers(settings, file, online))


def guarded(check: str, settings: Settings, made: Callable[[Any], Any] | None = None) -> Iterator[Finding]:
    """Yield the findings of a check that needs the rest of the installation; its own failure is a finding too."""
    try:
        checks = import_module(CHECKS)
        for state, text, advice in checks.CHECKS[check](settings) if made is None else made(checks):
            yield Finding(check, state, text, advice)
    except Exception as error:  # noqa: BLE001  # what is broken is what the command is asked for
        yield Finding(check, "fail", f"{type(error).__name__}: {error}".splitlines()[0], "see the findings above")


def python_version(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version[:2] >= OLDEST:
        return Finding("python", "ok", text)
    return Finding("python", "fail", text, f"install Python {'.'.join(map(str, OLDEST))} or newer")


def packages() -> Finding:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if not missing:
        return Finding("packages", "ok", "those that every command needs are installed")
    return Finding("packages", "fail", f"missing: {', '.join(missing)}", "pip install squad-orchestrator")


def extras(known: Mapping[str, Extra] = EXTRAS) -> Iterator[Finding]:
    """Say of each extra what it gives; of one that is not there, how to get it. None must be there."""
    for name, extra in known.items():
        if extra.is_installed:
            yield Finding("extra", "ok", f"{name}: {extra.gives}")
        else:
            yield Finding("extra", "info", f"{name} is not installed: {extra.gives}: {install(name)}")


def our_agents() -> Finding:
    strange = strange_agents()
    if strange is None:
        return Finding("agents", "ok", "the package `agents` is ours")
    return Finding("agents", "fail", str(strange), strange.hint)


def state_folder(folder: Path) -> Finding:
    """Check that the folder, or the nearest one above it that exists, can be written."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Finding("state", "ok", f"{folder} can be written")
    return Finding("state", "fail", f"{folder} cannot be written", "choose another with --state or ORCHESTRATOR_STATE")


def encoding(name: str) -> Finding:
    if name.lower().replace("-", "") in ("utf8", "utf8sig"):
        return Finding("encoding", "ok", name)
    return Finding("encoding", "warn", f"stdout is {name}: other characters come out as ?", "set PYTHONUTF8=1")
