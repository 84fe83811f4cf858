"""What can be wrong with a template. It stands apart, so that catching it loads no template engine."""

from __future__ import annotations


class TemplateError(ValueError):
    """A template that cannot be parsed or rendered; the message is one sentence for the template's author."""

    def __init__(
        self,
        message: str,
        offset: int | None = None,
        name: tuple[str, ...] | None = None,
        available: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        """What is wrong, in one sentence."""
        self.offset = offset
        """Characters from the start of the source to the bad expression (to its line in a template of blocks); None: no
        place is to blame."""
        self.name = name
        """The path of an unknown name; None: that is not the mistake."""
        self.available = available
        """The names that are known where the unknown one was looked for."""


class PersonaAmbiguous(ValueError):
    """Two files of a folder hold a persona of one name. The message names both."""


class TextTooLong(TemplateError):
    """A text comes to more characters than it may have."""
