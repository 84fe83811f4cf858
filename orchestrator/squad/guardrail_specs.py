"""`guardrails:` of an agent, as they are written, and what they come to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agents.guardrails import KINDS, Guardrail, Guardrails, OnFail
from orchestrator.squad.schemas import Schemas, advice_on_schema
from orchestrator.squad.shared_spec import NonEmpty, Positive
from providers.documents.findings import Findings
from providers.documents.json_schema import pattern_fault
from providers.documents.models import StrictModel
from providers.documents.problems import Path


class GuardrailSpec(StrictModel):
    """One check of a text. It has exactly one of `regex`, `max_words`, `max_chars`, `forbid`, `require`, `schema` and
    `agent` (with `rubric`)."""

    noun: ClassVar[str] = "a guardrail"
    regex: NonEmpty | None = Field(
        default=None,
        description="A regular expression that is searched for in the text.",
        examples=["\\b\\d{16}\\b"],
    )
    must: Literal["match", "not_match"] | None = Field(
        default=None,
        description="Beside `regex`: whether it must be found, or must not. Default: `not_match`.",
        examples=["match"],
    )
    max_words: Positive | None = Field(default=None, description="Words that the text may have.", examples=[300])
    max_chars: Positive | None = Field(default=None, description="Characters that it may have.", examples=[2000])
    forbid: Annotated[list[NonEmpty], Field(min_length=1)] | None = Field(
        default=None,
        description="Phrases that it may not hold; upper and lower case are the same.",
        examples=[["guarantee", "lawsuit"]],
    )
    require: Annotated[list[NonEmpty], Field(min_length=1)] | None = Field(
        default=None,
        description="Phrases that it must hold, all of them; upper and lower case are the same.",
        examples=[["Sources:"]],
    )
    schema_: dict[str, Any] | None = Field(
        default=None,
        alias="schema",
        description="A JSON Schema: the text must be JSON that satisfies it.",
        examples=[{"type": "object", "required": ["title"]}],
    )
    agent: NonEmpty | None = Field(
        default=None, description="An agent of the squad that judges the text by the `rubric`.", examples=["judge"]
    )
    rubric: NonEmpty | None = Field(
        default=None,
        description="Beside `agent`: what the text must be, in words.",
        examples=["It is polite and promises nothing."],
    )
    on_fail: OnFail = Field(
        default="block",
        description="What happens if the text does not pass: `block` fails the work, `retry` sends an answer back "
        "(at most twice), `escalate` lets a person decide.",
        examples=["retry"],
    )
    message: NonEmpty | None = Field(
        default=None,
        description="The message about a text that does not pass. Default: a standard message.",
        examples=["it holds a card number"],
    )


class GuardrailsSpec(StrictModel):
    """What is checked of what an agent is told, before anything is paid for, and of each of its answers."""

    noun: ClassVar[str] = "guardrails"
    input: list[GuardrailSpec] | None = Field(
        default=None,
        min_length=1,
        description="Checks of its input.",
        examples=[[{"max_chars": 20000}]],
    )
    output: list[GuardrailSpec] | None = Field(
        default=None,
        min_length=1,
        description="Checks of each of its answers.",
        examples=[[{"max_words": 300, "on_fail": "retry"}]],
    )


def guardrails_of(
    path: Path, name: str, spec: GuardrailsSpec | None, agents: Mapping[str, Any], findings: Findings
) -> Guardrails | None:
    """Return an agent's guardrails, None where it has none. Report those that are none."""
    if spec is None:
        return None
    made: dict[str, tuple[Guardrail, ...]] = {}
    for side in ("input", "output"):
        rails = enumerate(getattr(spec, side) or ())
        read = (_guardrail((*path, side, index), name, one, agents, findings) for index, one in rails)
        made[side] = tuple(one for one in read if one is not None)
    return Guardrails(**made)


def judges_of(spec: GuardrailsSpec | None) -> Iterator[str]:
    """Yield the agents that judge."""
    if spec is not None:
        yield from (one.agent for one in (*(spec.input or ()), *(spec.output or ())) if one.agent is not None)


def judges_in(rails: Guardrails | None) -> list[str]:
    """Return the agents that judge."""
    return [] if rails is None else [one.agent for one in (*rails.input, *rails.output) if one.agent is not None]


def with_judge(rails: Guardrails, bind: Any) -> Guardrails:
    """Return the guardrails with what `bind` returns for the agent of each that one judges."""

    def bound(some: tuple[Guardrail, ...]) -> tuple[Guardrail, ...]:
        return tuple(one if one.agent is None else replace(one, judge=bind(one.agent)) for one in some)

    return Guardrails(bound(rails.input), bound(rails.output))


def _guardrail(
    path: Path, name: str, spec: GuardrailSpec, agents: Mapping[str, Any], findings: Findings
) -> Guardrail | None:
    fields = {kind: getattr(spec, "schema_" if kind == "schema" else kind, None) for kind in KINDS}
    kinds = [kind for kind, value in fields.items() if value is not None]
    if len(kinds) != 1:
        if not any(broken[: len(path)] == path for broken in findings.broken):  # else that is told
            told = " and ".join(kinds) or "none of them"
            findings.error(path, "one-of", f"a guardrail has one of {', '.join(KINDS[:-1])}; this one has {told}")
        return None
    known = len(findings.errors)
    _check(path, name, spec, agents, findings)
    if len(findings.errors) > known:
        return None
    value: dict[str, Any] = {key: tuple(it) if isinstance(it, list) else it for key, it in fields.items() if it}
    if spec.must is not None:
        value["must"] = spec.must
    return Guardrail(spec.on_fail, **value, rubric=spec.rubric or "", message=spec.message)


def _check(path: Path, name: str, spec: GuardrailSpec, agents: Mapping[str, Any], findings: Findings) -> None:
    """Report what is wrong with a guardrail of one kind."""
    if spec.regex is not None and (why := pattern_fault(spec.regex)):
        findings.error((*path, "regex"), "invalid-value", f"the pattern cannot be searched for: {why}")
    for fault, message in Schemas().faults(spec.schema_) if spec.schema_ is not None else ():
        findings.error((*path, "schema", *fault), "bad-schema", message, advice_on_schema(spec.schema_ or {}, fault))
    if spec.on_fail == "retry" and path[-2] == "input":
        hint = "block, or escalate"
        findings.error((*path, "on_fail"), "invalid-value", "an input cannot be retried, only an answer", hint)
    if spec.must is not None and spec.regex is None:
        findings.error((*path, "must"), "misplaced-field", "`must` belongs to `regex`")
    if (spec.agent is None) != (spec.rubric is None):
        findings.error(path, "missing-field", "`agent` and `rubric` go together: give both")
    if spec.agent is not None:
        _check_judge((*path, "agent"), name, spec.agent, agents, findings)


def _check_judge(path: Path, name: str, judge: str, agents: Mapping[str, Any], findings: Findings) -> None:
    names: Collection[str] = agents
    if judge not in names:
        findings.unknown(path, "agent", judge, names)
    elif judge == name or any(judges_of(agents[judge].guardrails)):
        why = "judges itself" if judge == name else "is judged by another agent in its turn"
        findings.error(path, "cycle", f"the agent '{judge}' {why}: a judge cannot have a judge")
