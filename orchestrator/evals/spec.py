"""A test file as it is written: its fields, their types, and every mistake in them at once.

Whether its names exist in the squad is for `checked_against`. See docs/testing-squads.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal

import regex
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from agents.mcp.definitions import tool_name as name_for_models
from orchestrator.evals.ranges import Range, parse_change, parse_range, parse_time_range
from orchestrator.squad.plan import HUMAN, Approval, Plan
from orchestrator.squad.shared_spec import NonEmpty, Positive
from providers.documents.fields import PositiveDuration, Share
from providers.documents.findings import Findings
from providers.documents.models import StrictModel, validated
from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem
from providers.documents.yaml import ParsedFile


def _reading(read: Any) -> Any:
    def checked(written: object) -> Any:
        try:
            return read(written)
        except ValueError as error:
            raise PydanticCustomError("invalid-value", "{text}", {"text": str(error)}) from None

    return BeforeValidator(checked)


_AS_TEXT = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})
Numbers = Annotated[Range, _reading(parse_range), _AS_TEXT]
Seconds = Annotated[Range, _reading(parse_time_range), _AS_TEXT]
ChangeBy = Annotated[float, _reading(parse_change), WithJsonSchema({"type": "string"})]


def _pattern(text: str) -> str:
    try:
        regex.compile(text)
    except regex.error as error:
        raise PydanticCustomError("invalid-value", "{text}", {"text": f"this is no pattern: {error}"}) from None
    return text


PatternText = Annotated[NonEmpty, AfterValidator(_pattern)]


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else "text"


TextOrTexts = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[list[NonEmpty], Field(min_length=1), Tag("list")],
    Discriminator(_kind),
]


def texts_of(written: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return one text or several as several."""
    return () if written is None else (written,) if isinstance(written, str) else tuple(written)


class ValueExpect(StrictModel):
    """What a text or another value must be. A value that is no text is checked as JSON, but for `equals` and `at`."""

    noun: ClassVar[str] = "an expectation of a value"
    contains: TextOrTexts | None = Field(default=None, description="All of these stand in it, case and all")
    lacks: TextOrTexts | None = Field(default=None, description="None of these stands in it")
    matches: PatternText | None = Field(default=None, description="A regular expression that is found in it")
    never_matches: PatternText | None = Field(default=None, description="A regular expression that is not found in it")
    equals: Any = Field(default=None, description="It is this, and nothing else")
    words: Numbers | None = Field(default=None, description="How many words it has: 50..400")
    chars: Numbers | None = Field(default=None, description="How many characters it has")
    items: Numbers | None = Field(default=None, description="How many elements it has, of a list")
    number: Numbers | None = Field(default=None, description="Where it lies, of a number")
    json_schema: Annotated[str, Tag("text")] | dict[str, Any] | None = Field(
        default=None, alias="schema", description="A JSON Schema, or the file of one"
    )
    at: dict[NonEmpty, ValueExpect] | None = Field(default=None, description="What stands at a path in it: a.b.0")
    each: ValueExpect | None = Field(default=None, description="What each element is, of a list")


class RunExpect(StrictModel):
    """What the whole run must come to."""

    noun: ClassVar[str] = "an expectation of the run"
    status: Literal["done", "failed", "rejected", "waiting", "paused", "stopped", "cancelled"] | None = Field(
        default=None, description="How it ends; done where nothing is said"
    )
    cost: Numbers | None = Field(default=None, description="USD")
    tokens: Numbers | None = Field(default=None, description="Tokens, read and written")
    turns: Numbers | None = Field(default=None, description="Model calls")
    time: Seconds | None = Field(default=None, description="From its first event to its last")
    failovers: Numbers | None = Field(default=None, description="Attempts at a provider that failed")


class TaskExpect(StrictModel):
    """What a task must come to."""

    noun: ClassVar[str] = "an expectation of a task"
    status: Literal["ok", "failed", "skipped", "cancelled", "not_started"] | None = Field(
        default=None, description="How it ends; ok where nothing is said"
    )
    output: ValueExpect | None = Field(default=None, description="What its output is")
    items: Numbers | None = Field(default=None, description="How many elements its for_each has")
    each: ValueExpect | None = Field(default=None, description="What each element's output is")
    attempts: Numbers | None = Field(default=None, description="How often it ran")
    error: ValueExpect | None = Field(default=None, description="What its error says")


class AnyOrder(StrictModel):
    """Agents that speak next, in any order."""

    noun: ClassVar[str] = "a group of turns"
    any_order: list[NonEmpty] = Field(min_length=1, description="Agents")


class Exactly(StrictModel):
    """All turns, and no others between them."""

    noun: ClassVar[str] = "the turns"
    exactly: list[NonEmpty] = Field(description="Agents, one for each run of turns of the same agent")


