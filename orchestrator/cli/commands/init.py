"""`init [DIR]`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from orchestrator.cli import app
from orchestrator.cli.app import argument, settings_of
from orchestrator.cli.exits import Unusable
from orchestrator.cli.recipes import BEFORE, Recipe, recipes
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.starter import GITIGNORE, ROUTING, SQUAD, env_example
from providers.catalog.file import load_catalog
from providers.documents.likeness import closest

SQUAD_FILE = "squad.yaml"
FIRST_RUN = f"orchestrator run {SQUAD_FILE}"


@app.command("init")
@argument("folder", default=".", metavar="[DIR]", help="The folder that the files are written to.")
@click.option(
    "--template",
    "name",
    metavar="NAME",
    shell_complete=lambda _, __, begun: [name for name in recipes() if name.startswith(begun)],
    help="Write this recipe: a whole squad for one kind of work.",
)
@click.option("--list", "listed", is_flag=True, help="List the recipes.")
@click.pass_context
def init_command(context: click.Context, folder: str, name: str | None, listed: bool) -> None:
    """Write a small squad, a routing file, .env.example and .gitignore to DIR. Existing files are kept.

    With --template, write a recipe: a squad with tests, sample inputs and a README that says what to change first.
    """
    console = Console(settings_of(context))
    if listed:
        click.echo(_lines(recipes()))
        console.say("next: orchestrator init --template NAME DIR")
        return
    recipe = None if name is None else _named(name)
    if Path(folder).exists() and not Path(folder).is_dir():
        raise Unusable(f"{folder} is a file", "name a folder; one that is not there is made")
    files = {Path(folder) / path: content for path, content in (_surroundings() | _content(recipe)).items()}
    # All files before a word: stdout may be a pipe that closes early.
    told = [f"{'wrote' if write_new(file, content) else 'kept '}  {file}" for file, content in files.items()]
    click.echo("\n".join(told))
    if recipe is not None and not _tell(recipe, Path(folder), console):
        return
    into = f"./{folder}" if folder.startswith("-") else folder
    steps = [] if folder in ("", ".") else [f"cd {shlex.quote(into)}"]
    console.say(f"next: {' && '.join([*steps, FIRST_RUN if recipe is None else recipe.first_command])}")


def _tell(recipe: Recipe, folder: Path, console: Console) -> bool:
    """Say what is to be known before the first run. Return whether the recipe can be run there."""
    if (folder / SQUAD_FILE).read_bytes() != dict(recipe.files())[SQUAD_FILE]:
        console.warn(
            f"{folder / SQUAD_FILE} was there before, and is not the recipe's: name a new DIR to have all of it"
        )
        console.say(f"next: orchestrator init --template {recipe.name} DIR")
        return False
    if before := recipe.facts.get(BEFORE):
        console.hint(before.replace("`", ""))
    return True


def _named(name: str) -> Recipe:
    """Return a recipe. Raise `Unusable` with the nearest name where there is none of that name."""
    known = recipes()
    if name not in known:
        near = closest(name, known)
        meant = f"did you mean '{near}'? " if near else ""
        raise Unusable(f"there is no recipe '{name}'", f"{meant}There are:\n{_lines(known)}")
    return known[name]


def _lines(known: Mapping[str, Recipe]) -> str:
    return columns([(name, recipe.summary) for name, recipe in known.items()])


def _surroundings() -> dict[str, bytes]:
    """Return what stands beside every squad."""
    example = env_example(load_catalog().providers.values())
    texts = {"agent_routing.yaml": ROUTING, ".env.example": example, ".gitignore": GITIGNORE}
    return {path: text.encode() for path, text in texts.items()}


def _content(recipe: Recipe | None) -> dict[str, bytes]:
    return {SQUAD_FILE: SQUAD.encode()} if recipe is None else dict(recipe.files())


def write_new(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet; return whether it was written. Raise `Unusable` where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        if not path.is_file():
            raise Unusable(f"{path} is in the way: it is not a file") from None
        return False
    except OSError as error:
        raise Unusable(f"cannot write {path}: {error.strerror or error}") from error
    return True
