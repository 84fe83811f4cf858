"""`init [DIR]`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from orchestrator.cli import app
from orchestrator.cli.app import settings_of
from orchestrator.cli.exits import Unusable
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.starter import GITIGNORE, ROUTING, SQUAD, env_example
from providers.catalog.file import load_catalog


@app.command("init")
@click.argument("folder", default=".", metavar="[DIR]")
@click.pass_context
def init_command(context: click.Context, folder: str) -> None:
    """Write a small squad, a routing file, .env.example and .gitignore to DIR. Existing files are kept."""
    keys = dict.fromkeys(row.key_env for row in load_catalog().providers.values() if row.key_env)
    files = {
        "squad.yaml": SQUAD,
        "agent_routing.yaml": ROUTING,
        ".env.example": env_example(keys),
        ".gitignore": GITIGNORE,
    }
    for name, text in files.items():
        path = Path(folder) / name
        click.echo(f"{'wrote' if write_new(path, text) else 'kept '}  {path}")
    steps = ([] if folder == "." else [f"cd {shlex.quote(folder)}"]) + ["orchestrator run squad.yaml"]
    Console(settings_of(context)).say(f"next: {' && '.join(steps)}")


def write_new(path: Path, text: str) -> bool:
    """Write a file that is not there yet; return whether it was written. Raise `Unusable` where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        if not path.is_file():
            raise Unusable(f"{path} is in the way: it is not a file") from None
        return False
    except OSError as error:
        raise Unusable(f"cannot write {path}: {error.strerror or error}") from error
    return True
