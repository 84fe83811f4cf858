"""What a run lets others see, and what its state is folded from.

A payload says what happened; an `Event` says where and when. Ids are made of (run, place, turn, sequence), so a replay
that emits again is recognised, not shown twice. Payloads of the lower rooms travel in the same envelope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Literal, NamedTuple, Self

from orchestrator.units import StepPath, Unit, path_of
from providers.errors import BudgetSpent
from providers.messages import Usage

SCHEMA_VERSION = 1
MONEY = frozenset({"cost", "spent", "cap", "reserved", "cut_short"})
"""Fields that hold micro-USD."""

TaskStatus = Literal["waiting", "running", "gate", "ok", "failed", "skipped", "cancelled", "interrupted"]
RunStatus = Literal["done", "failed", "rejected", "waiting", "paused", "stopped", "cancelled"]
"""done; tasks failed; a person rejected it; waits for a person; paused or stopped by a limit; interrupted."""


@dataclass(frozen=True, slots=True)
class CutText:
    """A text that its model did not finish: at a limit of `tokens` ("length"), or at a provider's filter.

    `place` is where in the task: a step, `round-1/mary` in a conversation, first the key of an element; empty: all of
    it. `tokens` are those of the answer, 0 where they are not known.
    """

    place: str
    cause: Literal["length", "content_filter"]
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class RunStarted:
    """`stub`: the offline stub answers everything, no model is asked."""

    squad: str
    tasks: tuple[str, ...]
    stub: bool
    out: str | None


@dataclass(frozen=True, slots=True)
class RunResumed:
    """The run goes on from its record. `in_flight` are the steps that were begun and have no result."""

    done: tuple[str, ...]
    """Tasks that ended before: they are not done again."""
    in_flight: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunEdited:
    """The squad is another from here on. What happened before to tasks in `again` and `gone` no longer counts, but as
    money that was spent.

    `tasks` are all tasks from now on, `parts` what differs; `renamed` leads from a task's former name to that under
    which it keeps its record. Units of a task in `attempts` count on from that number.
    """

    tasks: tuple[str, ...]
    parts: tuple[str, ...]
    again: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    in_flight: tuple[str, ...] = ()
    """Steps of these tasks that were begun and have no result: they may have been paid for, and are not made again."""


@dataclass(frozen=True, slots=True)
class RunForked:
    """All before it was taken over from the run `source`, which paid for it: `usage` and `cost` (micro-USD)."""

    source: str
    kept: tuple[str, ...]
    again: tuple[str, ...]
    parts: tuple[str, ...]
    usage: Usage
    cost: int | None


@dataclass(frozen=True, slots=True)
class CallRepeated:
    """A call that was in flight when the run was cut short is made again: it may have been paid for twice."""

    step: str


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """`attempt` counts reruns after a reviewer's `revise`, from 1. `who` is the agent, conversation or step agents."""

    task: str
    attempt: int
    who: str


@dataclass(frozen=True, slots=True)
class TaskExpanded:
    """A `for_each` found its elements. `keys` are in the order of the list."""

    task: str
    keys: tuple[str, ...]
    items: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ElementStarted:
    task: str
    key: str


@dataclass(frozen=True, slots=True)
class ElementEnded:
    task: str
    key: str
    status: TaskStatus
    output: Any = None
    error: str | None = None
    error_kind: str | None = None
    truncated: tuple[CutText, ...] = ()
    transcript: tuple[str, ...] | None = field(default=None, repr=False)
    untrusted: tuple[str, ...] = ()
    """As in `TaskEnded`."""


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """`output` is text, or what `output_schema` asked for, or the list of a `for_each`; `failed` its failed keys.

    `error_kind` is the exception's class name. A skipped task says why in `error`. `truncated` are the texts in it that
    are cut off. `transcript` are the paragraphs of all that was said in a conversation (those of a `for_each` are with
    its elements); it is for the journal alone, for what was said are events of their own.
    """

    task: str
    status: TaskStatus
    output: Any = None
    output_file: str | None = None
    error: str | None = None
    error_kind: str | None = None
    failed: tuple[str, ...] = ()
    truncated: tuple[CutText, ...] = ()
    transcript: tuple[str, ...] | None = field(default=None, repr=False)
    untrusted: tuple[str, ...] = ()
    """The sources of what was read for it that others wrote; what it made may be theirs."""