TurnOrGroup = Annotated[Annotated[NonEmpty, Tag("text")] | Annotated[AnyOrder, Tag("mapping")], Discriminator(_kind)]
Turns = Annotated[Annotated[list[TurnOrGroup], Tag("list")] | Annotated[Exactly, Tag("mapping")], Discriminator(_kind)]


class ToolExpect(StrictModel):
    """Calls of tools that must be made, or must not."""

    noun: ClassVar[str] = "an expectation of tools"
    placeholders: ClassVar[Mapping[str, Any]] = {}
    agent: NonEmpty | None = Field(default=None, description="Whose calls count; everybody's where nothing is said")
    tool: NonEmpty | None = Field(default=None, description="The tool that is called")
    args: dict[NonEmpty, Any] | None = Field(
        default=None, description="Arguments of the calls that count: values, or texts with * and ** as in file names"
    )
    times: Numbers | None = Field(default=None, description="How many such calls; 1.. where nothing is said")
    ok: bool | None = Field(default=None, description="Whether the calls that count succeeded")
    before: NonEmpty | None = Field(default=None, description="The first such call comes before any call of this tool")
    never: TextOrTexts | None = Field(default=None, description="Tools that are not called at all")


class ConversationExpect(StrictModel):
    """How a conversation must be held; each time, where it is held several times."""

    noun: ClassVar[str] = "an expectation of a conversation"
    turns: Numbers | None = Field(default=None, description="Utterances")
    speakers: list[NonEmpty] | None = Field(default=None, description="All who speak in it, in any order")
    order: list[NonEmpty] | None = Field(default=None, description="Who speaks, from the first utterance on")
    repeats: Numbers | None = Field(default=None, description="Utterances that repeat an earlier one word for word")
    ended_by: NonEmpty | None = Field(default=None, description="The condition that ends it: text, max_turns")


class FileExpect(ValueExpect):
    """What a file of the run must be. A path with `*` means each file that it fits."""

    noun: ClassVar[str] = "an expectation of a file"
    exists: bool = Field(default=True, description="Whether there is such a file")


class JudgeExpect(StrictModel):
    """What a model says of an output, by a rubric."""

    noun: ClassVar[str] = "a judgement"
    of: NonEmpty = Field(description="The task whose output is judged")
    rubric: NonEmpty = Field(description="What a good output is")
    score: Numbers = Field(default=Range(0.7, 1.0, ">= 0.7"), description="What the score must be, from 0 to 1")


class Expect(StrictModel):
    """What must hold of a case."""

    noun: ClassVar[str] = "the expectations"
    run: RunExpect | None = Field(default=None, description="Of the whole run")
    outputs: dict[NonEmpty, ValueExpect] | None = Field(default=None, description="Of the squad's outputs")
    tasks: dict[NonEmpty, TaskExpect] | None = Field(default=None, description="Of its tasks")
    turns: Turns | None = Field(default=None, description="Who takes turns; others may stand between")
    tools: list[ToolExpect] | None = Field(default=None, description="Which tools are called")
    conversations: dict[NonEmpty, ConversationExpect] | None = Field(default=None, description="Of its conversations")
    files: dict[NonEmpty, FileExpect] | None = Field(default=None, description="Of the files that it writes")
    judge: list[JudgeExpect] | None = Field(default=None, description="What a model says of its outputs")
    secrets: Literal["none"] | None = Field(
        default=None, description="none: no output, file or tool call holds what looks like a key"
    )


class ScriptedTool(StrictModel):
    """What a tool answers in this case, instead of doing its work."""

    noun: ClassVar[str] = "a scripted tool"
    returns: Any = Field(default=None, description="What each call returns")
    fails: NonEmpty | None = Field(default=None, description="Or the error that each call ends in")


class With(StrictModel):
    """What surrounds a case."""

    noun: ClassVar[str] = "the surroundings"
    approvals: dict[NonEmpty, Literal["approve", "revise", "reject"]] | None = Field(
        default=None, description="A person's answer to each approval; the others are left open"
    )
    tools: dict[NonEmpty, ScriptedTool] | None = Field(default=None, description="Tools that do no work here")
    faults: dict[NonEmpty, list[NonEmpty]] | None = Field(
        default=None, description="By provider what its calls end in, one after the other: timeout, 429, 500, ok"
    )


class SuiteCase(StrictModel):
    """One case: a run with these inputs, and what must hold of it."""

    noun: ClassVar[str] = "a case"
    name: NonEmpty = Field(description="What it is called")
    inputs: dict[NonEmpty, Any] | None = Field(default=None, description="The run's inputs")
    repeat: Positive | None = Field(default=None, description="How often it is run live")
    pass_rate: Share | None = Field(default=None, description="The share of these runs that must pass")
    timeout: PositiveDuration | None = Field(default=None, description="Of one run")
    max_cost: float | None = Field(default=None, ge=0, description="USD of one run")
    with_: With | None = Field(default=None, alias="with", description="What surrounds it")
    expect: Expect = Field(default=Expect(), description="What must hold")


