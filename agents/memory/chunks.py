"""Texts of files as chunks that a model can read alone, each with its lines in the file. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

CHUNK_CHARS = 1600
LEAST_CHUNK_CHARS = 200
MARKDOWN = (".md", ".markdown", ".mdx", ".rst", ".txt", ".adoc")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*?)[ \t#]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")


class Chunk(NamedTuple):
    """Lines `first` to `last` of a file, counted from 1. `heading` is the path of headings above: `Limits > Tokens`."""

    first: int
    last: int
    heading: str
    text: str


class _Block(NamedTuple):
    """Lines that belong together: a paragraph, a heading, a piece of code."""

    first: int
    last: int
    text: str
    heading: str
    is_heading: bool


def chunks(text: str, *, has_headings: bool = True, most_chars: int = CHUNK_CHARS) -> list[Chunk]:
    """Return the text as chunks of at most `most_chars` characters, cut where a reader would cut it.

    A chunk never goes over a heading. It holds whole paragraphs where they fit, else whole lines; only a line that is
    longer alone is cut inside. Nothing but blank lines is left out.
    """
    found: list[Chunk] = []
    held: list[_Block] = []
    size = 0
    for block in _pieces(text, has_headings, most_chars):
        begins = block.is_heading and not all(one.is_heading for one in held)
        if held and (begins or size + len(block.text) + 2 > most_chars):
            found.append(_chunk(held))
            held, size = [], 0
        held.append(block)
        size += len(block.text) + 2
    return [*found, _chunk(held)] if held else found


def _chunk(blocks: list[_Block]) -> Chunk:
    parts = [blocks[0].text]
    for before, block in pairwise(blocks):
        parts += ["\n" if block.first - before.last < 2 else "\n\n", block.text]
    return Chunk(blocks[0].first, blocks[-1].last, blocks[-1].heading, "".join(parts))


def _pieces(text: str, has_headings: bool, most_chars: int) -> Iterator[_Block]:
    """Yield the blocks, those that are too long cut at lines, and lines that are too long cut inside."""
    for block in _blocks(text, has_headings):
        if len(block.text) <= most_chars:
            yield block
            continue
        held: list[str] = []
        first = block.first
        for number, line in enumerate(block.text.split("\n"), block.first):
            if held and sum(map(len, held)) + len(held) + len(line) > most_chars:
                yield block._replace(first=first, last=number - 1, text="\n".join(held))
                held, first = [], number
            whole = len(line) - 1 - (len(line) - 1) % most_chars if line else 0  # where its last piece begins
            for start in range(0, whole, most_chars):
                yield block._replace(first=number, last=number, text=line[start : start + most_chars])
            held.append(line[whole:])
        if any(held):
            yield block._replace(first=first, last=block.last, text="\n".join(held))


def _blocks(text: str, has_headings: bool) -> Iterator[_Block]:
    above: list[tuple[int, str]] = []
    held: list[str] = []
    fence = ""
    lines = re.split(r"\r\n|\r|\n", text)
    for number, line in enumerate((*lines, ""), 1):
        mark = _FENCE.match(line) if has_headings else None
        if mark is not None and (not fence or (mark[1].startswith(fence) and not line[mark.end() :].strip())):
            fence = "" if fence else mark[1]
        heading = _HEADING.fullmatch(line) if has_headings and not fence else None
        if held and ((not line.strip() and not fence) or heading is not None or number > len(lines)):
            yield _Block(number - len(held), number - 1, "\n".join(held), _path(above), is_heading=False)
            held = []
        if heading is not None:
            above = [one for one in above if one[0] < len(heading[1])] + [(len(heading[1]), heading[2])]
            yield _Block(number, number, line.strip(), _path(above), is_heading=True)
        elif line.strip() or (held and fence):
            held.append(line)


HEADING_CHARS = 200


def _path(above: list[tuple[int, str]]) -> str:
    return " > ".join(text for _, text in above)[:HEADING_CHARS]
