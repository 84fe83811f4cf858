"""An agent as a squad file writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from orchestrator.squad.approval_specs import ApprovalsSpec
from orchestrator.squad.guardrail_specs import GuardrailsSpec
from orchestrator.squad.memory_specs import KnowledgeField, MemoryField
from orchestrator.squad.other_formats import AGENT_ADVICE, AGENT_NAMES, EXAMPLES
from orchestrator.squad.shared_spec import BudgetSpec, NonEmpty, Positive, kind_of_text_or_mapping
from orchestrator.squad.tool_specs import ToolRef
from orchestrator.squad.untrusted_specs import UntrustedSpec
from personas.persona import PersonaSpec
from providers.documents.models import StrictModel


def _as_it_is(value: object) -> object:
    return value


InlinePersona = Annotated[
    dict[str, Any], BeforeValidator(_as_it_is, json_schema_input_type=PersonaSpec), Tag("mapping")
]
"""Its fields are checked where the persona is made, with those that it extends; editors check them here."""


class AgentSpec(StrictModel):
    """Who works: a prompt (a persona, your own words, or both), the models that may answer, and the tools that it may
    call. Fields beside `persona` override it: texts and numbers replace, lists append, mappings merge. A `title` or a
    `role` of its own makes another person of it, without the persona's habits."""

    noun: ClassVar[str] = "an agent"
    meant: ClassVar[str] = "persona"
    other_names: ClassVar[Mapping[str, str]] = AGENT_NAMES
    advice: ClassVar[Mapping[str, str]] = AGENT_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    persona: (
        Annotated[Annotated[NonEmpty, Tag("text")] | InlinePersona, Discriminator(kind_of_text_or_mapping)] | None
    ) = Field(
        default=None,
        description="Who it is: a name of the library (`orchestrator personas ls`) or of `personas/` beside the "
        "squad, a file, or a mapping of a persona's fields.",
        examples=["analyst", "./personas/ann.yaml", {"extends": "analyst", "title": "Chief Analyst"}],
    )
    name: NonEmpty | None = Field(
        default=None,
        description="What it is called, in prompts and in conversations. Default: the persona's name, else its id.",
        examples=["Mary"],
    )
    title: NonEmpty | None = Field(
        default=None, description="Its profession, in a few words. Default: the persona's.", examples=["Tax Lawyer"]
    )
    role: NonEmpty | None = Field(
        default=None,
        description="What it is responsible for, in a sentence. Default: the persona's.",
        examples=["Find what is wrong with a plan while it can still be changed."],
    )
    goal: NonEmpty | None = Field(
        default=None,
        description="What it works towards. Default: the persona's.",
        examples=["Three objections that would change the decision, or none."],
    )
    identity: NonEmpty | None = Field(
        default=None,
        description="Its background and how it thinks; elsewhere a `backstory`. Default: the persona's.",
        examples=["Twenty years of audits; trusts figures, not words."],
    )
    style: NonEmpty | None = Field(
        default=None, description="How it speaks. Default: the persona's.", examples=["Short sentences. No praise."]
    )
    instructions: NonEmpty | None = Field(
        default=None,
        description="A prompt of its own, or the path of a file with one (`.md`, `.markdown`, `.txt`, `.prompt`). "
        "Without a persona and a role it is all that the model is told; beside them it is a section at the end.",
        examples=["Answer in one sentence.", "./prompts/ann.md"],
    )
    template: NonEmpty | None = Field(
        default=None,
        description="The template that makes a prompt of the persona: a packaged one's name, or its own text with `{{ "
        "}}`. Default: the persona's.",
        examples=["You are {{ persona.title }}. {{ instructions }}"],
    )
    produces: list[NonEmpty] | None = Field(
        default=None,
        description="What it makes, added to what its persona makes.",
        examples=[["A list of risks"]],
    )
    principles: list[NonEmpty] | None = Field(
        default=None,
        description="What it holds to, a sentence each, added to those of its persona.",
        examples=[["Say where each figure comes from."]],
    )
    tier: NonEmpty | None = Field(
        default=None,
        description="The class of models that answers: `boss`, `creative`, `worker`, or one of your routing file. "
        "Default: the persona's, else the routing file's `default`.",
        examples=["worker"],
    )
    model: (
        Annotated[
            Annotated[NonEmpty, Tag("text")] | Annotated[list[NonEmpty], Field(min_length=1), Tag("list")],
            Discriminator(lambda value: "list" if isinstance(value, list) else "text"),
        ]
        | None
    ) = Field(
        default=None,
        description="The model that answers, as `provider/model`; several are asked in their order. Default: those of "
        "its tier.",
        examples=["groq/openai/gpt-oss-120b", ["openai/gpt-6.1-sol", "groq/openai/gpt-oss-120b"]],
    )
    tools: list[ToolRef] | None = Field(
        default=None,
        description="Tools that it may call, beside those of its persona: built-in ones, those of `tools:`, and those "
        "of an MCP server (`git/log`). Default: those of the persona.",
        examples=[["read_file", "git/log", {"name": "edit_file", "approval": "ask"}]],
    )
    mcp: list[NonEmpty] | None = Field(
        default=None, description="MCP servers of the squad; it may call all of their tools.", examples=[["git"]]
    )
    max_turns: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Model calls for one piece of work; in the last one it is asked for its answer. Default: `16`.",
        examples=[8],
    )
    max_output_tokens: Positive | None = Field(
        default=None,
        description="Tokens of one answer, its thoughts included. A longer answer is cut off, and the run says so. "
        "Default: what the model and the budget allow.",
        examples=[4000],
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None,
        description="How much answers vary. It is not sent to models that take none. Default: the model's own.",
        examples=[0.2],
    )
    effort: Literal["low", "medium", "high"] | None = Field(
        default=None,
        description="How much a model that reasons should think. It is not sent to others. Default: the model's own.",
        examples=["high"],
    )
    memory: MemoryField | None = Field(
        default=None,
        description="Whether it remembers over runs, and how; `false` takes the squad's memory from it. Default: the "
        "squad's.",
        examples=[True, {"scope": "agent", "ttl": "90d"}],
    )
    knowledge: KnowledgeField | None = Field(
        default=None,
        description="Documents that it may look up, beside those of the squad.",
        examples=["docs", [{"path": "contracts", "include": ["*.md"]}]],
    )
    untrusted: UntrustedSpec | None = Field(
        default=None,
        description="What happens once it has read text that others wrote. Default: the squad's.",
        examples=[{"risky_tools": "deny"}],
    )
    approvals: ApprovalsSpec | None = Field(
        default=None,
        description="Which of its tool calls a person is asked for. Default: the squad's.",
        examples=[{"writes": "ask"}],
    )
    guardrails: GuardrailsSpec | None = Field(
        default=None,
        description="Checks of its input and of its answers.",
        examples=[{"output": [{"max_words": 300, "on_fail": "retry"}]}],
    )
    budget: BudgetSpec | None = Field(
        default=None, description="Caps over all its work in a run.", examples=[{"max_cost": 0.50}]
    )

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it names."""
        return () if self.model is None else (self.model,) if isinstance(self.model, str) else tuple(self.model)