class CaseDefaults(StrictModel):
    """What cases take where they say nothing."""

    noun: ClassVar[str] = "defaults"
    repeat: Positive = Field(default=1, description="How often a case is run live")
    pass_rate: Share = Field(default=1.0, description="The share of these runs that must pass")
    timeout: PositiveDuration | None = Field(default=None, description="Of one run")
    max_cost: float | None = Field(default=None, ge=0, description="USD of one run")


class JudgeSpec(StrictModel):
    """The model that judges outputs, and what its word is worth."""

    noun: ClassVar[str] = "a judge"
    tier: NonEmpty | None = Field(default=None, description="The class of models that judges; boss by default")
    model: NonEmpty | None = Field(default=None, description="Or the model, provider/model")
    votes: Positive = Field(default=1, description="How often each output is judged")
    agree: Positive | None = Field(default=None, description="So many votes must agree; most of them by default")
    labels: NonEmpty | None = Field(default=None, description="A JSONL file of texts that people have judged")
    min_agreement: Share = Field(default=0.8, description="The share of labels that the judge must agree with to count")


class FailWhen(StrictModel):
    """How much worse than the baseline a figure may become."""

    noun: ClassVar[str] = "a gate"
    pass_rate: ChangeBy | None = Field(default=None, description="-10%: no more than ten points lower")
    cost: ChangeBy | None = Field(default=None, description="+20%")
    tokens: ChangeBy | None = Field(default=None, description="+20%")
    turns: ChangeBy | None = Field(default=None, description="+25%")
    time: ChangeBy | None = Field(default=None, description="+50%")


class BaselineSpec(StrictModel):
    """What live runs are compared with."""

    noun: ClassVar[str] = "a baseline"
    file: NonEmpty = Field(description="The file that --accept writes")
    fail_when: FailWhen = Field(default=FailWhen(), description="What counts as worse")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.9, description="How sure a change must be before it fails"
    )


class SuiteSpec(StrictModel):
    """A test file: which squad, and its cases."""

    noun: ClassVar[str] = "a test file"
    placeholders: ClassVar[Mapping[str, Any]] = {
        "squad": "?",
        "name": "?",
        "of": "?",
        "rubric": "?",
        "file": "?",
        "cases": [{"name": "?"}],
    }
    version: Literal[1] = Field(default=1, description="Of the format: 1")
    squad: NonEmpty = Field(description="The squad's file, beside this one")
    recording: NonEmpty = Field(default="recordings", description="The folder of what real runs were answered")
    defaults: CaseDefaults = Field(default_factory=CaseDefaults, description="What cases take where they say nothing")
    judge: JudgeSpec | None = Field(default=None, description="Who judges outputs")
    baseline: BaselineSpec | None = Field(default=None, description="What live runs are compared with")
    cases: list[SuiteCase] = Field(min_length=1, description="The cases")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a test file, for editors."""
    schema = SuiteSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Squad tests"}


def suite_of(parsed: ParsedFile) -> tuple[SuiteSpec, Node, list[Problem]]:
    """Return a test file's fields, its tree, and what is wrong with it so far. Wrong fields hold harmless values."""
    root = parsed.mapping()
    spec, found = validated(SuiteSpec, root, parsed.found)
    return spec, root, found


FAULTS = ("ok", "timeout", "reset", "429", "500", "503")


def checked_against(
    spec: SuiteSpec, node: Node, found: Sequence[Problem], plan: Plan, providers: Collection[str]
) -> list[Problem]:
    """Return `found`, and each name in the test file that the squad's plan, or the catalog, does not have."""
    findings = Findings.after(node, found)
    names: set[str] = set()
    if spec.judge is not None and (spec.judge.agree or 0) > spec.judge.votes:
        told = f"{spec.judge.agree} votes cannot agree where there are {spec.judge.votes}"
        findings.error(("judge", "agree"), "out-of-range", told)
    for index, case in enumerate(spec.cases):
        at: Path = ("cases", index)
        if (slug := slug_of(case.name)) in names:
            findings.error((*at, "name"), "duplicate-name", f"another case is called like '{case.name}'")
        names.add(slug)
        _Case(findings, plan, (*at, "expect")).check(case.expect)
        if case.expect.judge and spec.judge is None:
            findings.error((*at, "expect", "judge"), "missing-field", "the test file names no judge", "add judge: {}")
        if case.with_ is not None:
            _check_surroundings(findings, plan, (*at, "with"), case.with_, providers)
    return findings.found


