"""What a case expects of its run, as it is written: fields and their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import regex
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestrator.evals.ranges import Range, parse_change, parse_range, parse_time_range
from orchestrator.squad.shared_spec import NonEmpty
from providers.documents.models import StrictModel


def _reading(read: Any) -> Any:
    def checked(written: object) -> Any:
        try:
            return read(written)
        except ValueError as error:
            raise PydanticCustomError("invalid-value", "{text}", {"text": str(error)}) from None

    return BeforeValidator(checked)


def _told(title: str, *kinds: str) -> WithJsonSchema:
    return WithJsonSchema({"title": title, "anyOf": [{"type": kind} for kind in kinds]})


Numbers = Annotated[Range, _reading(parse_range), _told("number, or range such as `3..8`", "string", "number")]
Seconds = Annotated[Range, _reading(parse_time_range), _told("time, or range such as `<= 90s`", "string", "number")]
ChangeBy = Annotated[float, _reading(parse_change), _told("change such as `+20%`", "string")]


def _pattern(text: str) -> str:
    try:
        regex.compile(text)
    except regex.error as error:
        raise PydanticCustomError("invalid-value", "{text}", {"text": f"this is not a pattern: {error}"}) from None
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
    """What a text or other value must be. A value that is not text is checked as JSON, except by `equals` and `at`."""

    noun: ClassVar[str] = "an expectation of a value"
    meant: ClassVar[str] = "equals"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("is", "eq", "equal", "value", "exactly"), "equals"),
        **dict.fromkeys(("has", "include", "includes", "contain", "icontains"), "contains"),
        **dict.fromkeys(("not_contains", "excludes", "without", "not"), "lacks"),
        **dict.fromkeys(("regex", "pattern", "match"), "matches"),
        **dict.fromkeys(("length", "max_length", "min_length"), "chars"),
        **dict.fromkeys(("json_schema", "is_json"), "schema"),
    }
    contains: TextOrTexts | None = Field(
        default=None,
        description="It contains all of these, in upper and lower case as here.",
        examples=["Given", ["Given", "Then"]],
    )
    lacks: TextOrTexts | None = Field(default=None, description="It contains none of these.", examples=["TODO"])
    matches: PatternText | None = Field(
        default=None, description="A regular expression that is found in it.", examples=["(?i)who"]
    )
    never_matches: PatternText | None = Field(
        default=None, description="A regular expression that is not found in it.", examples=["[0-9]{16}"]
    )
    equals: Any = Field(default=None, description="It is this, and nothing else.", examples=["approve", 3])
    words: Numbers | None = Field(default=None, description="How many words it has.", examples=["50..400"])
    chars: Numbers | None = Field(default=None, description="How many characters it has.", examples=["<= 2000"])
    items: Numbers | None = Field(default=None, description="Of a list: how many elements it has.", examples=["3..8"])
    number: Numbers | None = Field(default=None, description="Of a number: where it lies.", examples=["> 0"])
    json_schema: Annotated[str, Tag("text")] | dict[str, Any] | None = Field(
        default=None,
        alias="schema",
        description="A JSON Schema that it satisfies, or the file of one.",
        examples=["story.schema.json", {"type": "object", "required": ["title"]}],
    )
    at: dict[NonEmpty, ValueExpect] | None = Field(
        default=None,
        description="The value at a path in it: names and numbers with points between.",
        examples=[{"stories.0.title": {"contains": "shop"}}],
    )
    each: ValueExpect | None = Field(
        default=None, description="Of a list: what each element is.", examples=[{"words": "1..20"}]
    )


class RunExpect(StrictModel):
    """How the whole run must end."""

    noun: ClassVar[str] = "an expectation of the run"
    status: Literal["done", "failed", "rejected", "waiting", "paused", "stopped", "cancelled"] | None = Field(
        default=None, description="How it ends. Default: `done`.", examples=["rejected"]
    )
    cost: Numbers | None = Field(default=None, description="What it cost, in USD.", examples=["<= 0.40"])
    tokens: Numbers | None = Field(
        default=None, description="Tokens, read and written together.", examples=["<= 60000"]
    )
    turns: Numbers | None = Field(default=None, description="Model calls.", examples=["<= 60"])
    time: Seconds | None = Field(
        default=None, description="Time from its first event to its last.", examples=["<= 90s"]
    )
    failovers: Numbers | None = Field(
        default=None, description="Attempts at a provider that failed.", examples=[0, ">= 1"]
    )
    guardrails: Numbers | None = Field(default=None, description="Texts that did not pass a guardrail.", examples=[0])
    questions: Numbers | None = Field(
        default=None,
        description="How often people were asked: for approvals, for tool calls, for words in a conversation.",
        examples=[1],
    )


class TaskExpect(StrictModel):
    """How a task must end."""

    noun: ClassVar[str] = "an expectation of a task"
    status: Literal["ok", "failed", "skipped", "cancelled", "not_started"] | None = Field(
        default=None, description="How it ends. Default: `ok`.", examples=["skipped"]
    )
    output: ValueExpect | None = Field(
        default=None, description="What its output is.", examples=[{"contains": "Given"}]
    )
    items: Numbers | None = Field(default=None, description="How many elements its `for_each` has.", examples=["3..8"])
    each: ValueExpect | None = Field(
        default=None, description="What the output of each element is.", examples=[{"words": "50.."}]
    )
    attempts: Numbers | None = Field(default=None, description="How often it ran.", examples=[1])
    error: ValueExpect | None = Field(
        default=None, description="What its error says.", examples=[{"contains": "budget"}]
    )


class AnyOrder(StrictModel):
    """Agents that speak next, in any order."""

    noun: ClassVar[str] = "a group of turns"
    any_order: list[NonEmpty] = Field(min_length=1, description="The agents.", examples=[["winston", "sally"]])


class Exactly(StrictModel):
    """All turns, and no others between them."""

    noun: ClassVar[str] = "the turns"
    exactly: list[NonEmpty] = Field(
        description="The agents, each named once for all its turns in a row.", examples=[["mary", "john"]]
    )


TurnOrGroup = Annotated[Annotated[NonEmpty, Tag("text")] | Annotated[AnyOrder, Tag("mapping")], Discriminator(_kind)]
Turns = Annotated[Annotated[list[TurnOrGroup], Tag("list")] | Annotated[Exactly, Tag("mapping")], Discriminator(_kind)]


class ToolExpect(StrictModel):
    """Calls of tools that must be made, or must not."""

    noun: ClassVar[str] = "an expectation of tools"
    placeholders: ClassVar[Mapping[str, Any]] = {}
    agent: NonEmpty | None = Field(
        default=None, description="The agent whose calls count. Default: every agent.", examples=["amelia"]
    )
    tool: NonEmpty | None = Field(
        default=None, description="The tool that is called; one of an MCP server as `git/log`.", examples=["write_file"]
    )
    args: dict[NonEmpty, Any] | None = Field(
        default=None,
        description="Arguments of the calls that count: values, or texts with `*` and `**` as in file names.",
        examples=[{"path": "src/**"}],
    )
    times: Numbers | None = Field(
        default=None, description="How many such calls there are. Default: `1..`.", examples=["2..5"]
    )
    ok: bool | None = Field(
        default=None, description="Whether the calls that count succeeded. Default: both kinds count.", examples=[True]
    )
    before: NonEmpty | None = Field(
        default=None, description="The first such call comes before any call of this tool.", examples=["write_file"]
    )
    never: TextOrTexts | None = Field(
        default=None, description="Tools that are not called at all.", examples=[["run_command", "http_get"]]
    )


class ConversationExpect(StrictModel):
    """How a conversation must be held; each time, where it is held several times."""

    noun: ClassVar[str] = "an expectation of a conversation"
    turns: Numbers | None = Field(default=None, description="Utterances.", examples=["<= 25"])
    speakers: list[NonEmpty] | None = Field(
        default=None, description="All that speak in it, in any order.", examples=[["ann", "bob"]]
    )
    order: list[NonEmpty] | None = Field(
        default=None, description="Who speaks, from the first utterance on.", examples=[["ann", "bob", "ann"]]
    )
    repeats: Numbers | None = Field(
        default=None, description="Utterances that repeat an earlier one word for word.", examples=[0]
    )
    ended_by: NonEmpty | None = Field(default=None, description="The condition that ends it.", examples=["max_turns"])


class FileExpect(ValueExpect):
    """What a file of the run must be. A path with `*` means each file that it fits."""

    noun: ClassVar[str] = "an expectation of a file"
    exists: bool = Field(default=True, description="Whether there is such a file.", examples=[False])


class JudgeExpect(StrictModel):
    """What a model says of an output, by a rubric."""

    noun: ClassVar[str] = "a judgement"
    of: NonEmpty = Field(description="The task whose output is judged.", examples=["analysis"])
    rubric: NonEmpty = Field(
        description="What a good output is, in words.", examples=["It names who pays and why they would."]
    )
    score: Numbers = Field(
        default=Range(0.7, 1.0, ">= 0.7"),
        description="What the score must be, from 0 to 1. Default: `>= 0.7`.",
        examples=[">= 0.8"],
    )


class Expect(StrictModel):
    """What must hold of a case."""

    noun: ClassVar[str] = "the expectations"
    run: RunExpect | None = Field(
        default=None, description="How the whole run ends.", examples=[{"status": "done", "cost": "<= 0.40"}]
    )
    outputs: dict[NonEmpty, ValueExpect] | None = Field(
        default=None,
        description="What the outputs of the squad are, by name.",
        examples=[{"report": {"words": "50..400"}}],
    )
    tasks: dict[NonEmpty, TaskExpect] | None = Field(
        default=None,
        description="How its tasks end, by id.",
        examples=[{"stories": {"output": {"contains": "Given"}}}],
    )
    turns: Turns | None = Field(
        default=None,
        description="Which agents take turns, in this order; there may be others between them.",
        examples=[["mary", "john", {"any_order": ["winston", "sally"]}]],
    )
    tools: list[ToolExpect] | None = Field(
        default=None,
        description="Which tools are called, and which are not.",
        examples=[[{"tool": "write_file", "times": "1.."}, {"never": "run_command"}]],
    )
    conversations: dict[NonEmpty, ConversationExpect] | None = Field(
        default=None, description="How its conversations are held, by name.", examples=[{"meeting": {"turns": "<= 25"}}]
    )
    files: dict[NonEmpty, FileExpect] | None = Field(
        default=None,
        description="What the files are that it writes, by path; `*` and `**` match any.",
        examples=[{"report/brief.md": {"contains": "# Brief"}}],
    )
    judge: list[JudgeExpect] | None = Field(
        default=None,
        description="What a model says of its outputs.",
        examples=[[{"of": "analysis", "rubric": "It names who pays."}]],
    )
    secrets: Literal["none"] | None = Field(
        default=None,
        description="With `none`, no output, file or tool call contains what looks like a key.",
        examples=["none"],
    )
