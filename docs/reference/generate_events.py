"""Writes `events.md` beside it from the classes of the events: `python docs/reference/generate_events.py`.

The examples are events of a real run of the squad below, by a model that is scripted, or values of the real classes
written as `run --json` writes them. A test compares the page with what this makes.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from agents import events as of_agents
from orchestrator.events import (
    AnswerOverruled,
    ArtifactWritten,
    BudgetReached,
    CallRepeated,
    CallsCutShort,
    ChatPartner,
    ControlUnread,
    ConversationEnded,
    ExchangesUndone,
    FileKept,
    FileUnwritten,
    FileWritten,
    GateAnswered,
    GateOpened,
    MessageSpoken,
    RoutingReread,
    RunEdited,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskParked,
    UserSaid,
)
from orchestrator.events import tasks as of_tasks
from orchestrator.events.envelope import MONEY, SCHEMA_VERSION, Event, to_json, type_of
from orchestrator.events.listing import FIELDS, SUBJECTS, UNRECORDED
from orchestrator.units import Unit
from providers import events as of_providers
from providers.messages import FinishReason, Usage

PAGE = Path(__file__).with_name("events.md")
RUN = "notes-20261201-101500"
AT = 1_796_120_100.25
USAGE = Usage(412, output=96)
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WIDTH = 118

EXAMPLES: tuple[Any, ...] = (
    RunStarted("notes", ("draft", "review"), stub=False, out="out/notes-20261201-101500"),
    RunResumed(("draft",), ("review/try-1/review/1",)),
    RunEdited(("draft", "review"), ("tasks.review.description",), again=("review",)),
    RunForked("notes-20261130-090000", ("draft",), ("review",), ("tasks.review.description",), USAGE, 1_250),
    RunFinished(RUN, "done", {"review": "review.md"}, {"review.md": DIGEST}, USAGE, 1_250, {"review": "ok"}, False),
    BudgetReached("squad", "max_cost", "stop", 0.499, 0.5),
    CallsCutShort(),
    CallRepeated("review/try-1/review/1"),
    RoutingReread("agent_routing.yaml", None),
    of_tasks.TaskStarted("review", 1, "murat"),
    TaskEnded("review", "ok", "The riskiest claim is the sync.", "review.md"),
    of_tasks.TaskRetried("review", 1, "the answer is empty"),
    of_tasks.TaskRepeated("review", 1),
    of_tasks.TaskReset("draft"),
    TaskParked("review", None, "approval 'publish' awaits an answer", "waiting"),
    of_tasks.TaskResumed("review", None),
    of_tasks.TaskExpanded("check", ("S-1", "S-2"), ({"id": "S-1"}, {"id": "S-2"})),
    of_tasks.ElementStarted("check", "S-1"),
    of_tasks.ElementEnded("check", "S-1", "ok", "It can be tested."),
    of_tasks.AgentChosen("answer", "billing", ("billing", "tech")),
    of_tasks.CaseChosen("answer", "money", ("money", "fault", "default")),
    MessageSpoken("paige", "I would cut the second claim.", 1, "debate", ("murat",)),
    ControlUnread("debate", "murat", "NEXT: the writer", "nobody", "no one who takes part is called 'the writer'"),
    ConversationEnded("debate", "max_turns 6", 6, "max_turns"),
    UserSaid(1, "paige", "What changed since May?"),
    ExchangesUndone((2, 3)),
    ChatPartner("murat", "openai/gpt-6-luna"),
    GateOpened("publish", "Publish these notes?", ("approve", "reject"), {"draft": "Lists sync."}, 1, timeout=3600.0),
    GateAnswered("publish", "approve", "", "terminal"),
    AnswerOverruled("publish", "approve", "reject", "cli"),
    ArtifactWritten("review.md", DIGEST, 31),
    FileWritten("data/rows.csv", DIGEST, 2_048),
    FileKept("review.md", "review.1.md"),
    FileUnwritten("review", "review.md", "No space left on device"),
    of_agents.FileOrigin("rows.csv", "workspace", ("tool http_get",)),
    of_agents.TurnStarted("murat", 1),
    of_agents.TurnEnded("murat", 1, "openai", "gpt-6-luna", USAGE, 1_250, FinishReason.STOP),
    of_agents.ToolStarted(1, 1, "read_file", '{"path": "draft.md"}'),
    of_agents.ToolProgress(1, 1, "import_rows", "rows read", 400, 1_000),
    of_agents.ToolEnded(1, 1, "read_file", ok=True, ms=3.2, arguments='{"path": "draft.md"}', result="Lists sync"),
    of_agents.RepeatStopped(4, 1, "read_file", 3),
    of_agents.RiskyCallHeld(2, 1, "run_command", ("tool http_get",), "ask"),
    of_agents.GuardrailChecked(1, "output", "no_secrets", passed=True),
    of_agents.HistoryFitted("murat", 9, 14, 2, 30_100, 30_720),
    of_agents.HistorySummarised("murat", 9, 14, 22_000, 640),
    of_agents.ContextSummarised("murat", 1, "tasks.draft", 22_000, 640),
    of_agents.MemoryRecalled("murat", ("m-17",), ("guide.md:3-9",)),
    of_agents.MemoryByWords("murat", "openai/text-embedding-3-small", "401: the key was refused"),
    of_agents.KnowledgeRead("docs", 12, 96, changed=2),
    of_agents.TextsEmbedded("murat", 96, "openai", "text-embedding-3-small", Usage(18_400), 368),
    of_providers.RouteChosen(("openai/gpt-6-luna", "groq/llama-3.3-70b"), {"gemini/gemini-3-pro": "no key"}),
    of_providers.AttemptStarted(1, "openai", "gpt-6-luna", reserved=4_000, reserved_tokens=1_436, reckoned=412),
    of_providers.AttemptEnded(1, "openai", "gpt-6-luna", "failed", "RateLimited", "try again in 20 s", 212.5, DIGEST),
    of_providers.WaitingForProvider(AT + 20, "openai/gpt-6-luna: retry after 20 s"),
    of_providers.WaitingForBudget(),
    of_providers.BudgetAlert("day", 0.8, 4_000_000, 5_000_000),
    of_providers.AlertNotPosted("ALERT_WEBHOOK", "day", "503"),
    of_providers.LedgerLost("connection refused", 0.25),
    of_providers.LedgerRegained(),
    of_providers.LedgerEmptied(),
    of_providers.ProviderExchange("openai", "POST https://api.openai.com/v1/responses", {}, "", 400, {}, "", "", 9.5),
)  # fmt: skip

HEAD = f"""# Events

