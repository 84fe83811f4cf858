"""Guardrails: what a text must be before it is worked on, or before it counts as an answer. Pure.

Each is one check: a pattern, a length, phrases, a JSON Schema, a function of the program's, or another agent's verdict.
Patterns and schemas end in bounded time on any text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.errors import OutputInvalid
from providers.documents.json_schema import SchemaTooCostly, found, validator_of

OnFail = Literal["block", "retry", "escalate"]
"""block: the work fails. retry: the model is told, and answers again. escalate: a person reads it and decides."""
MOST_RETRIES = 2
"""Answers of one piece of work that are sent back for a guardrail."""
MOST_TOLD = 300
"""Characters of what is wrong with a text."""
KINDS = ("regex", "max_words", "max_chars", "forbid", "require", "schema", "agent", "check")


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One check of a text. Exactly one of its kinds is set.

    `regex` must `match` somewhere in the text, or must `not_match`; `forbid` and `require` are phrases, in any case;
    `agent` judges by `rubric`, and `check` returns True or None for a good text, False or words for a bad one.
    `message` is what is told of a bad text instead of our own words.
    """

    on_fail: OnFail = "block"
    regex: str | None = None
    must: Literal["match", "not_match"] = "not_match"
    max_words: int | None = None
    max_chars: int | None = None
    forbid: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    agent: str | None = None
    rubric: str = ""
    check: Callable[[str], Any] | None = field(default=None, repr=False)
    message: str | None = None
    judge: Any = field(default=None, repr=False, compare=False)
    """The `work` of the agent that judges."""

    def __post_init__(self) -> None:
        if len(kinds := self.kinds) != 1:
            raise ValueError(f"a guardrail is one of {', '.join(KINDS)}; this one is {' and '.join(kinds) or 'none'}")

    @property
    def kinds(self) -> list[str]:
        """The kinds of check that are set."""
        return [kind for kind in KINDS if getattr(self, kind) not in (None, ())]

    @property
    def name(self) -> str:
        """What it is called in events and messages."""
        return f"agent {self.agent}" if self.agent else self.kinds[0]


@dataclass(frozen=True, slots=True)
class Guardrails:
    """What is checked of what an agent is told, and of what it answers."""

    input: tuple[Guardrail, ...] = ()
    output: tuple[Guardrail, ...] = ()


class GuardrailFailed(OutputInvalid):
    """A text did not pass the guardrail `check`. `side` is `input` or `output`."""

    def __init__(self, agent: str, side: str, check: str, why: str, excerpt: str) -> None:
        super().__init__("$", why, excerpt)
        what = "what it was told" if side == "input" else "its answer"
        self.args = (f"{agent}: {what} did not pass the guardrail {check}: {why}",)
        self.side, self.check = side, check


def fault(rail: Guardrail, text: str) -> str:
    """Return what is wrong with a text by a guardrail that needs nobody's verdict, empty where nothing is."""
    why = _fault(rail, text)
    return rail.message or why if why else ""


def _fault(rail: Guardrail, text: str) -> str:
    folded = text.casefold()
    if rail.regex is not None:
        return _of_pattern(rail.regex, rail.must, text)
    if rail.max_words is not None and (words := len(text.split())) > rail.max_words:
        return f"it has {words:,} words, more than {rail.max_words:,}"
    if rail.max_chars is not None and len(text) > rail.max_chars:
        return f"it has {len(text):,} characters, more than {rail.max_chars:,}"
    if there := [phrase for phrase in rail.forbid if phrase.casefold() in folded]:
        return f"it says {there[0]!r}, which it may not"
    if lacking := [phrase for phrase in rail.require if phrase.casefold() not in folded]:
        return f"it does not say {lacking[0]!r}"
    if rail.schema is not None:
        return _of_schema(rail.schema, text)
    if rail.check is not None:
        said = rail.check(text)
        return said if isinstance(said, str) else "it is not as it must be" if said is False else ""
    return ""


def _of_pattern(pattern: str, must: str, text: str) -> str:
    try:
        is_there = found(pattern, text)
    except TimeoutError:
        return f"whether the pattern {pattern!r} is in it cannot be found in time"  # what cannot be checked fails
    if is_there == (must == "match"):
        return ""
    return f"the pattern {pattern!r} {'is in it' if is_there else 'is not in it'}"


def _of_schema(schema: Mapping[str, Any], text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    try:
        error = validator_of(schema).first_error(value)
    except SchemaTooCostly as costly:
        return f"its schema cannot be checked: {costly}"
    return "" if error is None else f"at {error.json_path}: {error.message[:MOST_TOLD]}"
