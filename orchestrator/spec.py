"""The squad file as it is written: its fields, their types, and every mistake in them at once.

What fields mean together (names, order, bounds, expressions) is for `resolve.py`. A field that is wrong is reported and
then mended with a harmless value, so that the rest of the file can be checked in the same go: see `load_spec`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from orchestrator.plan import OnExceed, RetryCause
from orchestrator.problems import Path, Problem, in_order, nearest
from orchestrator.yamltree import Node, read_text, read_tree, scalar
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
    approval: Literal["never", "ask", "always"] | None = None


ToolRef = Annotated[Annotated[NonEmpty, Tag("text")] | Annotated[ToolUse, Tag("mapping")], Discriminator(_kind)]


class InputSpec(_Part):
    """What a run may be given from outside."""

    noun: ClassVar[str] = "an input"
    type: Literal["string", "integer", "number", "boolean", "list"] = "string"
    default: Any = None
    enum: list[Any] | None = Field(None, min_length=1, description="The values that are allowed")
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
    on: list[RetryCause] = Field(default_factory=lambda: ["rate_limit", "timeout"])


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
    max_parallel: Positive | None = Field(None, description="Elements of one for_each at work at once")


class AgentSpec(_Part):
    """A persona at work. Fields beside `persona` override it: scalars replace, lists append, maps merge."""

    noun: ClassVar[str] = "an agent"
    persona: (
        Annotated[
            Annotated[NonEmpty, Tag("text")] | Annotated[dict[str, Any], Tag("mapping")],
            Discriminator(_kind),
            Field(description="A name of the library, a file (./mine.yaml), or a mapping"),
        ]
    )
    name: NonEmpty | None = None
    title: NonEmpty | None = None
    role: NonEmpty | None = None
    identity: NonEmpty | None = None
    style: NonEmpty | None = None
    principles: list[NonEmpty] | None = None
    tier: NonEmpty | None = None
    model: Annotated[NonEmpty, Field(description="provider/model: pins one")] | None = None
    tools: list[ToolRef] | None = None
    max_turns: Annotated[int, Field(ge=1, le=1000)] | None = None
    budget: BudgetSpec | None = None


class TerminateSpec(_Part):
    """When a conversation ends. One condition, or several joined by `any` or `all`."""

    noun: ClassVar[str] = "a condition"
    any: list[TerminateSpec] | None = Field(None, min_length=1)
    all: list[TerminateSpec] | None = Field(None, min_length=1)
    max_turns: Positive | None = None
    text: NonEmpty | None = None
    from_: NonEmpty | None = Field(None, alias="from", description="Whose text counts; with `text` only")
    no_progress_rounds: Positive | None = None
    tokens: Positive | None = None
    time: PositiveTime | None = None
    function: NonEmpty | None = Field(None, description="A name that the embedding application registered")


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
    if_: Expression | None = Field(None, alias="if")


class TaskSpec(_Part):
    """Work with one result. It has exactly one of agent, conversation, approval and steps."""

    noun: ClassVar[str] = "a task"
    agent: NonEmpty | None = None
    conversation: NonEmpty | None = None
    approval: ApprovalSpec | None = None
    steps: list[StepSpec] | None = Field(None, min_length=1)
    description: Expression | None = None
    expected_output: Expression | None = None
    output_schema: Schema | None = None
    output_file: Expression | None = None
    needs: list[NonEmpty] | None = Field(None, description="Tasks that must end first")
    context: list[NonEmpty] | None = Field(None, description="Ancestors whose outputs are read; default: needs")
    if_: Expression | None = Field(None, alias="if")
    for_each: Expression | None = Field(None, description="An expression that gives a list")
    as_: NonEmpty | None = Field(None, alias="as", description="The name of one element; default: item")
    key: Expression | None = Field(None, description="What identifies an element, on resume and in the cache")
    max_parallel: Positive | None = None
    fail_fast: bool | None = None
    repeat: RepeatSpec | None = None
    retry: RetrySpec | None = None
    timeout: PositiveTime | None = None
    budget: BudgetSpec | None = None
    continue_on_error: bool = False
    tools: list[ToolRef] | None = None
    cache: bool | None = Field(None, description="Only false: results are kept by the run, not across runs")
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
    max_parallel: Positive | None = Field(None, description="Units at work at once, over the whole run")
    fail_fast: bool = Field(False, description="Whether the first failed task stops what has not started yet")
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
    data = root.plain()
    if not isinstance(data, dict):
        problems.append(root.problem((), "wrong-type", "a squad is a mapping: `name: ...`, `agents: ...`, `tasks: ...`"))
        data = {}
        root = Node({}, root.mark, root.source)
    reported = bool(problems) and not data
    for _ in range(_MENDINGS):
        try:
            return SquadSpec.model_validate(data), root, in_order(problems)
        except ValidationError as error:
            details = error.errors(include_url=False)
            if not reported:
                problems += _without_echoes([_problem(root, data, detail) for detail in details])
                reported = True
            for detail in details:
                _mend(data, _path(data, detail["loc"]), detail["type"])
    raise AssertionError(f"{file}: its mistakes cannot be mended")


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """Leave out that a field is missing where it stands there under a misspelt name."""
    meant = {(p.path[:-1], p.hint) for p in problems if p.code == "unknown-field"}
    return [
        p
        for p in problems
        if p.code != "missing-field" or (p.path[:-1], f"did you mean '{p.path[-1]}'?") not in meant
    ]


_MENDINGS = 60  # each round mends at least one level of the tree, and the tree has no more


def _path(data: Any, loc: tuple[str | int, ...]) -> Path:
    """Return pydantic's place without the tags of unions, which are no keys of the file."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif index < len(loc) - 1 or not isinstance(data, dict):
            continue
        path.append(part)
    return tuple(path)


