"""A fence of Markdown around a whole text: models write one around a file that they were asked for. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

MARKDOWN = frozenset({"md", "markdown", "mdx", "mdown"})
"""Languages of a fence, and extensions of files, that mean Markdown itself."""
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[ \t]*([^\r\n`]*?)[ \t]*\r?\n?")


def without_fence(text: str, path: str) -> str:
    """Return the text of the file `path` without the one fence that stands around all of it; else the text as it is.

    What is in the fence stays, fences of its own too, byte for byte. A Markdown file keeps a fence of another language:
    there it is a piece of code that the document shows. A fence that is not sure to reach from the first line to the
    last stays, also where the text was cut off inside it.
    """
    lines = text.splitlines(keepends=True)
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if len(filled) < 2:
        return text
    first, last = filled[0], filled[-1]
    opening, closing = _FENCE.fullmatch(lines[first]), _FENCE.fullmatch(lines[last])
    if opening is None or closing is None or closing[2] or not _closes(closing[1], opening[1]):
        return text
    language = opening[2].split(" ")[0].strip("{}.").lower()
    is_markdown = PurePosixPath(path).suffix.lower().lstrip(".") in MARKDOWN
    if is_markdown and language and language not in MARKDOWN:
        return text
    inner = lines[first + 1 : last]
    if not _is_whole(inner, opening[1], nests=language in MARKDOWN):
        return text
    return re.sub(r"\r?\n\Z", "", "".join(inner))


def _is_whole(inner: list[str], around: str, *, nests: bool) -> bool:
    """Return whether no line inside ends the fence `around`. In Markdown (`nests`) bare fences may be pairs."""
    within: str | None = None
    for line in inner:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            continue
        if within is not None:
            within = None if not fence[2] and _closes(fence[1], within) else within
        elif fence[2] or not _closes(fence[1], around) or nests:
            within = fence[1]
        else:
            return False
    return within is None


def _closes(fence: str, opened: str) -> bool:
    return fence[0] == opened[0] and len(fence) >= len(opened)
