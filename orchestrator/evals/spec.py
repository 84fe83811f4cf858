"""A test file as it is written: its fields, their types, and every mistake in them at once.

Whether its names exist in the squad is for `checked_against`. See docs/guides/testing-squads.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from orchestrator.evals.expect import ChangeBy, Expect
from orchestrator.squad.shared_spec import NonEmpty, Positive
from providers.documents.fields import PositiveDuration, Share
from providers.documents.file_schema import file_schema
from providers.documents.models import StrictModel, validated
from providers.documents.nodes import Node
from providers.documents.problems import Problem
from providers.documents.yaml import ParsedFile


class ScriptedTool(StrictModel):
    """What a tool answers in this case, instead of doing its work."""

    noun: ClassVar[str] = "a scripted tool"
    returns: Any = Field(default=None, description="What each call returns")
    fails: NonEmpty | None = Field(default=None, description="Or the error that each call ends in")
    description: str | None = Field(
        default=None,
        description="Of a tool of an MCP server: what a model is told of it, else what the server said",
    )
    parameters: dict[str, Any] | None = Field(
        default=None, description="Of a tool of an MCP server: the JSON Schema of its arguments"
    )


WorkspaceUse = Literal["copy", "in_place"]
Choice = Literal["approve", "revise", "reject"]


class CommentedAnswer(StrictModel):
    """A person's answer, with a comment."""

    noun: ClassVar[str] = "an answer"
    choice: Choice = Field(description="What is chosen")
    comment: str = Field(default="", description="What is said with it: to revise by")


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict | CommentedAnswer) else "text"


OneAnswer = Annotated[
    Annotated[Choice, Tag("text")] | Annotated[CommentedAnswer, Tag("mapping")],
    Discriminator(_kind),
]
AnswersInOrder = Annotated[
    Annotated[Choice, Tag("text")]
    | Annotated[CommentedAnswer, Tag("mapping")]
    | Annotated[list[OneAnswer], Field(min_length=1), Tag("list")],
    Discriminator(_kind),
]


def choices_of(written: Choice | CommentedAnswer | Sequence[Choice | CommentedAnswer]) -> tuple[Choice, ...]:
    """Return what is chosen, one after the other."""
    answers = [written] if isinstance(written, str | CommentedAnswer) else written
    return tuple(one if isinstance(one, str) else one.choice for one in answers)


def _as_text(written: object) -> object:
    return str(written) if isinstance(written, int) and not isinstance(written, bool) else written


FaultOfCase = Annotated[
    NonEmpty,
    BeforeValidator(_as_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "timeout, reset, 429, 500, ok"}),
]


class GivenRecord(StrictModel):
    """Something that is remembered when a case begins."""

    noun: ClassVar[str] = "a record"
    text: NonEmpty = Field(description="What is remembered")
    agent: NonEmpty | None = Field(default=None, description="Whose memory it is in; the squad's where nothing is said")
    trust: Literal["user", "agent", "untrusted"] = Field(default="user", description="Who said it")


def _as_record(written: object) -> object:
    return {"text": written} if isinstance(written, str) else written


class With(StrictModel):
    """What surrounds a case."""

    noun: ClassVar[str] = "the surroundings"
    approvals: dict[NonEmpty, AnswersInOrder] | None = Field(
        default=None,
        description="A person's answer to each approval, tool or agent that asks; of a list, one after the other; "
        "what has none is left open",
    )
    people: dict[NonEmpty, list[str]] | None = Field(
        default=None, description="What a person says in each conversation, in order"
    )
    tools: dict[NonEmpty, ScriptedTool] | None = Field(default=None, description="Tools that do no work here")
    memory: list[Annotated[GivenRecord, BeforeValidator(_as_record)]] | None = Field(
        default=None, description="What is remembered when it begins; nothing where nothing is said"
    )
    workspace: WorkspaceUse | None = Field(default=None, description="Which folder agents write into; see defaults")
    faults: dict[NonEmpty, list[FaultOfCase]] | None = Field(
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
    workspace: WorkspaceUse = Field(
        default="copy",
        description="Where agents may write in the squad's workspace, each live run has a copy of the squad's folder; "
        "in_place: they write into the folder itself",
    )


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
    return file_schema(SuiteSpec, "tests")


def suite_of(parsed: ParsedFile) -> tuple[SuiteSpec, Node, list[Problem]]:
    """Return a test file's fields, its tree, and what is wrong with it so far. Wrong fields hold harmless values."""
    root = parsed.mapping()
    spec, found = validated(SuiteSpec, root, parsed.found)
    return spec, root, found
