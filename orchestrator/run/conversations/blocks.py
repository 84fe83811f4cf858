"""Which lines of a text are shown rather than said: fenced blocks, and quotations of several lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

QUOTED = re.compile(r"`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»")
FENCE = re.compile(r"\s*(```|~~~)")
_SAID = re.compile(r"[^\W_]")


def blocks_of(lines: Sequence[str], edition: int) -> list[int]:
    """Return for each line the number of the block that it stands in, its marks included; 0: it stands in none.

    Neighbouring lines that begin with `>` are a block. A text that is one block as a whole stands in none.
    """
    found: list[int] = []
    number, is_open, is_quote = 0, False, False
    for line in lines:
        is_mark, was_quote = bool(FENCE.match(line)), is_quote
        is_quote = edition > 2 and not is_open and line.lstrip().startswith(">")
        number += (is_mark and not is_open) or (is_quote and not was_quote)
        is_open ^= is_mark
        found.append(number if is_mark or is_open or is_quote else 0)
    is_whole = number == 1 and all(block for block, line in zip(found, lines, strict=True) if line.strip())
    return [0] * len(found) if is_whole else found


def ends_in_a_block(text: str) -> bool:
    """Return whether the last words of a text stand in a block with others: somebody else's, or an example."""
    lines = text.splitlines()
    blocks = blocks_of(lines, edition=3)
    said = [block for block, line in zip(blocks, lines, strict=True) if _SAID.search(line) and not FENCE.match(line)]
    return bool(said) and said[-1] > 0 and said.count(said[-1]) > 1


def outside_blocks(text: str, edition: int) -> Iterator[str]:
    """Yield the lines that stand in no fenced block, and are no quotation (`> ...`)."""
    is_code = False
    for line in text.splitlines():
        if FENCE.match(line):
            is_code = not is_code
        elif not is_code and not (edition > 2 and line.lstrip().startswith(">")):
            yield line
