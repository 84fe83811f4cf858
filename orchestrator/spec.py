"""The squad file as it is written: its fields, their types, and every mistake in them at once.

What fields mean together (names, order, bounds, expressions) is for `resolve.py`. A field that is wrong is reported and
then mended with a harmless value, so that the rest of the file can be checked in the same go: see `load_spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic_core import PydanticCustomError

from orchestrator import mistakes
from orchestrator.errors import SpecError
from orchestrator.plan import OnExceed, RetryCause
from orchestrator.problems import Problem, in_order
from orchestrator.yamltree import Node, read_text, read_tree
from providers.quantities import parse_duration


def _seconds(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("invalid-duration", "{text}", {"text": str(error)}) from None


Duration = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=str | float),
    Field(description="500ms, 5s, 10m, 2h, 3d, or a number of seconds"),
]
Positive = Annotated[int, Field(ge=1)]
PositiveTime = Annotated[Duration, Field(gt=0)]
NonEmpty = Annotated[str, Field(min_length=1)]
Expression = Annotated[NonEmpty, Field(description="Text; `${{ }}` holds an expression")]
Schema = Annotated[dict[str, Any], Field(description="A JSON Schema, draft 2020-12, in YAML")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    noun: ClassVar[str] = "this mapping"


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "text"


class ToolUse(_Part):
    """A tool, and whether a person must allow each call."""

    noun: ClassVar[str] = "a tool"
    name: NonEmpty
    approval: Literal["never", "ask"] | None = None


ToolRef = Annotated[Annotated[NonEmpty, Tag("text")] | Annotated[ToolUse, Tag("mapping")], Discriminator(_kind)]


class InputSpec(_Part):
    """What a run may be given from outside."""

    noun: ClassVar[str] = "an input"
    type: Literal["string", "integer", "number", "boolean", "list"] = "string"
    default: Any = None
    enum: list[Any] | None = Field(default=None, min_length=1, description="The values that are allowed")
    description: str = ""


class BudgetSpec(_Part):
    """Caps that no call may pass; each is reserved before a call and settled after it."""

    noun: ClassVar[str] = "a budget"
    max_cost: Annotated[float, Field(ge=0, description="USD")] | None = None
    max_tokens: Positive | None = None
    max_time: PositiveTime | None = None
    max_turns: Positive | None = None
    on_exceed: OnExceed = "stop"


class RetrySpec(_Part):
    """When failed work is tried again."""

    noun: ClassVar[str] = "a retry"
    max_attempts: Annotated[int, Field(ge=1, le=100, description="The first attempt counts too")]
    on: list[RetryCause] = Field(["rate_limit", "timeout"], min_length=1)


class HistorySpec(_Part):
    """How much of a transcript goes along."""

    noun: ClassVar[str] = "a history"
    keep_last: Positive | None = None
    summarise_over_tokens: Positive | None = None


class Defaults(_Part):
    """What tasks take where they say nothing."""

    noun: ClassVar[str] = "defaults"
    timeout: PositiveTime | None = None
    retry: RetrySpec | None = None
    history: HistorySpec | None = None
    max_parallel: Positive | None = Field(default=None, description="Elements of one for_each at work at once")


class AgentSpec(_Part):
    """A persona at work. Fields beside `persona` override it: scalars replace, lists append, maps merge."""

    noun: ClassVar[str] = "an agent"
    persona: Annotated[
        Annotated[NonEmpty, Tag("text")] | Annotated[dict[str, Any], Tag("mapping")],
        Discriminator(_kind),
        Field(description="A name of the library, a file (./mine.yaml), or a mapping"),
    ]
    name: NonEmpty | None = None
    title: NonEmpty | None = None
    role: NonEmpty | None = None
    identity: NonEmpty | None = None
    style: NonEmpty | None = None
    template: NonEmpty | None = None
    produces: list[NonEmpty] | None = None
    principles: list[NonEmpty] | None = None
    tier: NonEmpty | None = None
    model: Annotated[NonEmpty, Field(description="provider/model: pins one")] | None = None
    tools: list[ToolRef] | None = None
    max_turns: Annotated[int, Field(ge=1, le=1000)] | None = None
    budget: BudgetSpec | None = None


class TerminateSpec(_Part):
    """When a conversation ends. One condition, or several joined by `any` or `all`."""

    noun: ClassVar[str] = "a condition"
    any: list[TerminateSpec] | None = Field(default=None, min_length=1)
    all: list[TerminateSpec] | None = Field(default=None, min_length=1)
    max_turns: Positive | None = None
    text: NonEmpty | None = None
    from_: NonEmpty | None = Field(default=None, alias="from", description="Whose text counts; with `text` only")
    no_progress_rounds: Positive | None = None
    tokens: Positive | None = None
    time: PositiveTime | None = None
    function: NonEmpty | None = Field(default=None, description="A name that the embedding application registered")


class ConversationSpec(_Part):
    """Agents, and people, who talk until a condition holds."""

    noun: ClassVar[str] = "a conversation"
    pattern: Literal["round_robin", "party", "selector", "handoff", "debate", "hierarchical"] = "round_robin"
    participants: list[NonEmpty] = Field(min_length=1)
    moderator: NonEmpty | None = None
    speakers_per_round: Positive | None = None
    independent_first_round: bool = False
    terminate: TerminateSpec
    budget: BudgetSpec | None = None


class ApprovalSpec(_Part):
    """A question to a person."""

    noun: ClassVar[str] = "an approval"
    prompt: Expression
    show: list[NonEmpty] = Field(default_factory=list)
    choices: list[Literal["approve", "revise", "reject"]] = Field(["approve", "reject"], min_length=1)
    timeout: PositiveTime | None = None
    on_timeout: Literal["pause", "approve", "reject"] = "pause"


class ReviseSpec(_Part):
    """What runs again when a person asks for changes."""

    noun: ClassVar[str] = "an on_revise"
    rerun: list[NonEmpty] = Field(min_length=1)
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None


class RepeatSpec(_Part):
    """Work that is done again until a condition holds."""

    noun: ClassVar[str] = "a repeat"
    until: Expression
    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = None


class StepSpec(_Part):
    """One piece of a task's work; later steps see it as `steps.<id>.output`."""

    noun: ClassVar[str] = "a step"
    id: NonEmpty
    agent: NonEmpty | None = None
    conversation: NonEmpty | None = None
    description: Expression | None = None
    expected_output: Expression | None = None
    output_schema: Schema | None = None
    tools: list[ToolRef] | None = None
    timeout: PositiveTime | None = None
    if_: Expression | None = Field(default=None, alias="if")


