"""The squad file as it is written: its fields, their types, and every mistake in them at once.

What fields mean together (names, order, bounds, expressions) is for `resolve.py`. A field that is wrong is reported and
then replaced by a harmless value, so that the rest of the file can be checked in the same go: see `load_spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from agents.summaries import LEAST
from orchestrator.squad.approval_specs import ApprovalsSpec
from orchestrator.squad.conversation_spec import ConversationSpec
from orchestrator.squad.given import InputType
from orchestrator.squad.guardrail_specs import GuardrailsSpec
from orchestrator.squad.mcp_specs import McpSpec
from orchestrator.squad.memory_specs import KnowledgeField, MemoryField
from orchestrator.squad.other_formats import (
    AGENT_ADVICE,
    AGENT_NAMES,
    CASE_ADVICE,
    CASE_NAMES,
    EXAMPLES,
    SQUAD_ADVICE,
    SQUAD_NAMES,
    STEP_ADVICE,
    STEP_NAMES,
    TASK_ADVICE,
    TASK_NAMES,
)
from orchestrator.squad.plan import FOR_EACH_CAP, TEXT_CAP, RetryCause
from orchestrator.squad.shared_spec import BudgetSpec, NonEmpty, Positive
from orchestrator.squad.tool_specs import ToolEntry
from orchestrator.squad.untrusted_specs import UntrustedSpec
from orchestrator.squad.workspace import WorkspaceSpec
from providers.documents.fields import PositiveDuration
from providers.documents.file_schema import file_schema
from providers.documents.models import StrictModel, validated
from providers.documents.nodes import Node
from providers.documents.problems import Problem, SpecError
from providers.documents.yaml import ParsedFile, parse_file, parse_text

Expression = Annotated[NonEmpty, Field(description="Text; `${{ }}` holds an expression")]


def _condition(value: object) -> object:
    return f"${{{{ {str(value).lower()} }}}}" if isinstance(value, bool) else value


Condition = Annotated[Expression, BeforeValidator(_condition, json_schema_input_type=bool | str)]
"""An expression, or `true` or `false` as YAML has them."""


def _as_it_is(value: object) -> object:
    return value


Schema = Annotated[dict[str, Any], BeforeValidator(_as_it_is, json_schema_input_type=dict[str, Any] | str)]
"""A JSON Schema; what names its file was replaced by what that holds before fields are read."""


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "text"


ContextTokens = Annotated[int, Field(ge=256)]
"""Less than that says nothing of several texts."""


class ToolUse(StrictModel):
    """A tool, or an agent as one, and whether a person must allow each call."""

    noun: ClassVar[str] = "a tool"
    name: NonEmpty | None = Field(default=None, description="The name in the registry; of an agent, what it is called")
    agent: NonEmpty | None = Field(default=None, description="An agent of the squad, which does tasks for this one")
    description: NonEmpty | None = Field(default=None, description="What the agent is for, as the model reads it")
    approval: Literal["never", "ask"] | None = Field(default=None, description="ask: a person allows each call")


ToolRef = Annotated[Annotated[NonEmpty, Tag("text")] | Annotated[ToolUse, Tag("mapping")], Discriminator(_kind)]


class InputSpec(StrictModel):
    """What a run may be given from outside."""

    noun: ClassVar[str] = "an input"
    meant: ClassVar[str] = "default"
    type: InputType = Field(default="string", description="What values it takes")
    default: Any = Field(
        default=None, description="Without one the input must be given; of a file or an image: a path below the squad's"
    )
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="A JSON Schema that the value must satisfy"
    )
    enum: list[Any] | None = Field(default=None, min_length=1, description="The values that are allowed")
    description: str = Field(default="", description="What it is for")
    untrusted: bool | None = Field(default=None, description="Whether others wrote it: agents read it inside a fence")


class RetrySpec(StrictModel):
    """When failed work is tried again."""

    noun: ClassVar[str] = "a retry"
    max_attempts: Annotated[int, Field(ge=1, le=100, description="The first attempt counts too")]
    on: list[RetryCause] = Field(
        ["rate_limit", "timeout"], min_length=1, description="What is tried again; truncated: cut off texts"
    )


def _share_or_tokens(value: object) -> object:
    """Return a share of a room (at most 1), whole tokens, or `off`, which other YAML takes for false."""
    if value is False or value == "off":
        return "off"
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not is_number or not (0 < value <= 1 or (value >= LEAST and value == int(value))):  # type: ignore[operator, call-overload]
        raise ValueError(f"takes a share of the model's room (0.8), tokens ({LEAST} or more), or off")
    return value if value <= 1 else int(value)  # type: ignore[operator, call-overload]


CompactAt = Annotated[int | float | Literal["off"], BeforeValidator(_share_or_tokens)]


class HistorySpec(StrictModel):
    """How much of a transcript goes along."""

    noun: ClassVar[str] = "a history"
    keep_last: Positive | None = Field(default=None, description="Messages that go along word for word")
    summarise_over_tokens: Positive | None = Field(default=None, description="Beyond this, older ones are summarised")
    compact_at: CompactAt | None = Field(
        default=None, description="When older ones are summarised: a share of the model's room (0.8), tokens, or off"
    )


class ContextSpec(StrictModel):
    """How much of other tasks' outputs a task reads."""

    noun: ClassVar[str] = "a context"
    max_tokens: ContextTokens | None = Field(default=None, description="Beyond this, long outputs are shortened for it")


