"""`trust`: where this folder's files may send your keys, and which of its code may run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.app import Group, Settings, argument, settings_of
from orchestrator.cli.consent import granted
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.file_kind import kind_of
from orchestrator.cli.files import ROUTING_FILE, environment, load_policy, routing_file
from orchestrator.cli.squad_files import squad_of_file
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, count, print_json
from orchestrator.environment import environment_of
from orchestrator.squad.declared_tools import uses_of_code
from orchestrator.squad.routing import load_routing
from orchestrator.squad.routing_tools import tools_of_routing
from orchestrator.trust import CodeUse, TrustFile, trust_file
from providers.catalog.model import Catalog
from providers.catalog.trust import KeyUse, Source, Sourced, source_of
from providers.documents.problems import ProblemsFound
from providers.documents.unicode import printable
from providers.documents.yaml import parse_file
from providers.errors import ReasonCode

ADD = "add"


class TrustGroup(Group):
    """Without the name of a command it is `add`: `trust`, `trust DIR`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        if not {*self.commands, "-h", "--help"} & set(arguments):
            arguments = [ADD, *arguments]
        return super().parse_args(context, arguments)


@click.group("trust", cls=TrustGroup)
def trust_command() -> None:
    """Allow what the files of DIR (the working folder) would do: send your keys to the addresses that its routing file
    and .env name, and run the code that its squads name as tools.

    A permission is for one folder, with an address and a variable, or with the digest of its code. It is kept in your
    own configuration, outside of the folder.
    """


@trust_command.command("add")
@argument("folder", metavar="[DIR]", required=False, help="The folder (this one).")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def add_command(context: click.Context, folder: str | None, as_json: bool) -> None:
    """Allow what the files of DIR (the working folder) say now. You are asked again for another address, and for
    changed code."""
    settings, store = settings_of(context), trust_file()
    catalog, environ = _here(settings) if folder is None else _in(folder)
    console = Console(settings)
    uses: list[KeyUse] = sorted(set(uses_of(catalog, environ)), key=str)
    uses += code_in(Path(folder or "."), settings, console)
    if not uses:
        console.say("no file here says where keys go, nor names code that would run: there is nothing to allow")
    _keep(store, uses, console)
    if as_json:
        print_json([_document(vars_of(use)) for use in uses], indent=2)


@trust_command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def ls_command(context: click.Context, as_json: bool) -> None:
    """List what is allowed: for which folder, to which address, the key in which variable."""
    rows = trust_file().rows()
    if as_json:
        print_json([_document(row) for row in rows], indent=2)
    elif not rows:
        Console(settings_of(context)).say("nothing is allowed")
    else:
        shown = [(row["folder"] or "(any)", *_shown(row)) for row in rows]
        click.echo(columns([("FOLDER", "ADDRESS", "KEY"), *shown]))


@trust_command.command("rm")
@argument("folder", metavar="[DIR]", required=False, help="The folder (this one).")
@click.option("--all", "everywhere", is_flag=True, help="Forget what is allowed for every folder.")
@click.pass_context
def rm_command(context: click.Context, folder: str | None, everywhere: bool) -> None:
    """Forget what is allowed for DIR (the working folder), or everywhere."""
    settings, store = settings_of(context), trust_file()
    if folder is None:
        file = routing_file(settings)
        folder = str(file.parent if file is not None else Path())
    place = str(Path(folder).resolve())
    try:
        forgotten = store.forget(None if everywhere else place)
    except OSError as error:
        raise Unusable(f"{store.file} cannot be written: {error.strerror or error}") from error
    if not forgotten:
        raise NothingSelected(f"nothing is allowed for {'any folder' if everywhere else place}", "see `trust ls`")
    Console(settings).say(
        f"forgot {count(forgotten, 'address')}" if forgotten == 1 else f"forgot {forgotten} addresses"
    )


def uses_of(catalog: Catalog, environ: Sourced) -> Iterator[KeyUse]:
    """Yield what the files have sent where, also of a key that is not set yet."""
    missing = catalog.unconfigured(environ)
    unset = [
        name
        for row in catalog.providers.values()
        if (reason := missing.get(row.name)) is not None and reason.code is ReasonCode.NO_KEY
        for name in (row.key_env, *row.more_key_envs)
        if name is not None
    ]
    for candidate in catalog.candidates(_AsIfSet(environ, dict.fromkeys(unset, "unset"))):
        yield from candidate.uses


def code_in(folder: Path, settings: Settings, console: Console) -> list[KeyUse]:
    """Return the code that the squads in a folder name as their tools. A squad with mistakes is told, and left out."""
    found: dict[KeyUse, None] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file()):
        try:
            parsed = parse_file(file)
            kind = kind_of(parsed.keys, parsed.file)
            if kind == "routing":
                found |= dict.fromkeys(uses_of_code(tools_of_routing(parsed.mapping(), parsed.file)[0]))
            if kind == "squad":
                found |= dict.fromkeys(squad_of_file(parsed, settings).code_uses())
        except ProblemsFound:
            console.warn(
                f"{file} has mistakes, and nothing of it is allowed: `orchestrator validate {file}` shows them"
            )
    return list(found)


class _AsIfSet(Sourced):
    """An environment in which more is set."""

    def __init__(self, environ: Sourced, more: Mapping[str, str]) -> None:
        self._environ, self._said = environ, {**more, **environ}

    def __getitem__(self, name: str) -> str:
        return self._said[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)

    def source(self, name: str) -> Source | None:
        return source_of(self._environ, name)


def _shown(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the address and the key of a row; of code, its digest's beginning and what it is."""
    if "what" in row:
        return str(row["address"])[: len("sha256:") + 12], printable(str(row["what"]))
    return row["address"], row["variable"] or "(none)"


def _here(settings: Settings) -> tuple[Catalog, Sourced]:
    return load_policy(settings)[1], environment(settings)


def _in(folder: str) -> tuple[Catalog, Sourced]:
    """Return the catalog and the environment as they are where one works in another folder."""
    if not Path(folder).is_dir():
        raise Unusable(f"there is no folder {folder}", "`orchestrator trust --help` shows the commands")
    file = Path(folder) / ROUTING_FILE
    return load_routing(file if file.is_file() else None)[1], environment_of(folder)


def _keep(store: TrustFile, uses: list[KeyUse], console: Console) -> None:
    granted(store, [replace(use, needed=True) for use in uses], console)


def vars_of(use: KeyUse) -> dict[str, Any]:
    code = {"what": use.what} if isinstance(use, CodeUse) else {}
    return {"folder": use.folder, "address": use.address, "variable": use.variable, "file": use.file, **code}


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema_version": 1, **row}