_HARMLESS: Mapping[str, Any] = {
    "string_type": "?",
    "string_too_short": "?",
    "list_type": [],
    "dict_type": {},
    "model_type": {},
    "model_attributes_type": {},
}
"""By pydantic's error: what a wrong value is replaced with. Others are left out."""
_REQUIRED: Mapping[str, Any] = {
    "name": "?",
    "persona": "?",
    "id": "?",
    "prompt": "?",
    "until": "?",
    "participants": ["?"],
    "rerun": ["?"],
    "terminate": {"max_turns": 1},
    "max_attempts": 1,
    "tasks": {},
}
"""What a field that must be there holds where it is missing."""


def _mend(data: Any, path: Path, kind: str) -> None:
    """Change what stands at `path`, where it still stands, so that the rest can be validated."""
    parent: Any = None
    here: Any = data
    for part in path:
        parent, here = here, _child(here, part)
    if parent is None:
        return
    last = path[-1]
    if kind == "missing":
        parent[last] = _REQUIRED[str(last)]
    elif kind in _HARMLESS and here != _HARMLESS[kind]:
        parent[last] = type(_HARMLESS[kind])(_HARMLESS[kind])
    elif isinstance(parent, list):
        _mend(data, path[:-1], "")
    else:
        parent.pop(last, None)


def _child(parent: Any, part: str | int) -> Any:
    try:
        return parent[part]
    except (KeyError, IndexError, TypeError):
        return None


_MEANT: Mapping[str, tuple[str, str]] = {
    "string_type": ("text", "put it in quotes"),
    "int_type": ("a whole number", "write 3, without quotes"),
    "int_from_float": ("a whole number", "write 3, without a fraction"),
    "float_type": ("a number", "write 2.5, without quotes"),
    "bool_type": ("true or false", "YAML 1.2 knows true and false only"),
    "list_type": ("a list", "write [first, second]"),
    "dict_type": ("a mapping", "write {field: value}"),
    "model_type": ("a mapping", "write {field: value}"),
    "model_attributes_type": ("a mapping", "write {field: value}"),
}


def _problem(root: Node, data: Any, detail: ErrorDetails) -> Problem:
    """Return a validation error as a problem in the file."""
    kind, path, value = detail["type"], _path(data, detail["loc"]), detail["input"]
    last = path[-1] if path else "the file"
    context: Mapping[str, Any] = detail.get("ctx", {})
    if kind == "extra_forbidden":
        model = _model_at(path[:-1])
        hint = nearest(str(last), _fields(model))
        return root.problem(path, "unknown-field", f"'{last}' is not a field of {model.noun}", hint, key=True)
    if kind == "missing":
        model = _model_at(path[:-1])
        problem = root.problem(path[:-1], "missing-field", f"{model.noun} needs '{last}'", key=True)
        return _replace_path(problem, path)
    if kind in _MEANT:
        meant, hint = _MEANT[kind]
        if isinstance(value, str) and kind not in ("dict_type", "model_type", "bool_type"):
            hint = f"write [{value}]" if kind == "list_type" else f"write {value}, without quotes" if _is_number(value) else hint
        return root.problem(path, "wrong-type", f"'{_named(path)}' takes {meant}, not {_found(value)}", hint)
    if kind == "literal_error":
        choices = _quoted(context.get("expected", ""))
        hint = nearest(str(value), choices) if isinstance(value, str) else ""
        message = f"'{_named(path)}' is one of {', '.join(choices)}; not {_found(value)}"
        return root.problem(path, "invalid-value", message, "" if hint.startswith("known") else hint)
    if "-" in kind:  # our own
        return root.problem(path, kind, detail["msg"])
    return root.problem(path, "out-of-range", f"'{_named(path)}' {_limit(detail['msg'])}")


def _is_number(text: str) -> bool:
    return isinstance(scalar(text), int | float) if text else False


def _replace_path(problem: Problem, path: Path) -> Problem:
    from dataclasses import replace  # noqa: PLC0415

    return replace(problem, path=path)


def _named(path: Path) -> str:
    """Return a field's name; an item of a list goes by its list."""
    return str(next((part for part in reversed(path) if isinstance(part, str)), "the file"))


def _found(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            return f"the text '{value if len(value) <= 40 else value[:40] + '…'}'"
    return f"the number {str(value)[:40]}"


def _limit(message: str) -> str:
    """Return pydantic's words for a broken limit, without its subject."""
    text = re.sub(r"^(Input|String|List|Value) should ", "should ", message)
    return text[:1].lower() + text[1:]


def _quoted(expected: str) -> list[str]:
    return re.findall(r"'([^']*)'", expected)


def _fields(model: type[_Part]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(path: Path) -> type[_Part]:
    """Return which part of the format stands at a place of the tree."""
    here: Any = SquadSpec
    for part in path:
        here = _below(here, part)
    return next(_models(here), _Part)


def _below(annotation: Any, part: str | int) -> Any:
    for model in _models(annotation):
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                return field.annotation
    for kind in _flat(annotation):
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is dict and isinstance(part, str):
            return arguments[1]
        if origin is list and isinstance(part, int):
            return arguments[0]
    return Any


def _models(annotation: Any) -> Iterator[type[_Part]]:
    return (kind for kind in _flat(annotation) if isinstance(kind, type) and issubclass(kind, _Part))


def _flat(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _flat(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _flat(inner)
    else:
        yield annotation
