"""Markdown pages as the checks see them: blocks of code, links, anchors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from orchestrator.cli.documentation import toctree_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
READER = MarkdownIt("commonmark").enable("table")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")


class Block(NamedTuple):
    """A block of code. `line` is that of its fence, from 1; `marks` are the words after the language."""

    line: int
    language: str
    marks: frozenset[str]
    text: str


class Link(NamedTuple):
    line: int
    target: str


class Page:
    """One Markdown file, read once."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.text = path.read_text("utf-8") if text is None else text

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix() if self.path.is_relative_to(ROOT) else self.path.name

    @cached_property
    def tokens(self) -> Sequence[Token]:
        return READER.parse(self.text)

    @cached_property
    def blocks(self) -> Sequence[Block]:
        return [
            Block((token.map or [0])[0] + 1, *_language(token.info), token.content)
            for token in self.tokens
            if token.type in ("fence", "code_block")
        ]

    @cached_property
    def links(self) -> Sequence[Link]:
        return [
            Link((token.map or [0])[0] + 1, target)
            for token in self.tokens
            for part in [token, *(token.children or ())]
            for target in _targets(part)
        ]

    @cached_property
    def anchors(self) -> frozenset[str]:
        """What GitHub makes of its headings, and the ids that its HTML says."""
        seen = Counter[str]()
        made = []
        for token, words in zip(self.tokens, self.tokens[1:], strict=False):
            if token.type != "heading_open":
                continue
            shown = (part.content for part in words.children or () if part.type in ("text", "code_inline"))
            slug = github_slug("".join(shown))
            made.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        return frozenset([*made, *re.findall(r"""<\w+ [^>]*\b(?:id|name)=["']([^"']+)""", self.text)])


def github_slug(heading: str) -> str:
    """Return a heading's anchor: lower case, without punctuation, a hyphen for each space."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _language(info: str) -> tuple[str, frozenset[str]]:
    first, *marks = info.split() or [""]
    return first, frozenset(marks)


def _targets(token: Token) -> Iterator[str]:
    if token.type in ("link_open", "image"):
        yield str(token.attrGet("href") or token.attrGet("src") or "")
    elif token.type in ("html_block", "html_inline"):
        yield from re.findall(r"""<(?:a|img|source)\b[^>]*\b(?:href|src|srcset)=["']([^"'\s]+)""", token.content)


@cache
def page(path: Path) -> Page:
    return Page(path)


def all_pages() -> Sequence[Path]:
    """Return every Markdown file whose links and blocks are checked: what users and contributors read."""
    listed = [*DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    recipes = (ROOT / "orchestrator" / "recipes").rglob("*.md")
    single = [ROOT / name for name in ("README.md", "CHANGELOG.md", "AGENTS.md", "benchmarks/README.md")]
    return sorted(path for path in {*listed, *recipes, *single} if path.is_file())


def dead_links(of: Page) -> Iterator[str]:
    """Yield what is wrong with the links to files and anchors."""
    for line, target in of.links:
        if ELSEWHERE.match(target):
            continue
        path, _, anchor = target.partition("#")
        file = (of.path.parent / path).resolve() if path else of.path
        if path.startswith("/"):
            yield f"{of.name}:{line}: {target}: write it from the page's folder"
        elif path and not _exists(file):
            yield f"{of.name}:{line}: {target}: there is no such file"
        elif anchor and file.suffix == ".md" and anchor not in (of if file == of.path else page(file)).anchors:
            yield f"{of.name}:{line}: {target}: the page has no such heading"


def _exists(file: Path) -> bool:
    """Return whether a file is there by this very name: some systems take `Readme.md` for it, others do not."""
    return file.exists() and (file.name in {entry.name for entry in file.parent.iterdir()} or not file.name)


def reached(folder: Path) -> frozenset[Path]:
    """Return the pages that the `toctree` blocks lead to from `index.md`, itself included."""
    found: set[Path] = set()
    ahead = [folder / "index.md"]
    while ahead:
        at = ahead.pop()
        if at in found or not at.is_file():
            continue
        found.add(at)
        for entry in toctree_of(at.read_text("utf-8").splitlines()):
            ahead += at.parent.glob("*.md") if entry == "*" else [at.parent / f"{entry}.md"]
    return frozenset(found)


def missing_entries(folder: Path) -> Iterator[str]:
    """Yield the entries of `toctree` blocks at which no page is."""
    for at in sorted(folder.rglob("index.md")):
        for entry in toctree_of(at.read_text("utf-8").splitlines()):
            if entry != "*" and not (at.parent / f"{entry}.md").is_file():
                yield f"{at.relative_to(folder)}: {entry}"
