"""What `if` and `until` take for true, of the whole and of what `not`, `and`, `or` and `if ... else` ask: pure.

Truth and falsehood are themselves. Of a text, `yes`, `true` and `on` are true, `no`, `false`, `off` and an empty one
are false, in any case and with what models put around a word: Markdown, quotation marks, brackets, points, emoji. Any
other text is no answer to a question. None, 0, and an empty list or mapping are false, all else is true.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from providers.documents.unicode import cut

TRUE = frozenset({"true", "yes", "on"})
FALSE = frozenset({"false", "no", "off"})
NEVER_AROUND = "?¬"
"""Marks that make another question or answer of a word."""
EMPTY = " \t\r\n'\"`"
"""What a text without any word may consist of to be an empty one."""
SHOWN = 80
"""Characters (graphemes) of a text in a message."""


class NoCondition(ValueError):
    """A condition came to a text that is neither yes nor no."""


def holds(value: Any, field: str, edition: int) -> bool:
    """Return whether the condition of `field` holds. Raise `NoCondition` for a text that says neither.

    In the first edition of the rules every text but an empty one is true.
    """
    if not isinstance(value, str) or edition == 1:
        return bool(value)
    said = said_in(value)
    if said is None:
        kept = cut(value, SHOWN)
        shown = value if kept == value else f"{kept}..."
        raise NoCondition(
            f"`{field}` is true or false, yes or no, but this is the text {shown!r}: compare it, for example == 'yes'"
        )
    return said


def said_in(text: str) -> bool | None:
    """Return what a text says, None where it says neither yes nor no."""
    if not text.strip().strip(EMPTY):
        return False
    shown = unicodedata.normalize("NFKC", text)
    inside = [at for at, char in enumerate(shown) if char.isalnum() or char in NEVER_AROUND]
    word = shown[inside[0] : inside[-1] + 1].casefold() if inside else ""
    return True if word in TRUE else False if word in FALSE else None
