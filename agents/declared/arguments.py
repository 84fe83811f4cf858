"""The arguments that a declared tool takes: typed, as a JSON Schema to show, and as texts to put into a template. Pure
but for the clock that bounds a pattern."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ArgType = Literal["string", "integer", "number", "boolean", "list"]
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""Where an argument goes in a template. Any other brace is itself."""
MATCH_S = 0.5
"""So long one pattern may look at one text."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. A call must give it unless it has a `default`, or is `optional`. `pattern` is of the whole text.

    `may_begin_with_dash`: the text may look like an option of a command. A list holds texts.
    """

    name: str
    type: ArgType = "string"
    description: str = ""
    default: Any = None
    enum: tuple[Any, ...] = ()
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int = 10_000
    may_begin_with_dash: bool = False
    optional: bool = False
    raw: Mapping[str, Any] | None = None
    """The JSON Schema of its value, from elsewhere; the fields above that bound it say nothing then."""

    @property
    def is_required(self) -> bool:
        """Whether a call must give it."""
        return self.default is None and not self.optional

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its value."""
        if self.raw is not None:
            return {**self.raw, **({"description": self.description} if self.description else {})}
        one: dict[str, Any] = {"type": "string" if self.type == "list" else self.type}
        if one["type"] == "string":
            one |= {"maxLength": self.max_length} | ({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})
        bounds = {"enum": list(self.enum) or None, "minimum": self.minimum, "maximum": self.maximum}
        one |= {name: value for name, value in bounds.items() if value is not None}
        whole = {"type": "array", "items": one, "maxItems": 100} if self.type == "list" else one
        told = {"description": self.description} if self.description else {}
        return {**told, **whole, **({} if self.default is None else {"default": self.default})}

    def texts(self, value: Any) -> list[str]:
        """Return the texts that stand for a value: one, or those of a list. Raise `ValueError` for one not to be used.

        The value is as the schema has it.
        """
        found = [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
        for text in found:
            if "\0" in text:
                raise ValueError(f"{self.name}: a text with a NUL character cannot be an argument")
            if self.pattern is not None and not _matches(self.pattern, text):
                raise ValueError(f"{self.name}: {text[:80]!r} does not match {self.pattern}")
        return found


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a tool takes, in the order in which it is declared."""

    of: Mapping[str, Argument] = field(default_factory=dict)

    @classmethod
    def made_of(cls, arguments: Iterable[Argument]) -> Arguments:
        return cls({one.name: one for one in arguments})

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a call."""
        return {
            "type": "object",
            "properties": {name: one.schema for name, one in self.of.items()},
            "required": [name for name, one in self.of.items() if one.is_required],
            "additionalProperties": False,
        }

    def texts(self, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the texts of each argument of a call, defaults filled in. Raise `ValueError`."""
        values = {name: given.get(name, one.default) for name, one in self.of.items()}
        return {name: self.of[name].texts(value) for name, value in values.items() if value is not None}


def placeholders(text: str) -> list[str]:
    """Return the names of the arguments that a template has places for."""
    return PLACEHOLDER.findall(text)


def filled(template: str, texts: Mapping[str, str]) -> str:
    """Return the template with its places filled; what is filled in is not looked at again."""
    return PLACEHOLDER.sub(lambda place: texts.get(place[1], place[0]), template)


def in_one_line(words: Iterable[str]) -> str:
    """Return a command as a person reads it before it is allowed: no word of it looks like more than one line."""
    return " ".join(map(in_one_word, words))


def in_one_word(word: str) -> str:
    """Return a word; with blanks, line ends or what is not seen in it, as Python writes a text."""
    return word if word.isprintable() and word and not re.search(r"\s", word) else repr(word)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _matches(pattern: str, text: str) -> bool:
    import regex  # heavy, and only a pattern needs it

    try:
        return regex.fullmatch(pattern, text, timeout=MATCH_S) is not None
    except TimeoutError:
        raise ValueError(f"the pattern {pattern} takes too long on this text") from None