@dataclass(frozen=True, slots=True)
class TaskRetried:
    task: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class TaskRepeated:
    """`until` did not hold after attempt number `attempt`."""

    task: str
    attempt: int


@dataclass(frozen=True, slots=True)
class AgentChosen:
    """An `agent` in `${{ }}` came to `agent`, one of `among`."""

    task: str
    agent: str
    among: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaseChosen:
    """The `on` of a switch came to `case`, or to what `default` stands for; `cases` are all that there are."""

    task: str
    case: str
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GateOpened:
    """A person must answer a question. `task` is its name: the approval's task, or the place of the tool's call or of
    the turn that asks. `shown` is what to decide on; of an approval the text of each task in `show`.
    """

    task: str
    prompt: str
    choices: tuple[str, ...]
    shown: Mapping[str, str]
    attempt: int
    """Counts from 1 how often there is such a question: of an approval after `revise`, of a call that was cut short."""
    again: bool = False
    """A call was cut short: whether it took effect is unknown, and it would be made again."""
    first_asked_as: str = ""
    """What the question was called where its task was renamed since; empty: as now. An answer to it still counts."""

    @property
    def name(self) -> str:
        """What people call the question."""
        return question_name(self.task, self.shown)


def question_name(task: str, shown: Mapping[str, str]) -> str:
    """Return the name of a question. Earlier releases recorded a call's unit as its task, and its place as shown."""
    call = shown.get("call", "")
    return call if call.startswith(f"{task}/") else task


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """`by` is "terminal", "--approve", "cli" (another process), "api" (an embedding program) or "timeout"."""

    task: str
    choice: str
    comment: str
    by: str


@dataclass(frozen=True, slots=True)
class AnswerOverruled:
    """An answer that was given at this process does not count: another came first, and stands. It is not recorded.

    `choice` is empty where a person was still asked, and the question is withdrawn.
    """

    task: str
    choice: str
    stands: str
    by: str


@dataclass(frozen=True, slots=True)
class TaskReset:
    """A reviewer asked for changes: the task will run again."""

    task: str


@dataclass(frozen=True, slots=True)
class TaskParked:
    """A unit stopped without an end: it goes on when the run is resumed. `key` names the element of a `for_each`.

    `cause` "file": its file cannot be written now, and nothing else is missing.
    """

    task: str
    key: str | None
    reason: str
    ends_run_as: RunStatus | None
    cause: Literal["file"] | None = None


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A person said something to `agent` in a chat: exchange `number`, from 1. Its work is the task `say-NUMBER`."""

    number: int
    agent: str
    text: str


@dataclass(frozen=True, slots=True)
class ExchangesUndone:
    """These exchanges of a chat are no longer told to anybody. They stay on record, and were paid for."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChatPartner:
    """From here on a chat is with `agent`, who asks `model`; None: as its squad says."""

    agent: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class MessageSpoken:
    """An utterance in a conversation."""

    speaker: str
    text: str
    round: int


EndKind = Literal[
    "",
    "max_turns",
    "text",
    "no_progress_rounds",
    "tokens",
    "time",
    "function",
    "stop_message",
    "handoff",
    "source",
    "message",
    "tool",
    "external",
    "all",
    "budget",
    "pattern",
]
"""What ends a conversation: the word of its `terminate`, its own budget, its pattern. Older records lack it."""


@dataclass(frozen=True, slots=True)
class ControlUnread:
    """A line that says who speaks next could not be followed to the letter: `why` says so in words.

    `fault` is `nobody` (those who were silent longest speak), `ambiguous` (those that are certain speak, else as
    before) or `several` (the last line that names somebody counts, and the first names in it). `speaker` wrote `line`.
    A selector's answer, which picks one, is `several` where it names more of those who may speak, and `ineligible`
    where it names others: then the one speaks that has been silent longest.
    """

    conversation: str
    speaker: str
    line: str
    fault: str
    why: str


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """`reason` is the condition that held, `max_turns 24` for example; `kind` which one it is.

    `turns` counts all utterances. `budget` is the cap of the conversation's own budget that left no room for a turn.
    `unread` counts the control lines that could not be followed.
    """

    conversation: str
    reason: str
    turns: int
    kind: EndKind = ""
    budget: str = ""
    unread: int = 0


@dataclass(frozen=True, slots=True)
class ArtifactWritten:
    """`size` is bytes; `text` is for the journal alone: a file that is lost can be written again."""

    path: str
    sha256: str
    size: int
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A tool wrote a file in the run's folder: what stands there is the run's own. `size` is bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class FileKept:
    """A file of the run was changed by somebody else. `aside` is its new name, None where it was left in its place."""

    path: str
    aside: str | None = None


