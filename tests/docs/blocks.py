"""What is wrong with the blocks of code of a page, each by its language."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import yaml

from tests.docs.pages import DOCS, Block, Page
from tests.docs.python_blocks import python_problems
from tests.docs.shell_blocks import shell_problems
from tests.docs.yaml_blocks import yaml_problems

RECIPES = DOCS.parent / "orchestrator/recipes"

SHELLS = frozenset({"sh", "bash", "console"})
UNCHECKED = frozenset(
    {
        "text",
        "diff",
        "js",
        "html",
        "sql",
        "nginx",
        "dockerfile",
        "markdown",
        "csv",
        "jsonl",
        "{toctree}",
        "jinja",
        "lua",
    }
)
"""Languages that are only coloured. A misspelt one is in no list."""
FILE_NAME = re.compile(r"# ((?:[\w.-]+/)*[\w.-]+\.\w+)[ \t]*$", re.MULTILINE)
OTHER, WRONG, EXCERPT, SIGNATURE = "other", "wrong", "excerpt", "signature"
"""Words after a block's language: it is a file of another program; it shows a mistake, which must be found; it is
Python that needs what its page does not show, so it is not run; it is how a function is called, and no statement."""


def block_problems(page: Page, folder: Path) -> Iterator[str]:
    """Yield what is wrong with a page's blocks, each with its place. `folder` is empty: the files that the page shows
    are written into it, for those of its blocks that name them."""
    shown = dict(shown_files(page))
    code = ""
    for number, line in enumerate(page.text.splitlines(), 1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            yield f"{page.name}:{number}: a conflict was left in the page"
    for number, block in enumerate(page.blocks):
        beside = folder / str(number)
        if _below_docs(page).startswith("recipes/") and (recipe := RECIPES / page.path.stem).is_dir():
            shutil.copytree(recipe, beside)  # its page does not show every file that its squad names
        _write(shown, beside)
        for wrong in _wrong(block, page, beside, code):
            yield f"{page.name}:{block.line}: {wrong}"
        if block.language == "python" and SIGNATURE not in block.marks:
            code += f"{block.text}\n" if not list(python_problems(block.text, code)) else ""


def shown_files(page: Page) -> Iterator[tuple[str, str]]:
    """Yield the files that a page shows: blocks whose first line is a comment with their name."""
    for block in page.blocks:
        if found := FILE_NAME.match(block.text):
            yield found[1], block.text


def _write(files: Mapping[str, str], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def _wrong(block: Block, page: Page, folder: Path, above: str) -> Iterator[str]:
    if marked := block.marks - {OTHER, WRONG, EXCERPT, SIGNATURE}:
        told = f"`{OTHER}`, `{WRONG}`, `{EXCERPT}` or `{SIGNATURE}` may stand after a language"
        yield f"nothing is known of {', '.join(sorted(marked))}; {told}"
    found = list(_said(block, page, folder, above))
    if WRONG not in block.marks:
        yield from found
    elif not found:
        yield "it is marked as wrong, and nothing wrong is found in it"


def _said(block: Block, page: Page, folder: Path, above: str) -> Iterator[str]:
    match block.language:
        case "":
            yield "the block has no language; `text` is for what is none"
        case "yaml" if OTHER in block.marks:
            yield from _parsed(lambda text: list(yaml.safe_load_all(text)), block)
        case "yaml":
            for wrong in yaml_problems(block.text, folder):
                yield f"{wrong} (write ```yaml {OTHER} for a file of another program, ```yaml {WRONG} for a mistake)"
        case "json":
            yield from _parsed(json.loads, block)
        case "toml":
            yield from _parsed(tomllib.loads, block)
        case "ini":
            yield from _parsed(configparser.ConfigParser().read_string, block)
        case "python" if SIGNATURE in block.marks:
            yield from _parsed(lambda text: ast.parse(f"{text.strip().replace('class ', 'def ', 1)}: ..."), block)
        case "python":
            yield from python_problems(block.text, above)
        case language if language in SHELLS:
            yield from shell_problems(block.text, page.text, prompted=language == "console")
        case language if language not in UNCHECKED:
            yield f"nothing is known of the language {language!r}"


def _below_docs(page: Page) -> str:
    return page.path.relative_to(DOCS).as_posix() if page.path.is_relative_to(DOCS) else ""


def _parsed(read: Callable[[str], object], block: Block) -> Iterator[str]:
    try:
        read(block.text)
    except (ValueError, configparser.Error, yaml.YAMLError) as error:
        yield f"it is no {block.language}: {error}"


EXTRAS = re.compile(r"(?:squad-orchestrator|['\"\s=]\.)\[([a-z0-9,\s-]+)\]")


def unknown_extras(text: str, known: frozenset[str]) -> frozenset[str]:
    """Return the extras that a text installs of this project and that it has not: `squad-orchestrator[cluster]`,
    `-e '.[server]'`."""
    return frozenset(name.strip() for names in EXTRAS.findall(text) for name in names.split(",")) - known
