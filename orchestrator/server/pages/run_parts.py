"""The parts of a run's page: rows of tasks, one task, what was said, calls, files, money. All texts are masked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple
from urllib.parse import quote

from orchestrator.server.run_view import RunView
from orchestrator.server.views.calls import CallView
from orchestrator.server.views.money import SpentSoFar
from orchestrator.server.views.talk import SaidView, TalkView
from orchestrator.server.views.tasks import TaskView
from orchestrator.squad.elements import template_of
from orchestrator.squad.plan import HUMAN
from providers.documents.unicode import cut, printable

PAGE = 100
"""Tasks on one page."""
MOST_TEXT = 40_000
"""Characters of one text that a page shows."""
MOST_ELEMENTS = 200
VOICES = 6
NOTHING = SpentSoFar()


class SaidShown(NamedTuple):
    """Something that was said. `voice` numbers the colour of its speaker."""

    speaker: str
    voice: int
    is_person: bool
    at: float
    text: str
    round: int
    to: str
    is_undone: bool
    error: str


class TalkShown(NamedTuple):
    """One conversation. `left_out`: earlier utterances that are not shown."""

    name: str
    place: str
    said: Sequence[SaidShown]
    left_out: int
    ended: str


class CallShown(NamedTuple):
    """One call of a tool."""

    at: float
    task: str
    place: str
    turn: int
    name: str
    arguments: str
    result: str
    ok: bool | None
    ms: float
    is_untrusted: bool
    note: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Makes texts of a run as pages show them: without secrets, and not too long."""

    mask: Callable[[str], str]

    def text(self, value: Any, most: int = MOST_TEXT) -> str:
        """Return a value as text."""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)
        kept = printable(text if len(text) <= most else cut(text, most))
        return self.mask(kept if len(text) <= most else f"{kept}\n… {len(text) - len(kept):,} more characters")

    def transcript(self, said: Sequence[SaidView]) -> list[SaidShown]:
        """Return what was said, each speaker in a colour of its own as far as there are some."""
        voices = {speaker: number for number, speaker in enumerate(dict.fromkeys(one.speaker for one in said))}
        return [self._said(one, voices[one.speaker] % VOICES) for one in said]

    def _said(self, one: SaidView, voice: int) -> SaidShown:
        to = one.to or ", ".join(one.asked)
        if one.heard is not None and not to:
            to = ", ".join(one.heard)
        is_person = one.speaker in (HUMAN, "you")
        speaker = "a person" if one.speaker == HUMAN else one.speaker
        text = self.text(one.text)
        return SaidShown(speaker, voice, is_person, one.at, text, one.round, to, one.is_undone, self.text(one.error))

    def talk(self, talk: TalkView, most: int | None) -> TalkShown:
        kept = talk.said if most is None else talk.said[-most:]
        name = talk.name or "conversation"
        return TalkShown(
            name,
            talk.place,
            self.transcript(talk.said)[-len(kept) :] if kept else [],
            len(talk.said) - len(kept),
            self.text(talk.ended),
        )

    def call(self, call: CallView) -> CallShown:
        return CallShown(
            call.at,
            call.task,
            call.place,
            call.turn,
            self.text(call.name, 100),
            self.text(call.arguments),
            self.text(call.result),
            call.ok,
            call.ms,
            call.is_untrusted,
            self.text(call.note),
        )

    def outputs(self, view: RunView) -> list[tuple[str, str]]:
        """Return what a run came to."""
        if view.finished is None:
            return []
        return [(name, self.text(value)) for name, value in view.finished.outputs.items() if value is not None]


class TaskCells(NamedTuple):
    """A task in the table, as `label` shows its id. `began` and `ended` are epoch seconds, `cost` micro-USD."""

    id: str
    label: str
    status: str
    who: str
    began: float | None
    ended: float | None
    attempt: int
    tries: int
    turns: int
    cost: int
    unknown: int
    tokens: int
    error: str
    elements: str