def slug_of(name: str) -> str:
    """Return the name of a case as a file's name: `plans a bike shop` is `plans-a-bike-shop`."""
    return regex.sub(r"[^\p{L}\p{N}_.-]+", "-", name).strip("-.").casefold()[:80] or "case"


def called_as(name: str) -> str:
    """Return the name by which a model calls a tool: `git__log` of an MCP server's `git/log`, `git__*` of `git/*`."""
    server, slash, tool = name.partition("/")
    if not slash:
        return name
    return name_for_models(server, "t")[:-1] + "*" if tool == "*" else name_for_models(server, tool)


def _is_a_tool(name: str, known: Collection[str]) -> bool:
    """Return whether a squad has the tool. Which tools an MCP server has is told by the server alone."""
    return any(fnmatchcase(called_as(name), called_as(one)) for one in known)


def _check_surroundings(findings: Findings, plan: Plan, at: Path, given: With, providers: Collection[str]) -> None:
    tools = {tool.name: tool for agent in plan.agents.values() for tool in agent.tools}
    asking = {name for name, tool in tools.items() if tool.approval != "never"}
    gates = {name: task.work for name, task in plan.tasks.items() if isinstance(task.work, Approval)}
    for name, answer in (given.approvals or {}).items():
        if name in asking and answer != "revise":
            continue
        if name in asking:
            findings.error((*at, "approvals", name), "invalid-value", f"'{name}' may be answered by: approve, reject")
        elif name not in gates:
            findings.unknown((*at, "approvals", name), "approval", name, {*gates, *asking}, key=True)
        elif answer not in gates[name].choices:
            choices = ", ".join(gates[name].choices)
            findings.error((*at, "approvals", name), "invalid-value", f"'{name}' may be answered by: {choices}")
    for name in given.tools or {}:
        if name not in tools:
            findings.unknown((*at, "tools", name), "tool", name, tools, key=True)
    for provider, faults in (given.faults or {}).items():
        if provider not in providers:
            findings.unknown((*at, "faults", provider), "provider", provider, providers, key=True)
        for index, fault in enumerate(faults):
            if fault not in FAULTS:
                findings.unknown((*at, "faults", provider, index), "fault", fault, FAULTS)


class _Case:
    """Checks the names in one case's expectations."""

    def __init__(self, findings: Findings, plan: Plan, at: Path) -> None:
        self.findings, self.plan, self.at = findings, plan, at
        talkers = {name for talk in plan.conversations.values() for name in talk.participants}
        self.agents = {*plan.agents, *({HUMAN} & talkers)}
        self.tools = {tool.name for agent in plan.agents.values() for tool in agent.tools}

    def check(self, expect: Expect) -> None:
        self._all(("tasks",), "task", expect.tasks or {}, self.plan.tasks)
        self._all(("outputs",), "output", expect.outputs or {}, self.plan.outputs)
        self._all(("conversations",), "conversation", expect.conversations or {}, self.plan.conversations)
        for name, talk in (expect.conversations or {}).items():
            for field in ("speakers", "order"):
                self._listed(("conversations", name, field), "agent", getattr(talk, field) or (), self.agents)
        for index, judged in enumerate(expect.judge or ()):
            self._one(("judge", index, "of"), "task", judged.of, self.plan.tasks)
        match expect.turns:
            case Exactly(exactly=named):
                self._listed(("turns", "exactly"), "agent", named, self.plan.agents)
            case list(turns):
                for index, turn in enumerate(turns):
                    if isinstance(turn, AnyOrder):
                        self._listed(("turns", index, "any_order"), "agent", turn.any_order, self.plan.agents)
                    else:
                        self._one(("turns", index), "agent", turn, self.plan.agents)
        for index, tool in enumerate(expect.tools or ()):
            self._tool(("tools", index), tool)

    def _tool(self, at: Path, expect: ToolExpect) -> None:
        if expect.agent is not None:
            self._one((*at, "agent"), "agent", expect.agent, self.plan.agents)
        if (expect.tool is None) == (expect.never is None):
            self.findings.error((*self.at, *at), "one-of", "an expectation of tools has exactly one of tool and never")
        for field, name in (("tool", expect.tool), ("before", expect.before)):
            if name is not None and not _is_a_tool(name, self.tools):
                self.findings.unknown((*self.at, *at, field), "tool", name, self.tools)

    def _all(self, at: Path, what: str, names: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        for name in names:
            if name not in known:
                self.findings.unknown((*self.at, *at, name), what, name, known, key=True)

    def _listed(self, at: Path, what: str, names: Sequence[str], known: Any) -> None:
        for index, name in enumerate(names):
            self._one((*at, index), what, name, known)

    def _one(self, at: Path, what: str, name: str, known: Any) -> None:
        if name not in known:
            self.findings.unknown((*self.at, *at), what, name, known)
