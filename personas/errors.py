"""What can be wrong with a template. It stands apart, so that catching it loads no template engine."""

from __future__ import annotations


class TemplateError(ValueError):
    """A template that cannot be parsed or rendered; the message is one sentence for the template's author.

    `offset` counts characters from the start of the source to the bad expression (to its line in a template of
    blocks), None where no place is to blame. Where a name is unknown, `name` is its path and `available` holds what
    stands at that level.
    """

    def __init__(
        self,
        message: str,
        offset: int | None = None,
        name: tuple[str, ...] | None = None,
        available: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.name = name
        self.available = available


class PersonaAmbiguous(ValueError):
    """Two files of a folder hold a persona of one name. The message names both."""


class TextTooLong(TemplateError):
    """A text comes to more characters than it may have."""