Made by `docs/reference/generate_events.py` from the classes of the events. Each example is a value of such a class,
written by the function that `run --json` uses.

A run tells what happens as events. You get the same ones

- from `orchestrator run squad.yaml --json`: one JSON document a line on stdout (JSON Lines), the last one
  `run.finished`; `runs watch RUN --json` follows a run that another process drives;
- in Python, from `run_squad(..., on_event=f)` and `async for event in run`: an `Event` whose `data` is the class that
  is named below;
- from the server, at `GET /api/runs/RUN/events` as server-sent events;
- in the log, with `--log-format json`.

```sh
orchestrator run squad.yaml --json | jq -r 'select(.type == "task.ended") | .task + ": " + .status'
```

## The document

Every document has these fields, and beside them those of its type:

| field | type | what it is |
|---|---|---|
| `type` | text | what happened, as in the titles below |
| `id` | text | run, place, turn and number: the same when a replay tells it again |
| `run_id` | text | the run |
| `at` | number | when: epoch seconds UTC, to the microsecond |
| `unit` | text | where in the run: `draft/try-1`, `build[S-1]/try-1/code`; empty: the run itself |
| `place` | mapping or null | the same as fields: `task`, `key`, `attempt`, `step`, `turn`; null: the run itself |

- **Money** is USD in documents, in fields that end in `_usd`. In Python the field has no such ending and holds whole
  micro-USD (millionths of a USD).
- **Nothing is left out**: what is not known is null, a list without items `[]`.
- **Recorded** events are in the run's journal: `runs show`, `explain` and a resumed run know them. The few others are
  told to the process alone, by `notify`, and are in no JSON output.
- **Versions**: `run.finished` says `schema_version`, now {SCHEMA_VERSION}. Within a version types and fields are added,
  and none is taken away or changes its meaning: ignore what you do not know.
- With `--stream`, documents of the type `delta` come between the events: pieces of answers while they are written,
  never recorded ([streaming](../guides/streaming.md)).
- Keys of the environment are masked in all texts.