class TaskSpec(_Part):
    """Work with one result. It has exactly one of agent, conversation, approval and steps."""

    noun: ClassVar[str] = "a task"
    agent: NonEmpty | None = None
    conversation: NonEmpty | None = None
    approval: ApprovalSpec | None = None
    steps: list[StepSpec] | None = Field(default=None, min_length=1)
    description: Expression | None = None
    expected_output: Expression | None = None
    output_schema: Schema | None = None
    output_file: Expression | None = None
    needs: list[NonEmpty] | None = Field(default=None, description="Tasks that must end first")
    context: list[NonEmpty] | None = Field(default=None, description="Ancestors whose outputs are read; default: needs")
    if_: Expression | None = Field(default=None, alias="if")
    for_each: Expression | None = Field(default=None, description="An expression that gives a list")
    as_: NonEmpty | None = Field(default=None, alias="as", description="The name of one element; default: item")
    key: Expression | None = Field(default=None, description="What identifies an element, on resume and in the cache")
    max_parallel: Positive | None = None
    fail_fast: bool | None = None
    repeat: RepeatSpec | None = None
    retry: RetrySpec | None = None
    timeout: PositiveTime | None = None
    budget: BudgetSpec | None = None
    continue_on_error: bool = False
    tools: list[ToolRef] | None = None
    cache: bool | None = Field(default=None, description="Only false: results are kept by the run, not across runs")
    on_revise: ReviseSpec | None = None


class SquadSpec(_Part):
    """A squad and what it does."""

    noun: ClassVar[str] = "a squad"
    version: int = 1
    name: NonEmpty
    description: str = ""
    offline: Literal["never", "auto", "always"] = "never"
    inputs: dict[str, InputSpec] = Field(default_factory=dict)
    defaults: Defaults = Defaults()
    budget: BudgetSpec | None = None
    max_parallel: Positive | None = Field(default=None, description="Units at work at once, over the whole run")
    fail_fast: bool = Field(default=False, description="Whether the first failed task stops what has not started yet")
    agents: dict[str, AgentSpec] = Field(default_factory=dict)
    conversations: dict[str, ConversationSpec] = Field(default_factory=dict)
    tasks: dict[str, TaskSpec]
    outputs: dict[str, Expression] = Field(default_factory=dict)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a squad file, for editors."""
    schema = SquadSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Squad"}


def load_spec(path: str | FilePath) -> tuple[SquadSpec, Node, list[Problem]]:
    """Return a squad file's fields, its tree, and what is wrong with it so far: hand all three to `resolve`.

    Raises `SpecError` where the file cannot be read as YAML at all. Wrong fields hold harmless values.
    """
    return parse_spec(read_text(path), str(path))


def parse_spec(text: str, file: str) -> tuple[SquadSpec, Node, list[Problem]]:
    """Return what `load_spec` returns, of a text."""
    problems: list[Problem] = []
    root = read_tree(text, file, problems)
    if not isinstance(root.value, Mapping):
        raise SpecError(
            [root.problem((), "wrong-type", "a squad is a mapping: `name: ...`, `agents: ...`, `tasks: ...`")]
        )
    data, is_whole = root.plain(), not problems
    for mended in range(_MENDINGS):
        try:
            return SquadSpec.model_validate(data), root, in_order(problems)
        except ValidationError as error:
            wrong = [(mistakes.path_of(data, detail["loc"]), detail) for detail in error.errors(include_url=False)]
        if not mended:  # later rounds find only what the mending did
            found = mistakes.problems(root, SquadSpec, wrong)
            problems += found if is_whole else [p for p in found if p.code != "missing-field"]
        for path, detail in wrong:
            mistakes.mend(data, path, detail["type"])
    raise AssertionError(f"{file}: its mistakes cannot be mended")


_MENDINGS = 60
"""Each round mends at least one level of the tree, and the tree has fewer."""
