"""The pages of the documentation: where they stand, how they are called, and what is found in them.

An installed package has them as data; a checkout has them in `docs/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from providers.documents.likeness import alike, closest

_PACKAGE = Path(__file__).parents[1]
_FIRST_MEANT = ("reference", "guides", "start", "concepts", "recipes", "comparisons")
"""Where two pages have one name, which is meant rather: who asks at a terminal looks something up."""
PROBLEMS = "reference/problems"
API = "reference/api"
"""The section of the Python names: these are found as they are written, in capital or small letters."""
_MOST_PAGES, _MOST_LINES = 10, 3


class Heading(NamedTuple):
    """A heading of a page; `line` is the index of its line."""

    line: int
    level: int
    text: str

    @property
    def slug(self) -> str:
        """Its anchor, as GitHub makes it."""
        return re.sub(r"[^\w\- ]", "", self.text.strip().lower()).replace(" ", "-")


@dataclass(frozen=True)
class DocPage:
    """One page. `name` is its path below the folder without `.md`; an index page has the name of its section."""

    name: str
    path: Path
    lines: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its first heading."""
        return next((heading.text for heading in self.headings()), self.name)

    @property
    def section(self) -> str:
        """The folder that it stands in; empty for pages beside the folders."""
        return self.name if self.path.stem == "index" else self.name.rpartition("/")[0]

    def headings(self) -> Iterator[Heading]:
        """Yield its headings in order: lines in code blocks are none."""
        for index, line in _prose(self.lines):
            if found := re.match(r"(#{1,6}) +(.+)", line):
                yield Heading(index, len(found[1]), found[2].replace("`", ""))

    def anchors(self) -> Sequence[str]:
        """Return the anchors of its headings: one that came before gets a number, as on GitHub."""
        slugs = [heading.slug for heading in self.headings()]
        seen = [slugs[:at].count(slug) for at, slug in enumerate(slugs)]
        return [f"{slug}-{count}" if count else slug for slug, count in zip(slugs, seen, strict=True)]

    def part(self, anchor: str) -> Sequence[str]:
        """Return the lines below the heading with this anchor, up to the next one of its level; none without it."""
        headings = list(self.headings())
        for at, (heading, slug) in enumerate(zip(headings, self.anchors(), strict=True)):
            if slug == anchor:
                after = (other.line for other in headings[at + 1 :] if other.level <= heading.level)
                return self.lines[heading.line : next(after, len(self.lines))]
        return ()


class FoundPage(NamedTuple):
    """The page that a name means, and the anchor of the part that it means. `others` may be meant, too."""

    page: DocPage
    anchor: str = ""
    others: tuple[str, ...] = ()


class Hit(NamedTuple):
    """A line with searched words; `line` counts from 1."""

    page: str
    line: int
    text: str


class NoSuchPage(Exception):
    """A name means no page, or several. `hint` says which there are."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def documentation_folder(package: Path = _PACKAGE) -> Path:
    """Return where the pages stand: in the installed package, else in the checkout around it."""
    installed = package / "documentation"
    return installed if (installed / "index.md").is_file() else package.parent / "docs"


def pages_in(folder: Path) -> Mapping[str, DocPage]:
    """Return the pages by name, in the order of the site: that of the `toctree` blocks. Those in none come last."""
    found = {page.name: page for page in map(_page_at(folder), sorted(folder.rglob("*.md")))}
    listed = list(_in_order("", found)) if "" in found else []
    names = [*dict.fromkeys(listed), *(name for name in found if name not in listed)]
    return {name: found[name] for name in names if name}


def _page_at(folder: Path) -> Callable[[Path], DocPage]:
    def read(path: Path) -> DocPage:
        name = path.relative_to(folder).with_suffix("").as_posix()
        name = "" if name == "index" else name.removesuffix("/index")
        return DocPage(name, path, tuple(path.read_text("utf-8").splitlines()))

    return read


def _in_order(index: str, pages: Mapping[str, DocPage]) -> Iterator[str]:
    """Yield the names of an index page's tree: its entries, and those of the entries that are index pages."""
    page = pages[index]
    for entry in toctree_of(page.lines):
        base = f"{page.section}/" if page.section else ""
        name = f"{base}{entry}".removesuffix("/index")
        children = [one.name for one in pages.values() if one.section == page.section] if entry == "*" else [name]
        for child in children:
            if child in pages and child != index:
                yield child
                yield from _in_order(child, pages)


def toctree_of(lines: Iterable[str]) -> Sequence[str]:
    """Return the entries of a page's `toctree` blocks; `*` stands for all other pages of its folder."""
    inside, entries = False, []
    for line in lines:
        if line.startswith("```"):
            inside = line.startswith("```{toctree}")
        elif inside and line and not line.startswith(":"):
            entries.append(line.strip())
    return entries