## All events
"""


def page() -> str:
    """Return the whole page."""
    lines = [HEAD, *_contents()]
    for subject, classes in SUBJECTS.items():
        lines += [f"## {subject}", "", *(line for cls in classes for line in _section(cls))]
    return "\n".join(lines).rstrip("\n") + "\n"


def _contents() -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for subject, classes in SUBJECTS.items():
        links = ", ".join(f"[{name}](#{name.replace('.', '')})" for name in map(name_of, classes))
        yield f"| {subject} | {links} |"
    yield ""


def name_of(cls: type) -> str:
    return type_of(object.__new__(cls))


def _section(cls: type) -> Iterator[str]:
    text = re.sub(r"\bNone\b", "null", inspect.cleandoc(vars(cls)["__doc__"] or ""))
    yield from (f"### {name_of(cls)}", "", text, "")
    where = f"`{cls.__name__}` of `{'.'.join(cls.__module__.split('.')[:2])}`"
    yield f"{where}. {'Not recorded.' if cls in UNRECORDED else 'Recorded.'}"
    yield ""
    if shown := [one for one in fields(cls) if one.repr]:
        yield from ("| field | type | what it is |", "|---|---|---|")
        said, written = said_of_fields(cls), types_of_fields(cls)
        for one in shown:
            text = said[one.name].replace("micro-USD", "USD") if one.name in MONEY else said[one.name]
            yield f"| `{_shown_name(one)}` | {_type(one, written[one.name])} | {cell(text)} |"
        yield ""
    yield from ("```json", *_wrapped(example_of(cls)), "```", "")


def _shown_name(one: Field[Any]) -> str:
    return f"{one.name}_usd" if one.name in MONEY else one.name


def cell(text: str) -> str:
    return " ".join(re.sub(r"\bNone\b", "null", text).replace("|", "\\|").split())


WORDS: Mapping[str, str] = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "`true` or `false`",
    "None": "null",
    "Any": "any",
    "Usage": "usage",
    "Estimate": "mapping",
    "FinishReason": "text",
    "EndKind": "text",
    "TaskStatus": "text",
    "RunStatus": "text",
}


def _type(one: Field[Any], written: str) -> str:
    if one.name in MONEY:
        return "USD or null" if "None" in written else "USD"
    return _in_words(ast.parse(written, mode="eval").body)


def _in_words(node: ast.expr) -> str:
    match node:
        case ast.BinOp(left=left, right=right):
            return f"{_in_words(left)} or {_in_words(right)}"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[ast.Name(id="CutText"), *_])):
            return "list of mappings: `place`, `cause`, `tokens`"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[inner, *_])):
            return f"list of {_in_words(inner)}"
        case ast.Subscript(value=ast.Name(id="Mapping"), slice=ast.Tuple(elts=[_, inner])):
            return f"mapping of {_in_words(inner)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=values)):
            return ", ".join(f"`{ast.literal_eval(value)}`" if ast.literal_eval(value) else "empty" for value in values)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=value):
            return f"`{ast.literal_eval(value)}`"
        case ast.Constant(value=None):
            return "null"
        case ast.Name(id=name):
            return WORDS[name]
    raise AssertionError(ast.unparse(node))


def types_of_fields(cls: type) -> dict[str, str]:
    return {name: str(written) for name, written in inspect.get_annotations(cls).items()}


def said_of_fields(cls: type) -> dict[str, str]:
    """Return what is said of each field: below it in the source, or what it is in all classes."""
    (node,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(node, ast.ClassDef)
    said = {one.name: FIELDS[one.name] for one in fields(cls) if one.name in FIELDS}
    for line, after in zip(node.body, node.body[1:], strict=False):
        match line, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(below))):
                said[name] = below
    return said


def example_of(cls: type) -> dict[str, Any]:
    """Return the document of an event of a class, as `run --json` writes it."""
    payload = next(one for one in EXAMPLES if type(one) is cls)
    task = getattr(payload, "task", "review")
    is_of_run = cls.__module__.startswith("orchestrator.events") and not hasattr(payload, "task")
    unit = None if is_of_run and cls not in (MessageSpoken, ControlUnread, ConversationEnded) else Unit(task, None, 1)
    step = ("review",) if cls.__module__.startswith(("agents", "providers")) and unit else ()
    return to_json(Event(RUN, unit, step, getattr(payload, "turn", 0), 1, AT, payload))


def _wrapped(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a document as lines of JSON, with as many fields a line as fit."""
    line = "{"
    for number, (name, value) in enumerate(document.items(), 1):
        part = f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        part += "," if number < len(document) else "}"
        if len(line) + len(part) >= WIDTH and line.strip() != "{":
            yield line.rstrip()
            line = " "
        line += f"{part} "
    yield line.rstrip()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
