"""The squad file as it is written: its fields, their types, and every mistake in them at once.

What fields mean together (names, order, bounds, expressions) is for `resolve.py`. A field that is wrong is reported and
then replaced by a harmless value, so that the rest of the file can be checked in the same go: see `load_spec`.
Descriptions and examples are what editors show, and what `docs/reference/squad-file.md` is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from orchestrator.squad.agent_spec import AgentSpec
from orchestrator.squad.approval_specs import ApprovalsSpec
from orchestrator.squad.conversation_spec import ConversationSpec
from orchestrator.squad.defaults_spec import Defaults
from orchestrator.squad.given import InputType
from orchestrator.squad.mcp_specs import McpSpec
from orchestrator.squad.memory_specs import KnowledgeField, MemoryField
from orchestrator.squad.other_formats import (
    INPUT_ADVICE,
    INPUT_NAMES,
    INPUT_TYPES,
    SQUAD_ADVICE,
    SQUAD_EXAMPLES,
    SQUAD_NAMES,
)
from orchestrator.squad.plan import FOR_EACH_CAP, TEXT_CAP
from orchestrator.squad.shared_spec import BudgetSpec, Expression, NonEmpty, Positive, kind_of_text_or_mapping
from orchestrator.squad.task_specs import TaskSpec
from orchestrator.squad.tool_specs import ToolEntry
from orchestrator.squad.untrusted_specs import UntrustedSpec
from orchestrator.squad.workspace import WorkspaceSpec
from providers.documents.file_schema import file_schema
from providers.documents.models import StrictModel, validated
from providers.documents.nodes import Node
from providers.documents.problems import Problem, SpecError
from providers.documents.yaml import ParsedFile, parse_file, parse_text


class InputSpec(StrictModel):
    """What a run is given from outside, with `-i NAME=VALUE` or from your program. Tasks read `${{ inputs.NAME }}`."""

    noun: ClassVar[str] = "an input"
    meant: ClassVar[str] = "default"
    other_names: ClassVar[Mapping[str, str]] = INPUT_NAMES
    advice: ClassVar[Mapping[str, str]] = INPUT_ADVICE
    value_advice: ClassVar[Mapping[str, str]] = INPUT_TYPES
    type: InputType = Field(
        default="string",
        description="What values it takes. A `file` is UTF-8 text of at most 16 MB; an `image` is PNG, JPEG, GIF or "
        "WebP of at most 20 MB.",
        examples=["list"],
    )
    default: Any = Field(
        default=None,
        description="Its value where a run is given none; of a file or an image, a path below the squad's folder. "
        "Without a default the input must be given.",
        examples=["tea", ["ann", "bob"]],
    )
    schema_: dict[str, Any] | None = Field(
        default=None,
        alias="schema",
        description="A JSON Schema that the value must satisfy.",
        examples=[{"type": "array", "maxItems": 20}],
    )
    enum: list[Any] | None = Field(
        default=None,
        min_length=1,
        description="The values that are allowed. Default: all of its type.",
        examples=[["short", "long"]],
    )
    description: str = Field(default="", description="What it is for.", examples=["What the report is about"])
    untrusted: bool | None = Field(
        default=None,
        description="Whether others wrote it: agents then read it inside a fence, and risky tools are held back after "
        "it. Default: `false`.",
        examples=[True],
    )


class LimitsSpec(StrictModel):
    """How much one list and one text of the squad may hold."""

    noun: ClassVar[str] = "limits"
    max_items: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Elements of a `for_each` whose list has no `maxItems` in a schema; a longer list fails the task. "
        f"Default: `{FOR_EACH_CAP}`.",
        examples=[5000],
    )
    max_chars: int | None = Field(
        default=None,
        ge=1000,
        le=16_000_000,
        description="Characters that one text with `${{ }}` may have; a longer one fails the task. "
        f"Default: `{TEXT_CAP}`.",
        examples=[1000000],
    )


class IncludeSpec(StrictModel):
    """Parts of the squad that stand in a file of their own, which several squads can share."""

    noun: ClassVar[str] = "an include"
    file: NonEmpty = Field(description="The path of the file, beside this one or below.", examples=["team.yaml"])
    only: list[Literal["inputs", "defaults", "tools", "mcp", "agents", "conversations"]] | None = Field(
        default=None,
        min_length=1,
        description="Which parts of it are taken. Default: all that it has.",
        examples=[["agents"]],
    )


IncludeRef = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[IncludeSpec, Tag("mapping")], Discriminator(kind_of_text_or_mapping)
]


class SquadSpec(StrictModel):
    """A squad: who works (`agents`), what is done (`tasks`), and what comes of it (`outputs`)."""

    noun: ClassVar[str] = "a squad"
    other_names: ClassVar[Mapping[str, str]] = SQUAD_NAMES
    advice: ClassVar[Mapping[str, str]] = SQUAD_ADVICE
    examples: ClassVar[Mapping[str, str]] = SQUAD_EXAMPLES
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
    version: int = Field(default=1, description="The version of the file's format: 1.", examples=[1])
    name: NonEmpty = Field(description="What the squad is called.", examples=["weekly-report"])
    description: str = Field(default="", description="What it is for.", examples=["Writes the weekly report."])
    offline: Literal["never", "auto", "always"] = Field(
        default="never",
        description="Whether the offline stub answers in place of models, at no cost, on this machine: "
        "`never`, `auto` (where no provider has a key) or `always`.",
        examples=["auto"],
    )
    include: list[IncludeRef] = Field(
        default_factory=list,
        description="Files that hold parts of the squad: agents, conversations, tools, MCP servers, inputs, defaults.",
        examples=[["team.yaml"], [{"file": "team.yaml", "only": ["agents"]}]],
    )
    inputs: dict[str, InputSpec] = Field(
        default_factory=dict,
        description="What a run is given from outside.",
        examples=[{"topic": {"type": "string", "default": "tea"}}],
    )
    defaults: Defaults = Field(
        default=Defaults(),
        description="Timeouts, retries and the like, for all tasks that say nothing themselves.",
        examples=[{"timeout": "10m", "retry": {"max_attempts": 2}}],
    )
    budget: BudgetSpec | None = Field(
        default=None, description="Caps of the whole run.", examples=[{"max_cost": 2, "on_exceed": "pause"}]
    )
    limits: LimitsSpec = Field(
        default=LimitsSpec(),
        description="Caps on the length of lists and texts.",
        examples=[{"max_items": 5000}],
    )
    max_parallel: Positive | None = Field(
        default=None,
        description="Pieces of work that are done at the same time, over the whole run. Default: `16`.",
        examples=[4],
    )
    fail_fast: bool = Field(
        default=False,
        description="Whether nothing new begins after a task has failed.",
        examples=[True],
    )
    workspace: WorkspaceSpec | None = Field(
        default=None,
        description="The folder beside this file, or below, that the tools for files work on; agents only read there "
        "unless `write` says so. Default: the run's own folder.",
        examples=[".", {"path": ".", "write": True}],
    )
    tools: dict[str, ToolEntry] = Field(
        default_factory=dict,
        description="Tools that this squad brings, by the names that agents call them by.",
        examples=[{"convert": {"python": "mytools.py:convert"}}],
    )
    memory: MemoryField | None = Field(
        default=None,
        description="Whether its agents remember over runs, and how. Default: they do not.",
        examples=[True, {"recall": 3, "ttl": "90d"}],
    )
    knowledge: KnowledgeField | None = Field(
        default=None, description="Documents that its agents may look up.", examples=["docs"]
    )
    untrusted: UntrustedSpec | None = Field(
        default=None,
        description="What happens once an agent has read text that others wrote.",
        examples=[{"risky_tools": "deny"}],
    )
    approvals: ApprovalsSpec | None = Field(
        default=None,
        description="Which tool calls a person is asked for, by what they may do.",
        examples=[{"risky": "ask", "writes": "allow"}],
    )
    mcp: dict[str, McpSpec] = Field(
        default_factory=dict,
        description="Servers of tools that agents may use, by name.",
        examples=[{"git": {"command": ["uvx", "mcp-server-git"]}}],
    )
    agents: dict[str, AgentSpec] = Field(
        default_factory=dict,
        description="Who works, by id.",
        examples=[{"mary": {"persona": "analyst"}}],
    )
    conversations: dict[str, ConversationSpec] = Field(
        default_factory=dict,
        description="Agents, and people, who talk with each other, by name.",
        examples=[{"talk": {"participants": ["ann", "bob"], "terminate": {"max_turns": 6}}}],
    )
    tasks: dict[str, TaskSpec] = Field(
        description="What is done, by id: letters, digits and `_`, not a digit first.",
        examples=[{"research": {"agent": "mary", "description": "Find out."}}],
    )
    outputs: dict[str, Expression] = Field(
        default_factory=dict,
        description="What the run results in, by name.",
        examples=[{"report": "${{ tasks.report.output }}"}],
    )


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