class Defaults(StrictModel):
    """What tasks take where they say nothing."""

    noun: ClassVar[str] = "defaults"
    timeout: PositiveDuration | None = Field(default=None, description="Of one task")
    retry: RetrySpec | None = Field(default=None, description="Of one task")
    history: HistorySpec | None = Field(default=None, description="Of conversations, and of long work with tools")
    context: ContextSpec | None = Field(default=None, description="Of one task")
    max_parallel: Positive | None = Field(default=None, description="Elements of one for_each at work at once")


class AgentSpec(StrictModel):
    """Who works. Fields beside `persona` override it: scalars replace, lists append, maps merge.

    One without a persona says itself who it is: by a role, a goal, or instructions alone.
    """

    noun: ClassVar[str] = "an agent"
    meant: ClassVar[str] = "persona"
    other_names: ClassVar[Mapping[str, str]] = AGENT_NAMES
    advice: ClassVar[Mapping[str, str]] = AGENT_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    persona: (
        Annotated[
            Annotated[NonEmpty, Tag("text")] | Annotated[dict[str, Any], Tag("mapping")],
            Discriminator(_kind),
        ]
        | None
    ) = Field(
        default=None,
        description="A name of the library or of personas/ beside the squad, a file (./mine.md), or a mapping",
    )
    name: NonEmpty | None = Field(default=None, description="What it is called")
    title: NonEmpty | None = Field(default=None, description="What it is")
    role: NonEmpty | None = Field(default=None, description="What it is responsible for")
    goal: NonEmpty | None = Field(default=None, description="What it works towards")
    identity: NonEmpty | None = Field(default=None, description="Who it is and how it thinks")
    style: NonEmpty | None = Field(default=None, description="How it speaks")
    instructions: NonEmpty | None = Field(
        default=None,
        description="A prompt of its own, or its file (./ann.md); without persona, role and goal all that is told",
    )
    template: NonEmpty | None = Field(default=None, description="The template that its persona is told by")
    produces: list[NonEmpty] | None = Field(default=None, description="What else it makes")
    principles: list[NonEmpty] | None = Field(default=None, description="What else it holds to")
    tier: NonEmpty | None = Field(default=None, description="The class of models that it needs")
    model: (
        Annotated[
            Annotated[NonEmpty, Tag("text")] | Annotated[list[NonEmpty], Field(min_length=1), Tag("list")],
            Discriminator(lambda value: "list" if isinstance(value, list) else "text"),
        ]
        | None
    ) = Field(default=None, description="provider/model: pins one; several are asked in their order")
    tools: list[ToolRef] | None = Field(default=None, description="Tools beside those of its persona")
    mcp: list[NonEmpty] | None = Field(default=None, description="MCP servers: all of their tools")
    max_turns: int | None = Field(default=None, ge=1, le=1000, description="Model calls for one piece of work")
    max_output_tokens: Positive | None = Field(default=None, description="Tokens of one answer, its thoughts included")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="From 0 to 2; models that take none are sent none"
    )
    effort: Literal["low", "medium", "high"] | None = Field(
        default=None, description="How much a model that reasons should think; others are sent none"
    )
    memory: MemoryField | None = Field(default=None, description="Whether it remembers over runs, and how")
    knowledge: KnowledgeField | None = Field(default=None, description="Documents that it may look up, too")
    untrusted: UntrustedSpec | None = Field(default=None, description="What follows from reading what others wrote")
    approvals: ApprovalsSpec | None = Field(default=None, description="Who is asked before its tools are called")
    guardrails: GuardrailsSpec | None = Field(default=None, description="What is checked of its briefs and answers")
    budget: BudgetSpec | None = Field(default=None, description="Caps over all its work in a run")

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it names."""
        return () if self.model is None else (self.model,) if isinstance(self.model, str) else tuple(self.model)


class ApprovalSpec(StrictModel):
    """A question to a person."""

    noun: ClassVar[str] = "an approval"
    prompt: Expression
    show: list[NonEmpty] = Field(default_factory=list, description="Tasks whose outputs the person reads")
    choices: list[Literal["approve", "revise", "reject"]] = Field(
        ["approve", "reject"], min_length=1, description="What may be answered"
    )
    timeout: PositiveDuration | None = Field(default=None, description="How long to wait for an answer")
    on_timeout: Literal["pause", "approve", "reject"] = Field(default="pause", description="What happens then")


class ReviseSpec(StrictModel):
    """What runs again when a person asks for changes."""

    noun: ClassVar[str] = "an on_revise"
    rerun: list[NonEmpty] = Field(min_length=1, description="Ancestors that run again with the comment")
    max_attempts: int | None = Field(default=None, ge=1, le=100, description="How often; required")


class RepeatSpec(StrictModel):
    """Work that is done again until a condition holds."""

    noun: ClassVar[str] = "a repeat"
    until: Condition = Field(description="Done when this holds")
    max_attempts: int | None = Field(default=None, ge=1, le=1000, description="How often at most; required")


class StepSpec(StrictModel):
    """One piece of a task's work; later steps see it as `steps.<id>.output`."""

    noun: ClassVar[str] = "a step"
    other_names: ClassVar[Mapping[str, str]] = STEP_NAMES
    advice: ClassVar[Mapping[str, str]] = STEP_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    id: NonEmpty = Field(description="Its name in expressions")
    agent: NonEmpty | None = Field(default=None, description="Who does it; `${{ }}` chooses one when the work begins")
    agents: list[NonEmpty] | None = Field(
        default=None, min_length=1, description="Those that an `agent` in `${{ }}` may come to; default: all"
    )
    conversation: NonEmpty | None = Field(default=None, description="Or the conversation that does it")
    description: Expression | None = Field(default=None, description="What to do")
    expected_output: Expression | None = Field(default=None, description="What the result looks like")
    output_schema: Schema | None = Field(
        default=None, description="What the output must be: a JSON Schema, or its file (./story.schema.json)"
    )
    tools: list[ToolRef] | None = Field(default=None, description="Instead of the agent's own")
    guardrails: GuardrailsSpec | None = Field(default=None, description="What is checked here beside the agent's own")
    timeout: PositiveDuration | None = Field(default=None, description="Of this step")
    if_: Condition | None = Field(default=None, alias="if", description="Skipped where this does not hold")


