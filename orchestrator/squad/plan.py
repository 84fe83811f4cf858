"""What a squad file was resolved to: every name bound, every default in place, nothing left to look up.

`resolve.py` makes a `Plan`; `state.py` and `run.py` follow it. All of it is immutable. Durations are seconds, money is
micro-USD.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from agents.context import History as History
from agents.guardrails import Guardrails
from agents.memory.use import KnowledgeUse, MemoryUse
from agents.untrusted import RiskyTools
from orchestrator.squad.editions import EDITION as EDITION
from orchestrator.squad.termination import Termination
from providers.messages import Capability, Needs

if TYPE_CHECKING:
    from agents.toolbox.workspace import Workspace
    from agents.tools import Tool
    from orchestrator.squad.approval_specs import Approvals
    from personas import Persona
    from personas.sandbox import ExpressionText

PatternName = Literal["round_robin", "party", "selector", "handoff", "debate", "hierarchical"]
"""The patterns: each is a file in `orchestrator/run/conversations/`."""
RetryCause = Literal["rate_limit", "timeout", "invalid_output", "provider", "tool", "truncated"]
OnExceed = Literal["pause", "stop", "downgrade_tier"]
OnSilence = Literal["skip", "end", "fail"]
"""What follows where a person who takes part in a conversation does not speak in time."""
FOR_EACH_CAP = 1000
"""Elements that a `for_each` may have where its list states no `maxItems`, nor the squad `limits.max_items`."""
TEXT_CAP = 262_144
"""Characters that a text with expressions may come to where the squad states no `limits.max_chars`."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Our own caps. None: no cap of that kind here; an outer budget may still have one."""

    max_cost: int | None = None
    """micro-USD."""
    max_tokens: int | None = None
    """Tokens of requests and answers together."""
    max_time: float | None = None
    """Seconds."""
    max_turns: int | None = None
    """Model calls."""
    on_exceed: OnExceed = "stop"
    """What follows when a cap is reached: `pause`, `stop` or `downgrade_tier`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """`max_attempts` counts the first one too."""

    max_attempts: int = 1
    on: frozenset[RetryCause] = frozenset()


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """A persona bound to tools. `tier`, `model` and `chain` override the persona's tier."""

    id: str
    persona: Persona
    tools: tuple[Tool, ...] = ()
    tier: str | None = None
    model: str | None = None
    max_turns: int = 16
    budget: Budget | None = None
    max_output_tokens: int | None = None
    values: Mapping[str, Any] | None = None
    """What the template of its instructions reads beside the persona: `inputs`, where it does."""
    instructions: str | None = None
    """A prompt of its own, after what is told of its persona; all that is told where the persona says nothing."""
    temperature: float | None = None
    effort: Literal["low", "medium", "high"] | None = None
    sees: bool = False
    """Whether it is handed an image, so that only a model that can see answers it."""
    memory: MemoryUse | None = None
    """What it remembers over runs, and is told of it; None: nothing."""
    knowledge: KnowledgeUse | None = None
    """The documents that it may look up, and is told of; None: none."""
    chain: tuple[str, ...] = ()
    """Models that are asked in this order."""
    squad: str | None = None
    """The sub-squad that it is an agent of."""
    risky_tools: RiskyTools | None = None
    """What becomes of its risky tools once it has read what others wrote; None: a person is asked."""
    approvals: Approvals | None = None
    """Who is asked before its tools are called, by their class of risk, where nothing is said of the tool itself."""
    guardrails: Guardrails | None = None
    """What is checked of its briefs and answers; None: nothing."""

    def needs(self, capabilities: frozenset[Capability] = frozenset()) -> Needs:
        """Return what its turns require of who answers them."""
        tier = self.tier or self.persona.tier
        return Needs(self.id, self.persona.name, tier, self.model, capabilities=capabilities, chain=self.chain)

    def told(self) -> str:
        """Return the system message. Raise `TemplateError` where a template reads what is not given."""
        return self.persona.instructions(self.values or {}, self.instructions or "")


HUMAN = "human"
"""The participant of a conversation that is a person."""


@dataclass(frozen=True, slots=True)
class HumanWait:
    """A person is waited for `timeout` seconds from each question on; `on_timeout` is what happens then."""

    timeout: float
    on_timeout: OnSilence


