"""`docs [PAGE]`: the pages of the documentation, in the terminal or in a browser."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from orchestrator.cli import app
from orchestrator.cli.app import Settings, argument, settings_of
from orchestrator.cli.documentation import (
    DocPage,
    FoundPage,
    NoSuchPage,
    documentation_folder,
    find_page,
    pages_in,
    search_pages,
    without_toctree,
)
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console

SITE = Path("build") / "site"
"""Where the built site stands in a checkout: `python -m sphinx -b html docs build/site`."""


def _completed(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    pages = pages_in(documentation_folder())
    return [CompletionItem(name, help=page.title) for name, page in pages.items() if name.startswith(begun)]


@app.command("docs")
@argument(
    "words",
    nargs=-1,
    metavar="[PAGE]",
    shell_complete=_completed,
    help="A page's name or title, or a problem's code.",
)
@click.option("--search", is_flag=True, help="Find pages and lines with all of these words.")
@click.option(
    "--open", "in_browser", is_flag=True, help="Open it in a browser: the built site, else the Markdown file."
)
@click.option("--path", "as_path", is_flag=True, help="Print the path of the page's file.")
@click.pass_context
def docs_command(context: click.Context, words: tuple[str, ...], search: bool, in_browser: bool, as_path: bool) -> None:
    """List the pages of the documentation, or print PAGE: by name, title, or the code of a problem.

    `orchestrator docs squads` prints a page, `docs squads#inputs` a part of it, `docs unknown-field` what a problem
    means, `docs --search budget day` the lines with these words.
    """
    settings, console = settings_of(context), Console(settings_of(context))
    if search + in_browser + as_path > 1:
        raise Unusable("--search, --open and --path are three things", "give one of them")
    folder = documentation_folder()
    pages = pages_in(folder)
    if not pages:
        raise Unusable(f"the pages are missing: {folder} has none", "install the package again")
    if search:
        _search(words, pages)
        return
    if not words:
        _start(folder, pages, console, in_browser, as_path)
        return
    found = _found(" ".join(words), pages)
    if found.others:
        console.say(f"this is {found.page.name}; there is also {', '.join(found.others)}")
    if as_path:
        click.echo(found.page.path)
    elif in_browser:
        _open(_address(folder, found.page.path, found.anchor), console)
    else:
        _print(found, settings)


def _found(name: str, pages: Mapping[str, DocPage]) -> FoundPage:
    try:
        return find_page(name, pages)
    except NoSuchPage as error:
        raise NothingSelected(str(error), error.hint) from None


def _start(folder: Path, pages: Mapping[str, DocPage], console: Console, in_browser: bool, as_path: bool) -> None:
    """Do what is asked without a page: of all of them."""
    if as_path:
        click.echo(folder)
    elif in_browser:
        _open(_address(folder, folder / "index.md"), console)
    else:
        _list(pages, console)


def _list(pages: Mapping[str, DocPage], console: Console) -> None:
    blocks = []
    for section, group in groupby(pages.values(), key=lambda page: page.section):
        title = pages[section].title if section in pages else "Beside them"
        named = list(group)
        shown = [page for page in named if page.name != section] or named  # the section's own page, where it is all
        rows = columns([(f"  {page.name}", page.title) for page in shown])
        blocks.append(f"{title}\n{rows}")
    click.echo("\n\n".join(blocks))
    console.say("\nprint one: orchestrator docs PAGE; find words: orchestrator docs --search WORDS")


def _search(words: tuple[str, ...], pages: Mapping[str, DocPage]) -> None:
    asked = " ".join(words).split()
    if not asked:
        raise Unusable("--search needs words", "orchestrator docs --search budget day")
    hits = search_pages(asked, pages)
    if not hits:
        raise NothingSelected(f"no page has all of these words: {' '.join(asked)}", "try fewer, or shorter ones")
    for name, group in groupby(hits, key=lambda hit: hit.page):
        click.echo(f"{name}  {pages[name].title}")
        for hit in group:
            click.echo(f"  {hit.line}: {hit.text}")


def _print(found: FoundPage, settings: Settings) -> None:
    lines = found.page.part(found.anchor) if found.anchor else found.page.lines
    text = "\n".join(without_toctree(lines)).strip()
    if not sys.stdout.isatty():
        click.echo(text)
        return
    from orchestrator.cli.ui.markdown import print_markdown  # it brings rich

    print_markdown(text, settings.color)


def _address(folder: Path, page: Path, anchor: str = "") -> str:
    """Return the address of a page in the site that was built of this folder, else of its Markdown."""
    built = (folder.parent / SITE / page.relative_to(folder)).with_suffix(".html")
    return f"{built.as_uri()}{f'#{anchor}' if anchor else ''}" if built.is_file() else page.as_uri()


def _open(address: str, console: Console) -> None:
    console.say(f"opening {address}")
    if not webbrowser.open(address):
        raise Unusable("no browser could be started", f"open it yourself: {address}")
