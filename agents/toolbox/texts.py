"""Tools for the texts of a folder: find, read and change them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from agents.confined import list_inside
from agents.errors import AgentError
from agents.threads import in_thread
from agents.tool_context import ToolContext
from agents.toolbox.workspace import (
    Files,
    as_whose,
    note_origin,
    origins_of,
    private,
    read_file_of,
    refuse_private,
    text_of,
    walk,
)
from agents.tools import Tool, tool
from providers.documents.unicode import clean

if TYPE_CHECKING:
    import regex

SEARCH_S = 10.0
"""So long one search may take, whatever its pattern. Within one line `regex` counts the time of the CPU."""
GRACE_S = 60.0
"""So much longer a busy machine may need to tell what was found until then."""
WRITE_BYTES = 8 << 20
LISTED = 1000
MATCHES = 200
LINE_CHARS = 300
SEARCHED_BYTES = 1 << 20
"""Longer files are not searched."""


def reading_tools(files: Files) -> tuple[Tool, ...]:
    """Return `read_file` and `list_files` for a folder that the squad names."""

    @tool(idempotent=True, risk="read_only")
    def read_file(path: str, first_line: int = 1, lines: int | None = None) -> str:
        """Return the text of a file in the workspace, by its path relative to that. `lines`: so many, from
        `first_line` on."""
        text = text_of(path, read_file_of(files, path))
        if first_line <= 1 and lines is None:
            return as_whose(files, [path], text)
        found = text.splitlines(keepends=True)
        start = max(first_line, 1) - 1
        end = len(found) if lines is None else start + max(lines, 0)
        return as_whose(files, [path], "".join(found[start:end]) or f"[{path} has {len(found)} lines]")

    @tool(idempotent=True, risk="read_only")
    def list_files(path: str = ".", recursive: bool = False) -> str:
        """List the files and folders in a folder of the workspace; with `recursive` all files below it. Folders end
        in /."""
        if recursive:
            names = list(walk(files, path))
        else:
            refuse_private(path)
            names = [name for name in list_inside(files.root, path) if not private(name)]
        rest = f"\n[{len(names) - LISTED} more]" if len(names) > LISTED else ""
        return "\n".join(names[:LISTED]) + rest or "(empty)"

    return (read_file, list_files)


def writing_tools(files: Files) -> tuple[Tool, ...]:
    """Return `write_file` for a folder that the squad names."""

    @tool(idempotent=True, approval="ask")
    async def write_file(context: ToolContext, path: str, content: str) -> str:
        """Write a file in the workspace, by its path relative to that: whole, instead of what was there."""
        told = await _write(files, path, content)
        note_origin(files, path, context)
        return told

    return (write_file,)


def search_tools(files: Files, search_s: float = SEARCH_S) -> tuple[Tool, ...]:
    """Return `search_files` and `edit_file`. A search ends after `search_s`."""

    @tool(idempotent=True, risk="read_only", timeout_s=search_s + GRACE_S)
    def search_files(pattern: str, path: str = ".", files_like: str = "*", ignore_case: bool = False) -> str:
        """Find lines that a regular expression matches, in the files below the folder at `path`. `files_like` picks
        files by a pattern of their names: *.py"""
        import regex  # heavy, and only a search needs it

        try:
            compiled = regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
        except (regex.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{pattern[:100]!r} is no regular expression: {error}") from None
        found = _search(files, compiled, path, files_like, search_s)
        return as_whose(files, {line.partition(":")[0] for line in found.splitlines()}, found)

    @tool(approval="ask")
    async def edit_file(context: ToolContext, path: str, old: str, new: str) -> str:
        """Replace the text `old`, which stands exactly once in the file at `path`, by `new`."""
        if not old:
            raise ValueError("old is empty: say which text is replaced")
        async with files.edits:
            told = await _edit(files, path, old, new)
            note_origin(files, path, context, origins_of(files, [path]))
            return told

    return (search_files, edit_file)


async def _edit(files: Files, path: str, old: str, new: str) -> str:
    text = text_of(path, await in_thread(partial(read_file_of, files, path)))
    if (count := text.count(old)) != 1:
        again = "" if count else _nearly(text, old)
        more = "give more of the lines around it" if count else f"read the file again{again}"
        raise ValueError(f"the text stands {count} times in {path}, and must stand there once: {more}")
    await _write(files, path, text.replace(old, clean(new)))
    return f"replaced the text in line {text[: text.index(old)].count(chr(10)) + 1} of {path}"


async def _write(files: Files, path: str, content: str) -> str:
    data = clean(content).encode()
    if len(data) > WRITE_BYTES:
        raise ValueError(f"{len(data)} bytes are too much; at most {WRITE_BYTES} can be written")
    files.wrote(path, await in_thread(partial(files.write, path, data)), len(data))
    return f"wrote {len(data)} bytes to {path}"


def _nearly(text: str, old: str) -> str:
    """Return what may be wrong with a text that is not in a file, in words."""
    if " ".join(old.split()) in " ".join(text.split()):
        return "; it differs in blanks or line ends"
    return "; it differs in upper and lower case" if old.casefold() in text.casefold() else ""


def _search(files: Files, pattern: regex.Pattern[str], path: str, files_like: str, search_s: float) -> str:
    until, found, seen = time.monotonic() + search_s, list[str](), 0
    for name in walk(files, path):
        if not fnmatchcase(name.rpartition("/")[2], files_like) and not fnmatchcase(name, files_like):
            continue
        seen += 1
        for line in _matches(files, name, pattern, until):
            found.append(line)
            if len(found) > MATCHES:
                return "\n".join([*found[:MATCHES], f"[more than {MATCHES} lines match: narrow the pattern]"])
        if time.monotonic() >= until:
            found.append(f"[stopped after {search_s:g} s, in {name}: narrow the pattern or the path]")
            return "\n".join(found)
    return "\n".join(found) or f"(no line of {seen} files matches)"


def _matches(files: Files, name: str, pattern: regex.Pattern[str], until: float) -> Iterator[str]:
    try:
        text = text_of(name, read_file_of(files, name, SEARCHED_BYTES))
    except (ValueError, OSError, AgentError):
        return  # binary, too long, or gone meanwhile
    for number, line in enumerate(text.splitlines(), 1):
        left = until - time.monotonic()
        try:
            if left <= 0 or pattern.search(line, timeout=left) is None:
                if left <= 0:
                    return
                continue
        except TimeoutError:
            return
        shown = line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}..."
        yield f"{name}:{number}: {shown}"
