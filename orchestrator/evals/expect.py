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
    guardrails: Numbers | None = Field(default=None, description="Texts that did not pass a guardrail")
    questions: Numbers | None = Field(default=None, description="What people were asked: approvals, leave, words")


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