class CaseSpec(StrictModel):
    """What is done in one case of a switch. It has exactly one of agent, conversation, steps and squad."""

    noun: ClassVar[str] = "a case"
    other_names: ClassVar[Mapping[str, str]] = CASE_NAMES
    advice: ClassVar[Mapping[str, str]] = CASE_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    agent: NonEmpty | None = Field(default=None, description="Who does it; `${{ }}` chooses one when the work begins")
    agents: list[NonEmpty] | None = Field(
        default=None, min_length=1, description="Those that an `agent` in `${{ }}` may come to; default: all"
    )
    conversation: NonEmpty | None = Field(default=None, description="Or the conversation that does it")
    steps: list[StepSpec] | None = Field(default=None, min_length=1, description="Or the pieces that are done in turn")
    description: Expression | None = Field(default=None, description="What to do")
    expected_output: Expression | None = Field(default=None, description="What the result looks like")
    output_schema: Schema | None = Field(
        default=None, description="What the output must be: a JSON Schema, or its file (./story.schema.json)"
    )
    tools: list[ToolRef] | None = Field(default=None, description="Instead of the agent's own")
    guardrails: GuardrailsSpec | None = Field(default=None, description="What is checked here beside the agent's own")
    squad: NonEmpty | None = Field(default=None, description="Or another squad: its file, beside this one or below")
    with_: dict[str, Any] | None = Field(default=None, alias="with", description="What that squad is given, by input")


