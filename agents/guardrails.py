"""Guardrails: what a text must be before it is worked on, or before it counts as an answer. Pure.

Each is one check: a pattern, a length, phrases, a JSON Schema, a function of the program's, or another agent's verdict.
`guardrail_checks` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.errors import OutputInvalid

OnFail = Literal["block", "retry", "escalate"]
"""block: the work fails. retry: the model is told, and answers again. escalate: a person reads it and decides."""
MOST_RETRIES = 2
"""Answers of one piece of work that are sent back for a guardrail."""
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