@dataclass(frozen=True, slots=True)
class ConversationPlan:
    id: str
    pattern: PatternName
    participants: tuple[str, ...]
    """Agent ids, `HUMAN`, or those in `nested`."""
    terminate: Termination
    moderator: str | None = None
    speakers_per_round: int = 3
    independent_first_round: bool = False
    budget: Budget | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """What the personas of those who take part are called, by agent; in edition 1 they are not told."""
    edition: int = EDITION
    roles: Mapping[str, str] = field(default_factory=dict)
    """What those who take part are there for, by agent."""
    selector: str | None = None
    """Who picks the next speaker."""
    allow_repeated_speaker: bool | None = None
    """Whether one may speak twice in a row where a speaker is picked; None: no."""
    transitions: Mapping[str, tuple[str, ...]] | None = None
    """Who may follow whom; after one that is not among the keys, anybody."""
    turns_of: Mapping[str, int] | None = None
    """How often each participant may speak; one that is not among the keys, as often as it comes to that."""
    rounds: int | None = None
    """After how many rounds a pattern that counts them is over."""
    positions: Mapping[str, str] | None = None
    """What each side of a debate stands for."""
    mentions: bool | None = None
    """Whether who is mentioned (`@ann`) speaks next; None: no."""
    nested: tuple[str, ...] | None = None
    """The participants that are conversations."""
    squad: str | None = None
    """The sub-squad whose agents take part: here they go by their names in it."""
    human: HumanWait | None = None
    """How long a person is waited for; None: for ever."""


def scoped(scope: str | None, name: str) -> str:
    """Return what a task, an agent or a conversation of a sub-squad is called in the plan of the whole."""
    return f"{scope}.{name}" if scope else name


def local(scope: str | None, name: str) -> str:
    """Return what `scoped` made a name of the whole of."""
    return name.removeprefix(f"{scope}.") if scope else name


@dataclass(frozen=True, slots=True)
class AgentChoice:
    """The agent is the one of `among` that `name` comes to when the work begins."""

    name: ExpressionText
    among: tuple[str, ...]
    squad: str | None = None
    """The sub-squad whose agents these are: here they go by their names in it."""


@dataclass(frozen=True, slots=True)
class AgentWork:
    """One agent works on a description until it has an answer. `agent` is empty where there is a `choice`."""

    agent: str
    description: ExpressionText
    expected_output: ExpressionText | None = None
    output_schema: Mapping[str, Any] | None = None
    tools: tuple[Tool, ...] | None = None
    """Instead of the agent's own; None: the agent's own."""
    choice: AgentChoice | None = None
    guardrails: Guardrails | None = None
    """What is checked of its brief and answers beside the agent's own."""

    @property
    def possible(self) -> tuple[str, ...]:
        """Return the agents that may do it: one, unless it is chosen when the work begins."""
        if self.choice is None:
            return (self.agent,)
        return tuple(scoped(self.choice.squad, name) for name in self.choice.among)


@dataclass(frozen=True, slots=True)
class ConversationWork:
    """A conversation is held on a description; its result is the last word of the moderator, else of the last speaker.

    With `output_schema` the moderator (else the first participant) is asked for it at the end.
    """

    conversation: str
    description: ExpressionText
    expected_output: ExpressionText | None = None
    output_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A person answers `prompt`. `revise` reruns the tasks in `rerun` with the comment, `max_revisions` times."""

    prompt: ExpressionText
    show: tuple[str, ...] = ()
    choices: tuple[str, ...] = ("approve", "reject")
    timeout: float | None = None
    on_timeout: Literal["pause", "approve", "reject"] = "pause"
    rerun: tuple[str, ...] = ()
    max_revisions: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of a task's work. Later steps see the outputs of earlier ones."""

    id: str
    work: AgentWork | ConversationWork
    condition: ExpressionText | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """Pieces of work, done in turn. The output is that of the step `result`; None: a mapping of all of them."""

    steps: tuple[Step, ...]
    result: str | None = None


DEFAULT_CASE = "default"
"""The case of a `switch` that is done where no other one is meant."""


@dataclass(frozen=True, slots=True)
class CaseSquad:
    """A case that is a sub-squad: `task` of the plan is its end, and is skipped where another case is done.

    `entry` is how it begins, until that is a task of the plan too.
    """

    task: str
    entry: SquadEntry | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """The work of the one case that `on` comes to."""

    on: ExpressionText
    cases: Mapping[str, AgentWork | ConversationWork | Steps | CaseSquad]


@dataclass(frozen=True, slots=True)
class SquadEntry:
    """A sub-squad begins: `given` (values, with texts in them) is what it is given, and `accept` what it makes of that.

    No unit works on it: it ends as it begins, with the inputs as its output. `accept` raises `BadInputs`.
    """

    source: str
    """The file, for messages."""
    given: Mapping[str, Any]
    accept: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    declared: Mapping[str, Any]
    """The inputs of the sub-squad as its file has them."""
    case: tuple[ExpressionText, tuple[str, ...], str] | None = None
    """Of a switch: what it reads, all its cases, and the one that the sub-squad is."""
    each: ForEach | None = None
    """It begins for an element of this list."""


@dataclass(frozen=True, slots=True)
class SquadFanOut:
    """A sub-squad begins for each element of a list. No unit works on it: it ends with the `items` and `keys`."""

    source: str
    each: ForEach