class SwitchSpec(StrictModel):
    """One of several pieces of work, by what an expression comes to."""

    noun: ClassVar[str] = "a switch"
    on: Expression = Field(description="An expression: the text of its value names the case")
    cases: dict[str, CaseSpec] = Field(min_length=1, description="What is done, by value; `default` is all others")


class TaskSpec(StrictModel):
    """Work with one result. It has exactly one of agent, conversation, approval, steps, switch and squad."""

    noun: ClassVar[str] = "a task"
    meant: ClassVar[str] = "description"
    other_names: ClassVar[Mapping[str, str]] = TASK_NAMES
    advice: ClassVar[Mapping[str, str]] = TASK_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    agent: NonEmpty | None = Field(default=None, description="Who does it; `${{ }}` chooses one when the work begins")
    agents: list[NonEmpty] | None = Field(
        default=None, min_length=1, description="Those that an `agent` in `${{ }}` may come to; default: all"
    )
    conversation: NonEmpty | None = Field(default=None, description="Or the conversation that does it")
    approval: ApprovalSpec | None = Field(default=None, description="Or the question that a person answers")
    steps: list[StepSpec] | None = Field(default=None, min_length=1, description="Or the pieces that are done in turn")
    switch: SwitchSpec | None = Field(default=None, description="Or one of several, by what an expression comes to")
    squad: NonEmpty | None = Field(default=None, description="Or another squad: its file, beside this one or below")
    with_: dict[str, Any] | None = Field(default=None, alias="with", description="What that squad is given, by input")
    description: Expression | None = Field(default=None, description="What to do")
    expected_output: Expression | None = Field(default=None, description="What the result looks like")
    output_schema: Schema | None = Field(
        default=None, description="What the output must be: a JSON Schema, or its file (./story.schema.json)"
    )
    output_file: Expression | None = Field(
        default=None, description="Where the result is written, inside the run's folder"
    )
    needs: list[NonEmpty] | None = Field(default=None, description="Tasks that must end first")
    context: list[NonEmpty] | None = Field(default=None, description="Ancestors whose outputs are read; default: needs")
    context_max_tokens: ContextTokens | None = Field(
        default=None, description="Of the outputs that it reads; longer ones are shortened for it by a cheap model"
    )
    if_: Condition | None = Field(default=None, alias="if", description="Skipped where this does not hold")
    for_each: Expression | None = Field(default=None, description="An expression that gives a list")
    as_: NonEmpty | None = Field(default=None, alias="as", description="The name of one element; default: item")
    key: Expression | None = Field(default=None, description="What identifies an element, on resume and in the cache")
    max_parallel: Positive | None = Field(default=None, description="Elements at work at once")
    fail_fast: bool | None = Field(default=None, description="Whether the first failed element stops the others")
    repeat: RepeatSpec | None = Field(default=None, description="Done again until a condition holds")
    retry: RetrySpec | None = Field(default=None, description="When failed work is tried again")
    timeout: PositiveDuration | None = Field(default=None, description="Of one attempt")
    budget: BudgetSpec | None = Field(
        default=None, description="Caps of this task, all elements of its `for_each` together"
    )
    continue_on_error: bool = Field(default=False, description="Whether tasks that need this one go on where it fails")
    tools: list[ToolRef] | None = Field(default=None, description="Instead of the agent's own")
    guardrails: GuardrailsSpec | None = Field(default=None, description="What is checked here beside the agent's own")
    cache: bool | None = Field(default=None, description="Only false: results are kept by the run, not across runs")
    on_revise: ReviseSpec | None = Field(default=None, description="What the choice revise does")


class LimitsSpec(StrictModel):
    """How much one list and one text of the squad may hold."""

    noun: ClassVar[str] = "limits"
    max_items: int | None = Field(
        default=None, ge=1, le=100_000, description=f"Elements of a for_each without maxItems; default {FOR_EACH_CAP:,}"
    )
    max_chars: int | None = Field(
        default=None, ge=1000, le=16_000_000, description=f"Characters that one text comes to; default {TEXT_CAP:,}"
    )


