"""Binds the conversations of a squad: who takes part, by which pattern, and when each ends. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast, get_args

from orchestrator.squad.conversation_spec import ConversationSpec, TerminateSpec
from orchestrator.squad.plan import HUMAN, ConversationPlan, PatternName
from orchestrator.squad.shared_spec import budget
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.termination import (
    AllOf,
    AnyOf,
    FunctionHolds,
    MaxSeconds,
    MaxTokens,
    MaxTurns,
    NoProgress,
    PhraseSaid,
    Termination,
)
from providers.documents.findings import Findings
from providers.documents.problems import Path, nearest

RUNNABLE = get_args(PatternName)
_CONDITIONS = ("any", "all", "max_turns", "text", "no_progress_rounds", "tokens", "time", "function")


@dataclass(slots=True)
class Conversations:
    """`called` is what the agents' personas are called; `agent` reports a name that no agent has."""

    spec: SquadSpec
    findings: Findings
    functions: Mapping[str, Callable[..., bool]]
    called: Mapping[str, str]
    agent: Callable[[Path, str], None]
    edition: int

    def plans(self) -> dict[str, ConversationPlan]:
        return {name: self._conversation(name, spec) for name, spec in self.spec.conversations.items()}

    def _conversation(self, name: str, spec: ConversationSpec) -> ConversationPlan:
        path = ("conversations", name)
        is_runnable = spec.pattern in RUNNABLE
        if not is_runnable:
            message = f"the pattern {spec.pattern} is not there yet"
            self.findings.error((*path, "pattern"), "unsupported-pattern", message, f"use {' or '.join(RUNNABLE)}")
        self._participants(path, spec)
        if spec.moderator is not None:
            self.agent((*path, "moderator"), spec.moderator)
        speakers = [*spec.participants, *([spec.moderator] if spec.moderator else [])]
        plan = ConversationPlan(
            name,
            cast(PatternName, spec.pattern if is_runnable else RUNNABLE[0]),
            tuple(spec.participants),
            self._terminate((*path, "terminate"), spec.terminate, speakers),
            spec.moderator,
            independent_first_round=spec.independent_first_round,
            budget=budget(spec.budget),
            names={one: self.called[one] for one in speakers if one in self.called} if self.edition > 1 else {},
            edition=self.edition,
        )
        return plan if spec.speakers_per_round is None else replace(plan, speakers_per_round=spec.speakers_per_round)

    def _participants(self, path: Path, spec: ConversationSpec) -> None:
        for index, name in enumerate(spec.participants):
            place = (*path, "participants", index)
            if name in spec.participants[:index]:
                self.findings.error(place, "duplicate-name", f"'{name}' takes part already")
            elif name != HUMAN:
                self.agent(place, name)
        if set(spec.participants) == {HUMAN}:
            self.findings.error((*path, "participants"), "invalid-value", "at least one agent must take part")

    def _terminate(self, path: Path, spec: TerminateSpec, speakers: Sequence[str]) -> Termination:
        named = [name for name in _CONDITIONS if getattr(spec, name) is not None]
        if len(named) != 1:
            found = " and ".join(named) or "none"
            hint = "join several by any: [...] or all: [...]"
            self.findings.lacks(
                path, "one-of", f"a condition has exactly one of {', '.join(_CONDITIONS)}; here: {found}", hint
            )
        if spec.from_ is not None and spec.text is None:
            self.findings.error((*path, "from"), "misplaced-field", "'from' stands with 'text' only", key=True)
        elif spec.from_ is not None and spec.from_ not in speakers:
            message = f"'{spec.from_}' does not take part in this conversation"
            self.findings.error((*path, "from"), "unknown-agent", message, nearest(spec.from_, speakers))
        function = None if spec.function is None else self.functions.get(spec.function)
        if spec.function is not None and function is None:
            self.findings.unknown((*path, "function"), "function", spec.function, self.functions)
        return self._condition(path, spec, speakers, function)

    def _condition(
        self, path: Path, spec: TerminateSpec, speakers: Sequence[str], function: Callable[..., bool] | None
    ) -> Termination:
        """Return the condition that is written first, in the order of `_CONDITIONS`, where there are several."""
        match spec:
            case TerminateSpec(any=list(inner)):
                return AnyOf(tuple(self._terminate((*path, "any", i), one, speakers) for i, one in enumerate(inner)))
            case TerminateSpec(all=list(inner)):
                return AllOf(tuple(self._terminate((*path, "all", i), one, speakers) for i, one in enumerate(inner)))
            case TerminateSpec(max_turns=int(turns)):
                return MaxTurns(turns)
            case TerminateSpec(text=str(phrase)):
                return PhraseSaid(phrase, spec.from_)
            case TerminateSpec(no_progress_rounds=int(rounds)):
                return NoProgress(rounds)
            case TerminateSpec(tokens=int(tokens)):
                return MaxTokens(tokens)
            case TerminateSpec(time=float(seconds)):
                return MaxSeconds(seconds)
        return FunctionHolds(function or _never)


def _never(_: object) -> bool:
    """Stand for a function that is not known, which is reported."""
    return False
