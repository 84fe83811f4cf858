"""What `if` and `until` take for true, of the whole and of what `not`, `and`, `or` and `if ... else` ask: pure.

Truth and falsehood are themselves. Of a text, `yes`, `true` and `on` are true, `no`, `false`, `off` and an empty one
are false, in any case, whatever blanks, points and marks of Markdown stand around them; any other text is no answer to
a question. None, 0, and an empty list or mapping are false, all else is true.
"""

from __future__ import annotations

from typing import Any

TRUE = frozenset({"true", "yes", "on"})
FALSE = frozenset({"false", "no", "off", ""})
AROUND = " \t\r\n*_`'\"“”‘’.!,;:#>"
"""What models put around a word."""
SHOWN = 80


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
        shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
        raise NoCondition(
            f"`{field}` is true or false, yes or no, but this is the text {shown!r}: compare it, for example == 'yes'"
        )
    return said


def said_in(text: str) -> bool | None:
    """Return what a text says, None where it says neither yes nor no."""
    word = text.strip(AROUND).casefold()
    return True if word in TRUE else False if word in FALSE else None