@dataclass(frozen=True, slots=True)
class TaskRows:
    """One page of the tasks. `title` says which are meant, where not all are."""

    rows: Sequence[TaskCells]
    page: int
    pages: int
    count: int
    title: str


def task_rows(
    tasks: Mapping[str, TaskView],
    who: Mapping[str, str],
    spent: Mapping[str, SpentSoFar],
    show: str,
    page: str,
    shown: Shown,
) -> TaskRows:
    """Return the tasks in the status `show`, or of the template `in:...`; empty: all. `page` counts from 1."""
    if show.startswith("in:"):
        of = show[3:]
        meant = [task for task in tasks.values() if template_of(task.id) == of or task.id == of]
    else:
        meant = [task for task in tasks.values() if not show or task.status == show]
    pages = max(ceil(len(meant) / PAGE), 1)
    number = min(max(int(page), 1), pages) if page.isdecimal() and len(page) < 9 else 1
    page_of = meant[(number - 1) * PAGE : number * PAGE]
    rows = [_row(task, spent.get(task.id, NOTHING), shown, who.get(task.id, "")) for task in page_of]
    return TaskRows(rows, number, pages, len(meant), show)


def _row(task: TaskView, spent: SpentSoFar, shown: Shown, who: str = "") -> TaskCells:
    elements = f"{task.elements_done:,} of {len(task.elements):,}" if task.elements else ""
    return TaskCells(
        task.id,
        shown.text(task.id, 200),
        task.status,
        task.who or who,
        task.began,
        task.ended,
        task.attempt,
        task.tries,
        task.turns,
        spent.cost,
        spent.unknown,
        spent.tokens,
        shown.text(task.error, 300),
        elements,
    )


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """One task with all that is known of it."""

    row: TaskCells
    model: str
    notes: Sequence[str]
    error: str
    output: str
    output_file: str | None
    elements: Sequence[tuple[str, str]]
    elements_left: int


def selected_task(task: TaskView, view: RunView, shown: Shown) -> TaskDetail:
    """Return the task that was clicked."""
    elements = [(shown.text(key, 100), status) for key, status in task.elements.items()]
    return TaskDetail(
        _row(task, view.money.by_task.get(task.id, NOTHING), shown),
        task.model,
        [shown.text(note, 1000) for note in task.notes],
        shown.text(task.error),
        "" if task.output is None else shown.text(task.output),
        task.output_file,
        elements[:MOST_ELEMENTS],
        max(len(elements) - MOST_ELEMENTS, 0),
    )


class FileShown(NamedTuple):
    """A file of a run. `untrusted`: whose words it may hold. `href` empty: its name holds a secret."""

    path: str
    href: str
    size: int
    sha256: str
    task: str
    untrusted: str


def files_of(view: RunView, shown: Shown) -> list[FileShown]:
    """Return the files that a run made, by path."""
    base = f"/runs/{quote(view.id, safe='')}/artifacts/"
    return [
        FileShown(
            shown.text(file.path),
            base + quote(file.path, safe="/") if shown.text(file.path) == file.path else "",
            file.size,
            file.sha256,
            file.task,
            shown.text(", ".join(view.untrusted.get(file.path, ()))),
        )
        for file in sorted(view.files.values())
    ]


class CostTable(NamedTuple):
    """What was spent, by one thing. The dearest first."""

    title: str
    rows: Sequence[tuple[str, SpentSoFar]]
    left_out: int


MOST_COSTS = 20


def costs(view: RunView, shown: Shown) -> list[CostTable]:
    """Return what a run has cost by task, by agent, by model."""
    money = view.money
    made: list[CostTable] = []
    for title, spent in (("Task", money.by_task), ("Agent", money.by_agent), ("Model", money.by_model)):
        rows = sorted(spent.items(), key=lambda item: (-item[1].cost, -item[1].tokens, item[0]))
        named = [(shown.text(name) or "the run itself", one) for name, one in rows[:MOST_COSTS]]
        made.append(CostTable(title, named, max(len(rows) - MOST_COSTS, 0)))
    return made
