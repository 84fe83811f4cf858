"""How hard a request looks, by its words alone: pure, and only ever a guess that the caller may overrule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from providers.messages import Message

Complexity = Literal["simple", "standard", "complex"]
COMPLEXITIES: tuple[Complexity, ...] = ("simple", "standard", "complex")
TIERS: Mapping[str, int] = {"boss": 2, "creative": 1, "worker": 1, "fallback": 0}
"""How hard a request a model of this tier is for: an index of `COMPLEXITIES`."""

SHORT, LONG, VERY_LONG = 60, 1_500, 8_000
"""Tokens: at most `SHORT` make a request simpler; `LONG` and `VERY_LONG` make it harder."""
_THOUGHT = re.compile(
    r"\b(?:prove|derive|design|architect\w*|trade-?offs?|refactor\w*|debug\w*|root cause|optimi[sz]e\w*|strateg\w+|"
    r"analy[sz]\w+|compare|evaluat\w+|why|plan|negotiat\w+|diagnos\w+|concurren\w+|security|step by step)\b",
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"\b(?:translate|summari[sz]e|classify|list|extract|rename|format|spell|convert|define|tag|rephrase|shorten)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"```|\bTraceback\b|^(?:def|class|import|function|SELECT)\b", re.MULTILINE)
READ = 20_000
"""Characters of the newest message that are looked at for words."""


def complexity_of(messages: Sequence[Message], *, tools: int = 0) -> Complexity:
    """Return how hard the last of `messages` looks, after the others. `tools`: how many may be called.

    Words that ask for thought, code, length and tools make it harder; a short one, and words that ask for a mechanical
    change, make it simpler. It is in bounded time, whatever the text.
    """
    if not messages:
        return "simple"
    text, tokens = messages[-1].text[:READ], sum(message.tokens for message in messages)
    points = min(len({found.casefold() for found in _THOUGHT.findall(text)}), 3)
    points += bool(_CODE.search(text)) + (tools > 0) + (tokens > LONG) + (tokens > VERY_LONG)
    points -= bool(_PLAIN.search(text)) + (tokens <= SHORT)
    return "simple" if points <= 0 else "standard" if points <= 2 else "complex"
