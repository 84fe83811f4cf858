"""A task as a squad file writes it: its steps, the cases of a switch, the question of an approval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from orchestrator.squad.defaults_spec import RetrySpec
from orchestrator.squad.guardrail_specs import GuardrailsSpec
from orchestrator.squad.other_formats import (
    APPROVAL_NAMES,
    CASE_ADVICE,
    CASE_NAMES,
    EXAMPLES,
    REPEAT_NAMES,
    STEP_ADVICE,
    STEP_NAMES,
    SWITCH_ADVICE,
    SWITCH_NAMES,
    TASK_ADVICE,
    TASK_NAMES,
)
from orchestrator.squad.shared_spec import (
    BudgetSpec,
    Condition,
    ContextTokens,
    Expression,
    NonEmpty,
    Positive,
    Schema,
)
from orchestrator.squad.tool_specs import ToolRef
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel

AgentField = Annotated[
    NonEmpty | None,
    Field(
        description="The agent that does it. `${{ }}` chooses one when the work begins.",
        examples=["mary", "${{ tasks.triage.output.who }}"],
    ),
]
AgentsField = Annotated[
    list[NonEmpty] | None,
    Field(
        min_length=1,
        description="The agents that an `agent` in `${{ }}` may choose. Default: what a schema lists, else all.",
        examples=[["billing", "tech"]],
    ),
]
ConversationField = Annotated[
    NonEmpty | None, Field(description="Or the conversation that does it.", examples=["review"])
]
DescriptionField = Annotated[
    Expression | None,
    Field(
        description="What to do. The outputs of the tasks in `context` are put before it.",
        examples=["Write a summary of ${{ inputs.topic }}."],
    ),
]
ExpectedOutputField = Annotated[
    Expression | None,
    Field(description="What a good result looks like, in words.", examples=["Five bullet points, no heading."]),
]
OutputSchemaField = Annotated[
    Schema | None,
    Field(
        description="What the output must be: a JSON Schema, or its file. The output is then the value, whose fields "
        "later tasks read; an answer that breaks it goes back with what is wrong. Default: any text.",
        examples=["./story.schema.json", {"type": "object", "properties": {"ok": {"type": "boolean"}}}],
    ),
]
OwnToolsField = Annotated[
    list[ToolRef] | None,
    Field(
        description="The tools here, in place of the agent's own. Default: the agent's own.", examples=[["read_file"]]
    ),
]
MoreGuardrailsField = Annotated[
    GuardrailsSpec | None,
    Field(
        description="What is checked here, beside the agent's own guardrails.",
        examples=[{"output": [{"max_words": 300, "on_fail": "retry"}]}],
    ),
]
InnerSquadField = Annotated[
    NonEmpty | None,
    Field(description="Or another squad: its file, beside this one or below.", examples=["review.yaml"]),
]
InnerInputsField = Annotated[
    dict[str, Any] | None,
    Field(
        description="What that squad is given, by the names of its inputs.",
        examples=[{"draft": "${{ tasks.draft.output }}"}],
    ),
]
ResultField = Annotated[
    NonEmpty | None,
    Field(
        description="Of `steps`: the step whose output is the output of all, and what `output_file` holds. Default: a "
        "mapping of each step's `id` to its output.",
        examples=["draft"],
    ),
]
IfField = Annotated[
    Condition | None,
    Field(
        description="It is skipped where this does not hold. Default: it is done.",
        examples=["${{ tasks.check.output.ok }}"],
    ),
]


class ApprovalSpec(StrictModel):
    """A question to a person. The run waits for the answer, at its terminal or for days; `reject` ends the run."""

    noun: ClassVar[str] = "an approval"
    other_names: ClassVar[Mapping[str, str]] = APPROVAL_NAMES
    prompt: Expression = Field(description="The question.", examples=["Publish ${{ inputs.topic }}?"])
    show: list[NonEmpty] = Field(
        default_factory=list,
        description="Earlier tasks whose outputs the person reads beside the question.",
        examples=[["draft"]],
    )
    choices: list[Literal["approve", "revise", "reject"]] = Field(
        ["approve", "reject"],
        min_length=1,
        description="The answers that may be given. `approve` must be among them; `revise` needs `on_revise` at the "
        "task, and comes with it where nothing is said here.",
        examples=[["approve", "revise", "reject"]],
    )
    timeout: PositiveDuration | None = Field(
        default=None,
        description="How long to wait for an answer, on the clock. Default: forever.",
        examples=["3d"],
    )
    on_timeout: Literal["pause", "approve", "reject"] = Field(
        default="pause",
        description="What happens then: the run pauses, or goes on as if a person had answered so.",
        examples=["reject"],
    )


class ReviseSpec(StrictModel):
    """What runs again when a person answers `revise`. The tasks read the comment, and each what it had made."""

    model_config = ConfigDict(json_schema_extra={"required": ["rerun", "max_attempts"]})
    noun: ClassVar[str] = "an on_revise"
    rerun: list[NonEmpty] = Field(
        min_length=1, description="Tasks that this one waits for, which run again.", examples=[["draft"]]
    )
    max_attempts: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="How often a person may ask for changes: with 3 there are up to 4 results, the first one included. "
        "After that `revise` cannot be chosen any more. In `repeat` it counts the results themselves.",
        examples=[3],
    )


class RepeatSpec(StrictModel):
    """Work that is done again until a condition holds."""

    model_config = ConfigDict(json_schema_extra={"required": ["until", "max_attempts"]})
    noun: ClassVar[str] = "a repeat"
    other_names: ClassVar[Mapping[str, str]] = REPEAT_NAMES
    examples: ClassVar[Mapping[str, str]] = {"until": '"${{ output.ok }}"'}
    until: Condition = Field(
        description="The work is done when this holds. It reads `output`, the result of this attempt, and "
        "`steps.ID.output`.",
        examples=["${{ output.ok }}", "${{ steps.review.output.ok }}"],
    )
    max_attempts: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="How often the work is done at most, the first time included: with 3 there are up to 3 results. "
        "A condition that never holds fails the task. In `on_revise` it counts what comes after the first result.",
        examples=[3],
    )


class StepSpec(StrictModel):
    """One piece of a task's work, done by an agent or a conversation. Steps are done in turn; later ones read
    `steps.ID.output`, and are told what the earlier ones made."""

    noun: ClassVar[str] = "a step"
    other_names: ClassVar[Mapping[str, str]] = STEP_NAMES
    advice: ClassVar[Mapping[str, str]] = STEP_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    id: NonEmpty = Field(
        description="Its name in expressions: letters, digits and `_`, not a digit first.", examples=["review"]
    )
    agent: AgentField = None
    agents: AgentsField = None
    conversation: ConversationField = None
    description: DescriptionField = None
    expected_output: ExpectedOutputField = None
    output_schema: OutputSchemaField = None
    tools: OwnToolsField = None
    guardrails: MoreGuardrailsField = None
    timeout: PositiveDuration | None = Field(
        default=None, description="Time of this step. Default: no limit of its own.", examples=["5m"]
    )
    if_: IfField = Field(default=None, alias="if")


class CaseSpec(StrictModel):
    """What is done in one case of a switch. It has exactly one of `agent`, `conversation`, `steps` and `squad`."""

    noun: ClassVar[str] = "a case"
    other_names: ClassVar[Mapping[str, str]] = CASE_NAMES
    advice: ClassVar[Mapping[str, str]] = CASE_ADVICE
    meant: ClassVar[str] = "agent"
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    agent: AgentField = None
    agents: AgentsField = None
    conversation: ConversationField = None
    steps: list[StepSpec] | None = Field(
        default=None,
        min_length=1,
        description="Or several pieces of work, done in turn.",
        examples=[[{"id": "find", "agent": "tech", "description": "Find the cause."}]],
    )
    result: ResultField = None
    description: DescriptionField = None
    expected_output: ExpectedOutputField = None
    output_schema: OutputSchemaField = None
    tools: OwnToolsField = None
    guardrails: MoreGuardrailsField = None
    squad: InnerSquadField = None
    with_: InnerInputsField = Field(default=None, alias="with")


class SwitchSpec(StrictModel):
    """One of several pieces of work, by the value of an expression."""

    noun: ClassVar[str] = "a switch"
    other_names: ClassVar[Mapping[str, str]] = SWITCH_NAMES
    advice: ClassVar[Mapping[str, str]] = SWITCH_ADVICE
    on: Expression = Field(
        description="An expression. The text of its value, as JSON writes it, names the case.",
        examples=["${{ tasks.sort.output.kind }}"],
    )
    cases: dict[str, CaseSpec] = Field(
        min_length=1,
        description="What is done, by value. `default` is for all other values.",
        examples=[{"money": {"agent": "billing", "description": "Explain it."}}],
    )


class TaskSpec(StrictModel):
    """Work with one result. It has exactly one of `agent`, `conversation`, `steps`, `approval`, `switch` and `squad`.
    Tasks that do not need each other run at the same time."""

    noun: ClassVar[str] = "a task"
    meant: ClassVar[str] = "description"
    other_names: ClassVar[Mapping[str, str]] = TASK_NAMES
    advice: ClassVar[Mapping[str, str]] = TASK_ADVICE
    examples: ClassVar[Mapping[str, str]] = EXAMPLES
    agent: AgentField = None
    agents: AgentsField = None
    conversation: ConversationField = None
    approval: ApprovalSpec | None = Field(
        default=None,
        description="Or the question that a person answers.",
        examples=[{"prompt": "Publish it?", "show": ["draft"]}],
    )
    steps: list[StepSpec] | None = Field(
        default=None,
        min_length=1,
        description="Or several pieces of work, done in turn.",
        examples=[[{"id": "code", "agent": "amelia", "description": "Implement it."}]],
    )
    result: ResultField = None
    switch: SwitchSpec | None = Field(
        default=None,
        description="Or one of several pieces of work, by the value of an expression.",
        examples=[
            {
                "on": "${{ inputs.kind }}",
                "cases": {"default": {"agent": "ann", "description": "Ask again."}},
            }
        ],
    )
    squad: InnerSquadField = None
    with_: InnerInputsField = Field(default=None, alias="with")
    description: DescriptionField = None
    expected_output: ExpectedOutputField = None
    output_schema: OutputSchemaField = None
    output_file: Expression | None = Field(
        default=None,
        description="The file that the result is written to, inside the run's folder (`--out`). Without a leading `/` "
        "and without `..`. A value is written as JSON; a list of flat objects as CSV, where the name ends in `.csv` or "
        "`.tsv`.",
        examples=["report.md"],
    )
    needs: list[NonEmpty] | None = Field(
        default=None, description="Tasks that must end before this one begins.", examples=[["research"]]
    )
    context: list[NonEmpty] | None = Field(
        default=None,
        description="Tasks whose outputs are put before the description; they must be sure to have ended. An empty "
        "list sends none. Default: those of `needs`.",
        examples=[["research", "plan"]],
    )
    context_max_tokens: ContextTokens | None = Field(
        default=None,
        description="Tokens of the outputs that it reads. A cheap model shortens longer ones. Default: that of "
        "`defaults`.",
        examples=[3000],
    )
    if_: IfField = Field(default=None, alias="if")
    for_each: Expression | None = Field(
        default=None,
        description="An expression that gives a list. The work is done for each element; the output is the list of "
        "their outputs, in the same order.",
        examples=["${{ tasks.plan.output.stories }}"],
    )
    as_: NonEmpty | None = Field(
        default=None,
        alias="as",
        description="What an element is called in expressions. Default: `item`.",
        examples=["story"],
    )
    key: Expression | None = Field(
        default=None,
        description="What tells elements apart when a run is resumed. A `for_each` needs it.",
        examples=["${{ story.id }}", "${{ item }}"],
    )
    max_parallel: Positive | None = Field(
        default=None,
        description="Elements that are worked on at the same time. Default: that of `defaults`, else of the squad.",
        examples=[4],
    )
    fail_fast: bool | None = Field(
        default=None,
        description="Whether no further element begins after one has failed. Default: `true`.",
        examples=[False],
    )
    repeat: RepeatSpec | None = Field(
        default=None,
        description="The work is done again until a condition holds.",
        examples=[{"until": "${{ steps.review.output.ok }}", "max_attempts": 3}],
    )
    retry: RetrySpec | None = Field(
        default=None,
        description="When failed work is tried again. Default: that of `defaults`, else never.",
        examples=[{"max_attempts": 3, "on": ["timeout", "truncated"]}],
    )
    timeout: PositiveDuration | None = Field(
        default=None, description="Time of one attempt. Default: that of `defaults`, else no limit.", examples=["10m"]
    )
    budget: BudgetSpec | None = Field(
        default=None,
        description="Caps of this task, all elements of its `for_each` together.",
        examples=[{"max_cost": 0.25}],
    )
    continue_on_error: bool = Field(
        default=False,
        description="Whether tasks that need this one go on where it fails; its output is null then.",
        examples=[True],
    )
    tools: OwnToolsField = None
    guardrails: MoreGuardrailsField = None
    cache: bool | None = Field(
        default=None,
        description="Only `false` may be written: results are kept within a run, not across runs.",
        examples=[False],
    )
    on_revise: ReviseSpec | None = Field(
        default=None,
        description="What runs again when a person answers `revise`; beside `approval` only.",
        examples=[{"rerun": ["draft"], "max_attempts": 3}],
    )