@dataclass(frozen=True, slots=True)
class SquadGather:
    """The sub-squads of all elements have ended: what they result in are the items of the output. No unit works on it.

    `each` is that of the fan-out.
    """

    source: str
    each: ForEach


@dataclass(frozen=True, slots=True)
class SquadResult:
    """A sub-squad has ended: its outputs are those of the task. No unit works on it."""

    source: str
    outputs: Mapping[str, ExpressionText]


TaskBody = (
    AgentWork | ConversationWork | Approval | Steps | Switch | SquadEntry | SquadResult | SquadFanOut | SquadGather
)
SingleWork = AgentWork | ConversationWork
WorkPath = tuple[str | int, ...]
"""Where a piece of work stands below its task, as the squad file spells it."""


@dataclass(frozen=True, slots=True)
class ForEach:
    """The task runs once for each item. `key` (over the item, named `item`) is its identity, on resume and in cache."""

    items: ExpressionText
    key: ExpressionText
    item: str = "item"
    max_parallel: int | None = None
    fail_fast: bool = True
    max_items: int = FOR_EACH_CAP


@dataclass(frozen=True, slots=True)
class Repeat:
    """The task's work is done again until `until` holds; not holding after `max_attempts` is a failure."""

    until: ExpressionText
    max_attempts: int


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """`needs` orders and `context` feeds. `position` is (line, column) in the squad file, for messages."""

    id: str
    work: TaskBody
    needs: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    condition: ExpressionText | None = None
    for_each: ForEach | None = None
    repeat: Repeat | None = None
    retry: Retry = Retry()
    timeout: float | None = None
    budget: Budget | None = None
    continue_on_error: bool = False
    output_file: ExpressionText | None = None
    position: tuple[int, int] = (1, 1)
    squad: str | None = None
    """The sub-squad that it is a task of; its id begins with that."""
    context_max_tokens: int | None = None
    """Tokens of the outputs that it reads; beyond them long ones are shortened. None: they go along whole."""

    @property
    def reads(self) -> str:
        """Return the sub-squad whose names its expressions read; empty: the squad itself."""
        match self.work:
            case SquadEntry() | SquadFanOut():
                return (self.squad or "").rpartition(".")[0]
            case SquadResult():
                return self.id
        return self.squad or ""


INPUTS = "inputs"
"""The name, in a sub-squad, of the task that begins it: no task of a file can have it."""


@dataclass(frozen=True, slots=True)
class SubSquad:
    """What holds for all tasks of a sub-squad together."""

    fail_fast: bool = False
    budget: Budget | None = None
    history: History = field(default_factory=History)
    untrusted: tuple[str, ...] = ()
    """Its inputs that others wrote, as its file says."""
    timeout: float | None = None
    """Seconds of work that all of it may take, each time that it is tried."""
    workspace: Workspace | None = None
    """The folder that its tools for files work on; None: that of the squad around it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A squad ready to run."""

    name: str
    """The squad's name."""
    tasks: Mapping[str, TaskPlan]
    """By id, in topological order, then in the order of the file."""
    agents: Mapping[str, AgentPlan] = field(default_factory=dict)
    """By name."""
    conversations: Mapping[str, ConversationPlan] = field(default_factory=dict)
    """By name."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Values, after defaults and types."""
    outputs: Mapping[str, ExpressionText] = field(default_factory=dict)
    """The expression of each output, by name."""
    budget: Budget | None = None
    """The caps of the whole run; None: it has none of its own."""
    history: History = field(default_factory=History)
    """How much of a long transcript is sent to a model, where an agent does not say."""
    max_parallel: int = 16
    """Units at work at once, over the whole run."""
    fail_fast: bool = False
    """Whether the first failed task stops what has not started yet."""
    offline: Literal["never", "auto", "always"] = "never"
    """Whether the offline stub answers: `never`, `always`, or `auto`, where no provider is configured."""
    description: str = ""
    """What the squad is for."""
    edition: int = EDITION
    """The number of the rules by which the run goes; a run keeps those that it began with."""
    squads: Mapping[str, SubSquad] = field(default_factory=dict)
    """The sub-squads, by the task that each is the work of. Their tasks, agents and conversations stand among those of
    the plan, under that task's name: `review.draft`."""
    templates: Mapping[str, TaskPlan] = field(default_factory=dict)
    """The tasks of the sub-squads that are done for each element of a list, by their names: `review@*.draft`. They are
    tasks of the plan once the elements are known (`elements.py`)."""
    output_schemas: Mapping[str, Any] = field(default_factory=dict)
    """What is known of each output, as a JSON Schema."""
    tool_sources: Mapping[str, str] = field(default_factory=dict)
    """Of each tool in use that a file declares: the SHA-256 of what runs where it is called."""
    untrusted: tuple[str, ...] = ()
    """The inputs that others wrote."""