def without_toctree(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a page but for its `toctree` blocks, which only the site shows."""
    inside = False
    for line in lines:
        inside = inside or line.startswith("```{")
        if not inside:
            yield line
        elif line == "```":
            inside = False


def find_page(wanted: str, pages: Mapping[str, DocPage]) -> FoundPage:
    """Return the page that a name means: the page's own, its file's, its title, a problem's code, or the beginning of
    one; `PAGE#ANCHOR` means a part of a page. Raise `NoSuchPage`, with what may be meant."""
    asked, _, anchor = wanted.partition("#")
    name = asked.strip().strip("/").removeprefix("docs/").removesuffix(".md").removesuffix("/index").casefold()
    if not name:
        raise NoSuchPage(f"no page is called {wanted!r}", _suggestion(name, pages))
    if anchor:
        found = find_page(asked, pages)
        if not found.page.part(anchor.casefold()):
            parts = [heading.slug for heading in found.page.headings()]
            near = closest(anchor, parts)
            hint = f"did you mean {found.page.name}#{near}?" if near else f"it has {', '.join(parts[1:])}"
            raise NoSuchPage(f"the page {found.page.name} has no part {anchor!r}", hint)
        return found._replace(anchor=anchor.casefold())
    if name in pages:
        return FoundPage(pages[name])
    python = _python_name(wanted.strip(), pages)
    if python is not None and not re.fullmatch(r"[a-z]+", wanted.strip()):  # `tool`: rather the guide
        return python
    problems = pages.get(PROBLEMS)
    if problems is not None and problems.part(name):
        return FoundPage(problems, name)
    for same in (_is_called(name), _begins(name), _holds(name)):
        chosen = sorted((page for page in pages.values() if same(page)), key=_rank)
        if chosen:
            others = [page.name for page in chosen[1:]]
            others += [] if python is None else [f"{python.page.name}#{python.anchor}"]
            return FoundPage(chosen[0], others=tuple(others))
        if python is not None:
            return python
    for page in sorted(pages.values(), key=_rank):
        if page.part(name.replace(" ", "-")):
            return FoundPage(page, name.replace(" ", "-"))
    raise NoSuchPage(f"no page is called {wanted!r}", _suggestion(name, pages))


def _python_name(wanted: str, pages: Mapping[str, DocPage]) -> FoundPage | None:
    """Return the place of a public name or method, with or without its package: `Agent.work`, `agents.Agent`."""
    name = re.sub(r"^(?:[a-z]+\.)+(?=\w)", "", wanted)
    for page in pages.values():
        if page.section == API and page.name != API:
            for heading, anchor in zip(page.headings(), page.anchors(), strict=True):
                if heading.level > 1 and heading.text == name:
                    others = (one.name for one in pages.values() if _is_called(name.casefold())(one))
                    return FoundPage(page, anchor, tuple(others))
    return None


def _is_called(name: str) -> Callable[[DocPage], bool]:
    forms = {name, name.replace(" ", "-"), f"{name}s", name.removesuffix("s")}
    return lambda page: (
        not forms.isdisjoint({_stem(page), _stem(page).removesuffix("-file")}) or page.title.casefold() in forms
    )


def _begins(name: str) -> Callable[[DocPage], bool]:
    return lambda page: _stem(page).startswith(name) or page.title.casefold().startswith(name)


def _holds(name: str) -> Callable[[DocPage], bool]:
    words = name.replace("-", " ").split()
    return lambda page: bool(words) and all(word in f"{page.name} {page.title.casefold()}" for word in words)


def _stem(page: DocPage) -> str:
    return page.name.rpartition("/")[2]


def _rank(page: DocPage) -> tuple[int, str]:
    return _FIRST_MEANT.index(page.section) if page.section in _FIRST_MEANT else len(_FIRST_MEANT), page.name


def _suggestion(name: str, pages: Mapping[str, DocPage]) -> str:
    stems = {_stem(page): page.name for page in sorted(pages.values(), key=_rank, reverse=True)}
    codes = [heading.slug for heading in pages[PROBLEMS].headings()] if PROBLEMS in pages else []
    near = closest(name.rpartition("/")[2], [*stems, *codes])
    if near is not None:
        return f"did you mean {stems.get(near, near)}?"
    maybe = [stems[one] for one in alike(name, stems)]
    meant = f"did you mean {' or '.join(maybe)}? " if maybe else ""
    return f"{meant}`orchestrator docs` lists the pages, `orchestrator docs --search WORDS` looks into them"


def search_pages(words: Iterable[str], pages: Mapping[str, DocPage]) -> Sequence[Hit]:
    """Return the best lines of the pages in which all words begin a word, in any case. Pages that have more of them in
    their name and title come first, then those that have more in one line. At most ten pages, three lines each."""
    wanted = [re.compile(rf"\b{re.escape(word)}", re.IGNORECASE) for word in words]
    ranked: list[tuple[tuple[int, int], list[Hit]]] = []
    for page in pages.values():
        if _count("\n".join(page.lines), wanted) < len(wanted):
            continue
        scored = [
            (_count(line, wanted), line.startswith("#"), -number, line) for number, line in enumerate(page.lines, 1)
        ]
        best = sorted(scored, reverse=True)[:_MOST_LINES]
        hits = [Hit(page.name, -number, line.strip()) for count, _, number, line in best if count]
        ranked.append(
            ((_count(f"{page.name} {page.title}", wanted), best[0][0]), sorted(hits, key=lambda hit: hit.line))
        )
    ranked.sort(key=lambda one: one[0], reverse=True)
    return [hit for _, hits in ranked[:_MOST_PAGES] for hit in hits]


def _count(text: str, wanted: Iterable[re.Pattern[str]]) -> int:
    """Return how many of the words a text has."""
    return sum(word.search(text) is not None for word in wanted)


def _prose(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines outside code blocks, each with its index."""
    fence = ""
    for index, line in enumerate(lines):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if mark and not fence:
            fence = mark[1]
        elif fence and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif not fence:
            yield index, line