@dataclass(frozen=True, slots=True)
class FileUnwritten:
    """A recorded file of a task that has ended is gone, and cannot be written again now: the run pauses."""

    task: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoutingReread:
    """The routing file changed. `error` says why what was read before still holds; None: the new one does.

    `text` is the routing file's, for the journal alone: what was sent from then on can be made again.
    """

    file: str
    error: str | None
    text: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """A cap left no room for a call. `action` is what follows: pause, stop or downgrade_tier.

    `used` of `limit` was spent then: USD of `max_cost`, tokens, seconds or turns; None: an earlier release recorded it.
    """

    which: str
    kind: str
    action: str
    used: float | None = field(default=None, compare=False)
    limit: float | None = field(default=None, compare=False)

    @classmethod
    def by(cls, spent: BudgetSpent, action: str) -> Self:
        """Return the event of a call that a spent budget refused."""
        unit = 1e6 if spent.kind == "max_cost" else 1
        return cls(str(spent.budget), spent.kind, action, spent.spent / unit, spent.cap / unit)


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event. `cost` is micro-USD; None where any price was unknown. `truncated`: by task, what is cut off.

    No task in `tasks` is at work any more: one that was when the run ended is `interrupted` (`running` in what earlier
    releases recorded). `output_errors` says of each output that could not be told, and so is None, why: a run that is
    otherwise done has failed by it.
    `cut_short` (micro-USD) is what calls whose end is not known may have cost besides: the run's caps count it.
    """

    run_id: str
    status: RunStatus
    outputs: Mapping[str, Any]
    artifacts: Mapping[str, str]
    usage: Usage
    cost: int | None
    tasks: Mapping[str, str]
    stub: bool
    truncated: Mapping[str, tuple[CutText, ...]] = field(default_factory=dict)
    output_errors: Mapping[str, str] = field(default_factory=dict)
    cut_short: int = 0


class Event(NamedTuple):
    """Where and when `data` happened: `unit` None: to the run itself; `step` is where in the unit's work.

    What a run decides of a task has the task for its unit, in each attempt. `turn` is 0 outside a turn, `seq` counts
    the events of one place and turn from 1, `at` is epoch seconds UTC.
    """

    run_id: str
    unit: Unit | None
    step: StepPath
    turn: int
    seq: int
    at: float
    data: Any

    @property
    def path(self) -> str:
        """Its place as text: `build[S-1]/try-1/code`; empty for the run itself."""
        return path_of(self.unit, self.step)

    @property
    def id(self) -> str:
        return f"{self.run_id}/{self.path}/{self.turn}/{self.seq}"

    @property
    def type(self) -> str:
        return type_of(self.data)


def type_of(payload: Any) -> str:
    """Return the public name of a payload: `TaskStarted` is `task.started`, `GateOpened` `gate.opened`."""
    first, *rest = re.findall("[A-Z][a-z0-9]*", type(payload).__name__)
    return ".".join(filter(None, (first.lower(), "_".join(rest).lower())))


def to_json(event: Event) -> dict[str, Any]:
    """Return the event as the document that `--json` and the web page show. Money is in USD there.

    `unit` is its place as text, `place` the same as fields; None: the run itself.
    """
    head = {"type": event.type, "id": event.id, "run_id": event.run_id, "at": round(event.at, 6), "unit": event.path}
    head["place"] = _place(event)
    if isinstance(event.data, RunFinished):
        head["schema_version"] = SCHEMA_VERSION
    return {**head, **_plain(event.data)}


def _place(event: Event) -> dict[str, Any] | None:
    if event.unit is None:
        return None
    return {**event.unit._asdict(), "step": list(event.step), "turn": event.turn}


def _plain(value: Any) -> Any:
    if isinstance(value, Usage):
        return {
            "input_tokens": value.input + value.cache_read + value.cache_write,
            "output_tokens": value.output + value.reasoning,
            "cached_tokens": value.cache_read,
            "reasoning_tokens": value.reasoning,
        }
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "__dataclass_fields__"):
        return dict(_field(f.name, getattr(value, f.name)) for f in fields(value) if f.repr)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _field(name: str, value: Any) -> tuple[str, Any]:
    if name in MONEY:
        return f"{name}_usd", None if value is None else value / 1e6
    return name, _plain(value)