class IncludeSpec(StrictModel):
    """Parts of the squad that stand in a file of their own."""

    noun: ClassVar[str] = "an include"
    file: NonEmpty = Field(description="The path of the file, beside this one or below")
    only: list[Literal["inputs", "defaults", "tools", "mcp", "agents", "conversations"]] | None = Field(
        default=None, min_length=1, description="What to take of it; default: all that it has"
    )


IncludeRef = Annotated[Annotated[NonEmpty, Tag("text")] | Annotated[IncludeSpec, Tag("mapping")], Discriminator(_kind)]


class SquadSpec(StrictModel):
    """A squad and what it does."""

    noun: ClassVar[str] = "a squad"
    other_names: ClassVar[Mapping[str, str]] = SQUAD_NAMES
    advice: ClassVar[Mapping[str, str]] = SQUAD_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    placeholders: ClassVar[Mapping[str, Any]] = {
        "name": "?",
        "id": "?",
        "prompt": "?",
        "until": "?",
        "on": "?",
        "cases": {"default": {}},
        "participants": ["?"],
        "rerun": ["?"],
        "terminate": {"max_turns": 1},
        "max_attempts": 1,
        "tasks": {},
    }
    version: int = Field(default=1, description="Of the format: 1")
    name: NonEmpty = Field(description="What the squad is called")
    description: str = Field(default="", description="What it is for")
    offline: Literal["never", "auto", "always"] = Field(
        default="never", description="Whether the offline stub may answer"
    )
    include: list[IncludeRef] = Field(default_factory=list, description="Files that hold parts of the squad")
    inputs: dict[str, InputSpec] = Field(default_factory=dict, description="What a run is given")
    defaults: Defaults = Field(default=Defaults(), description="What tasks take where they say nothing")
    budget: BudgetSpec | None = Field(default=None, description="Caps of the whole run")
    limits: LimitsSpec = Field(default=LimitsSpec(), description="How much one list and one text may hold")
    max_parallel: Positive | None = Field(default=None, description="Units at work at once, over the whole run")
    fail_fast: bool = Field(default=False, description="Whether the first failed task stops what has not started yet")
    workspace: WorkspaceSpec | None = Field(
        default=None, description="The folder beside this file that the tools for files work on; read-only unless said"
    )
    tools: dict[str, ToolEntry] = Field(default_factory=dict, description="Tools that this squad brings")
    memory: MemoryField | None = Field(default=None, description="Whether its agents remember over runs, and how")
    knowledge: KnowledgeField | None = Field(default=None, description="Documents that its agents may look up")
    untrusted: UntrustedSpec | None = Field(default=None, description="What follows from reading what others wrote")
    approvals: ApprovalsSpec | None = Field(default=None, description="Who is asked before tools are called")
    mcp: dict[str, McpSpec] = Field(default_factory=dict, description="Servers of tools that agents may use")
    agents: dict[str, AgentSpec] = Field(default_factory=dict, description="Who works")
    conversations: dict[str, ConversationSpec] = Field(default_factory=dict, description="Who talks")
    tasks: dict[str, TaskSpec] = Field(description="What is done")
    outputs: dict[str, Expression] = Field(default_factory=dict, description="What the run results in")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a squad file, for editors."""
    return file_schema(SquadSpec, "squad")


def load_spec(path: str | FilePath) -> tuple[SquadSpec, Node, list[Problem]]:
    """Return a squad file's fields, its tree, and what is wrong with it so far: hand all three to `resolve`.

    Raises `SpecError` where the file cannot be read as YAML at all. Wrong fields hold harmless values.
    """
    return spec_of(parse_file(path))


def parse_spec(text: str, file: str) -> tuple[SquadSpec, Node, list[Problem]]:
    """Return what `load_spec` returns, of a text."""
    return spec_of(parse_text(text, file))


def spec_of(parsed: ParsedFile) -> tuple[SquadSpec, Node, list[Problem]]:
    """Return what `load_spec` returns, of a file that was parsed before."""
    root = parsed.root
    if not isinstance(root.value, Mapping):
        raise SpecError(
            [root.problem((), "wrong-type", "a squad is a mapping: `name: ...`, `agents: ...`, `tasks: ...`")]
        )
    spec, found = validated(SquadSpec, root, parsed.found)
    return spec, root, found
