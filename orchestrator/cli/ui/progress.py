"""What a run looks like from its events: pure. A fold of the public documents, so a recorded run reads the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.cuts import cut_words
from orchestrator.cli.ui.figures import duration, tokens, usd
from orchestrator.cli.ui.open_questions import OpenQuestions
from orchestrator.cli.ui.reasons import Document, Reasons, budget_text
from orchestrator.cli.ui.task_row import TaskRow
from orchestrator.events import question_name
from orchestrator.run.tool_calls import call_text, clipped
from providers.catalog.model import numbered

WIDTH = 60
"""Characters of a tool's arguments, or of its result, in a line of progress."""


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """One line of progress."""

    row: str
    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(slots=True)
class Progress:
    """The state of a run, from its events. `apply` takes each event once, in order, and returns what to show."""

    squad: str = ""
    run_id: str = ""
    stub: bool = False
    status: str = "running"
    began: float | None = None
    out: str | None = None
    forked: str = ""
    takes_over: bool = False
    """Whether it is a fork that has not begun its own work yet."""
    rows: dict[str, TaskRow] = field(default_factory=dict)
    tokens: int = 0
    cost: float | None = 0.0
    questions: OpenQuestions = field(default_factory=OpenQuestions)
    artifacts: dict[str, str] = field(default_factory=dict)
    finished: Document | None = None
    last_failure: tuple[str, str] | None = None
    last_output: Any = None
    """The output of the task that ended last, approvals left out."""
    ended: float | None = None
    out_of: str = ""
    """The budget that was reached last: `squad`, `task build`, or that of the `day`. `file`: a disk refused one."""
    attempt_errors: set[str | None] = field(default_factory=set)
    reasons: Reasons = field(default_factory=Reasons)
    unread: list[tuple[str, str]] = field(default_factory=list)
    """Each control line of a conversation that could not be followed: its task, and why."""

    def apply(self, event: Document) -> ProgressLine | None:
        self.reasons.apply(event)
        handler = getattr(self, "_on_" + event["type"].replace(".", "_"), None)
        change: ProgressLine | None = handler(event) if handler else None
        return change

    def took(self) -> str:
        """Return how long the run took."""
        return "" if self.began is None or self.ended is None else duration(self.ended - self.began)

    def to_explain(self) -> str | None:
        """Return the task whose turns are most worth explaining: the last that failed, where nothing did the last.

        None where that one asked no model: its failure has another cause.
        """
        asked = [row.name.partition("[")[0] for row in self.rows.values() if row.model]
        if self.last_failure is None:
            return asked[-1] if asked else None
        failed = self.last_failure[0].partition("[")[0]
        return failed if failed in asked else None

    def running(self) -> Iterator[TaskRow]:
        return (row for row in self.rows.values() if row.state == "running")

    def truncated(self) -> Iterator[tuple[str, list[Document]]]:
        """Yield each task with the texts in its output that are cut off, where there are any."""
        return ((row.name, row.truncated) for row in self.rows.values() if row.truncated and not row.is_element)

    def counts(self) -> dict[str, int]:
        """Return how many rows are in each state."""
        counts: dict[str, int] = {}
        for row in self.rows.values():
            counts[row.state] = counts.get(row.state, 0) + 1
        return counts

    def _row_at(self, event: Document) -> TaskRow | None:
        """Return the row in which the event happened: the element's, else the task's."""
        place = event["place"]
        if place is None:
            return None
        element = None if place["key"] is None else self.rows.get(f"{place['task']}[{place['key']}]")
        return element or self.rows.get(place["task"])

    def _own(self, event: Document) -> TaskRow:
        name = event["task"] if event.get("key") is None else f"{event['task']}[{event['key']}]"
        return self.rows.setdefault(name, TaskRow(name))

    def _on_run_started(self, event: Document) -> ProgressLine | None:
        self.squad, self.run_id, self.stub, self.out = event["squad"], event["run_id"], event["stub"], event["out"]
        self.began = event["at"]
        self.rows = {task: TaskRow(task) for task in event["tasks"]}
        return None

    def _on_run_resumed(self, event: Document) -> ProgressLine:
        self.began, self.ended, self.status = event["at"], None, "running"
        for row in self.rows.values():
            if row.state in ("parked", "interrupted"):
                row.state, row.detail = "running", ""
        tasks = sum("[" not in name for name in self.rows)
        again = f"; was in flight: {', '.join(event['in_flight'])}" if event["in_flight"] else ""
        if self.takes_over:
            text = f"starts: {len(event['done'])} of {tasks} tasks taken over, {usd(self.cost)} spent"
        else:
            text = f"resumed: {len(event['done'])} of {tasks} tasks done, {usd(self.cost)} spent{again}"
        self.takes_over = False
        return ProgressLine(self.run_id, text, "warning" if again else "info")

    def _on_run_edited(self, event: Document) -> ProgressLine | None:
        renamed, void = event["renamed"], {*event["again"], *event["gone"]} - event["renamed"].keys()
        kept: dict[str, list[TaskRow]] = {}
        for row in self.rows.values():
            task, bracket, key = row.name.partition("[")
            if task not in void:
                new = renamed.get(task, task)
                row.name = f"{new}{bracket}{key}"
                kept.setdefault(new, []).append(row)
        self.rows = {row.name: row for task in event["tasks"] for row in kept.get(task, [TaskRow(task)])}
        self.questions.close(lambda question: question.row not in self.rows)
        self.status, self.finished = "running", None
        if not event["parts"]:
            return None
        again = f"; runs again: {', '.join(event['again'])}" if event["again"] else ""
        lost = f"; was in flight: {', '.join(event['in_flight'])}" if event["in_flight"] else ""
        return ProgressLine(
            self.run_id, f"edited: {', '.join(event['parts'])}{again}{lost}", "warning" if lost else "info"
        )

    def _on_run_forked(self, event: Document) -> ProgressLine:
        self.tokens, self.cost, self.takes_over = 0, 0.0, True
        kept = len(event["kept"])
        tasks = f"{kept} task{'' if kept == 1 else 's'}"
        self.forked = f"from {event['source']}, which paid {usd(event['cost_usd'])} for {tasks}"
        return ProgressLine(self.run_id, f"forked {self.forked}")

    def _on_call_repeated(self, event: Document) -> ProgressLine:
        return ProgressLine(
            event["step"], "a call was in flight when the run was cut short: it may have been paid twice", "warning"
        )

    def _on_task_started(self, event: Document) -> ProgressLine:
        row = self._own(event)
        row.who, row.attempt = event["who"], event["attempt"]
        return self._begin(row, event, f"started ({row.who})")

    def _on_task_expanded(self, event: Document) -> ProgressLine:
        row = self._own(event)
        elements = {f"{row.name}[{key}]": TaskRow(f"{row.name}[{key}]") for key in event["keys"]}
        rows: dict[str, TaskRow] = {}
        for name, other in self.rows.items():  # elements follow their task, and replace those of an earlier attempt
            if not name.startswith(f"{row.name}["):
                rows[name] = other
            if name == row.name:
                rows |= elements
        self.rows = rows
        return self._begin(row, event, f"fans out over {len(event['keys'])}")

    def _on_element_started(self, event: Document) -> ProgressLine:
        return self._begin(self._own(event), event, "started")

    def _begin(self, row: TaskRow, event: Document, text: str) -> ProgressLine:
        row.state, row.began, row.ended, row.detail = "running", event["at"], None, ""
        return ProgressLine(row.name, text)

    def _on_task_ended(self, event: Document) -> ProgressLine:
        row = self._own(event)
        self.questions.ended(row.name)
        row.state, row.ended, row.detail = event["status"], event["at"], event["error"] or ""
        row.truncated = list(event.get("truncated", ()))
        for element in self._never_begun(row) if event.get("key") is None else ():
            element.state = "cancelled"
        if row.state == "failed":
            self.last_failure = (row.name, row.detail)
            return ProgressLine(row.name, f"failed: {row.detail}", "error")
        if row.state == "ok" and event.get("key") is None and not row.is_approval:
            self.last_output = event["output"]
        is_odd = row.state == "cancelled" or bool(row.truncated)
        return ProgressLine(row.name, self._ending(row), "warning" if is_odd else "info")

    _on_element_ended = _on_task_ended

    def _never_begun(self, task: TaskRow) -> Iterator[TaskRow]:
        """Yield the elements of a fan-out that wait still: no event tells of those that `fail_fast` leaves out."""
        return (row for row in self.rows.values() if row.state == "waiting" and row.name.startswith(f"{task.name}["))

    def _ending(self, row: TaskRow) -> str:
        if row.state != "ok":
            return f"{row.state}: {row.detail}" if row.detail else row.state
        figures = (duration(row.seconds(row.ended or 0.0)), row.model, tokens(row.tokens), usd(row.cost))
        return "ok  " + "  ".join(figure for figure in (*figures, cut_words(row.truncated)) if figure)

    def _on_task_retried(self, event: Document) -> ProgressLine:
        row = self._own(event)
        row.attempt = event["attempt"]
        self._works_again(self.questions.ended(row.name))
        return ProgressLine(row.name, f"attempt {row.attempt}, after: {event['error']}", "warning")

    def _on_task_repeated(self, event: Document) -> ProgressLine:
        row = self._own(event)
        return ProgressLine(row.name, f"`until` did not hold after attempt {event['attempt']}")

    def _on_agent_chosen(self, event: Document) -> ProgressLine | None:
        row = self._row_at(event) or self._own(event)
        row.who = event["agent"]
        return ProgressLine(row.name, f"{event['agent']} is chosen, of {', '.join(event['among'])}")

    def _on_case_chosen(self, event: Document) -> ProgressLine | None:
        row = self._row_at(event) or self._own(event)
        return ProgressLine(row.name, f"case {event['case']}, of {', '.join(event['cases'])}")

    def _on_task_reset(self, event: Document) -> ProgressLine:
        row = self._own(event)
        row.state, row.began, row.ended, row.truncated = "waiting", None, None, []
        return ProgressLine(row.name, "runs again, with the reviewer's comment")

    def _on_task_parked(self, event: Document) -> ProgressLine:
        row = self._own(event)
        row.state, row.detail = "gate" if self.questions.of(row.name) else "parked", event["reason"]
        if event["cause"] == "file":
            self.out_of = "file"
        return ProgressLine(row.name, f"paused: {row.detail}", "warning")

    def _on_file_kept(self, event: Document) -> ProgressLine:
        done = "left as it is" if event["aside"] is None else f"kept as {event['aside']}"
        return ProgressLine(event["path"], f"was changed since this run wrote it: {done}", "warning")

    def _on_knowledge_read(self, event: Document) -> ProgressLine | None:
        if not event["unread"]:
            return None
        more = event["unread_count"] - len(event["unread"])
        told = "; ".join(event["unread"]) + (f"; and {more} more" if more else "")
        return ProgressLine(event["folder"], f"not read: {told}", "warning")

    def _on_memory_by_words(self, event: Document) -> ProgressLine:
        return ProgressLine(event["agent"], f"memory goes by words alone: {event['reason']}", "warning")

    def _on_file_unwritten(self, event: Document) -> ProgressLine:
        self.out_of = "file"
        return ProgressLine(event["task"], f"paused: {event['reason']}", "warning")

    def _on_gate_opened(self, event: Document) -> ProgressLine:
        row, name = self._row_at(event) or self._own(event), question_name(event["task"], event["shown"])
        self.questions.opened(event, row.name)
        row.state = "gate"
        if row.name == name:
            row.is_approval = True
            row.who, row.attempt, row.began = "a person", event["attempt"], event["at"]
        awaited = "awaiting approval" if "approve" in event["choices"] else "awaiting a person's reply"
        return ProgressLine(name, f"{awaited}: {event['prompt']}", "warning")

    def _on_gate_answered(self, event: Document) -> ProgressLine:
        comment = f" ({event['comment']})" if event["comment"] else ""
        self._works_again(self.questions.answered(event))
        said = event["choice"] + (", for the run," if event.get("grant") else "")
        to = "" if event.get("edited") is None else f", changed to {clipped(event['edited'], WIDTH)}"
        return ProgressLine(event["task"], f"{said} by {event['by']}{comment}{to}")

    def _on_message_spoken(self, event: Document) -> None:
        self._works_again(self.questions.spoken(event))

    def _works_again(self, rows: set[str]) -> None:
        """Show those at work again that wait for no person any more. An approval ends by its answer."""
        for row in (self.rows[name] for name in rows if name in self.rows):
            if row.state == "gate" and not row.is_approval:
                row.state = "running"

    def _on_control_unread(self, event: Document) -> ProgressLine:
        place = event["place"]
        row = self._row_at(event) or TaskRow("" if place is None else place["task"])
        text = f"{event['speaker']}'s line '{event['line']}' could not be followed: {event['why']}"
        self.unread.append((row.name, text))
        return ProgressLine(row.name, text, "warning")

    def _on_budget_reached(self, event: Document) -> ProgressLine:
        self.out_of = event["which"]
        return ProgressLine(event["which"], f"budget reached: {budget_text(event).partition(': ')[2]}", "warning")

    def _on_artifact_written(self, event: Document) -> None:
        self.artifacts[event["path"]] = event["sha256"]

    def _on_attempt_started(self, event: Document) -> None:
        if (row := self._row_at(event)) is not None:
            row.model = candidate_of(event)

    def _on_attempt_ended(self, event: Document) -> ProgressLine | None:
        self.attempt_errors.add(event["error"])
        row = self._row_at(event)
        if event.get("usage") is not None:  # it did not answer, and was billed all the same
            self._bill(event)
        if event["outcome"] != "failed" or row is None:
            return None
        who = candidate_of(event)
        return ProgressLine(row.name, f"{who} failed: {event['error']}: {event['detail'] or ''}", "warning")

    def _on_tool_started(self, event: Document) -> ProgressLine | None:
        return self._of_tool(event, f"calls {call_text(event['name'], event.get('arguments', ''), WIDTH)}")

    def _on_tool_ended(self, event: Document) -> ProgressLine | None:
        said = f"{event['name']} {'answered' if event['ok'] else 'failed'}"
        result = clipped(event.get("result", "").removeprefix(f"{said}: "), WIDTH)
        line = self._of_tool(event, f"{said} ({duration(event['ms'] / 1000)}){result and f': {result}'}")
        return line if line is None or event["ok"] else replace(line, level="warning")

    def _of_tool(self, event: Document, text: str) -> ProgressLine | None:
        row = self._row_at(event)
        return None if row is None else ProgressLine(row.name, text)

    def _on_waiting_for_provider(self, event: Document) -> ProgressLine | None:
        row = self._row_at(event)
        wait = max(event["until"] - event["at"], 0.0)
        return None if row is None else ProgressLine(row.name, f"waiting {wait:.0f} s: {event['reason']}", "warning")

    def _on_budget_alert(self, event: Document) -> ProgressLine:
        return ProgressLine(event["which"], alert_line(event), "warning")

    def _on_turn_ended(self, event: Document) -> None:
        self._bill(event)

    def _bill(self, event: Document) -> None:
        used, cost = sum(event["usage"][kind] for kind in BILLED), event["cost_usd"]
        self.tokens += used
        self.cost = None if cost is None or self.cost is None else self.cost + cost
        if (row := self._row_at(event)) is not None:
            row.tokens += used
            row.cost = None if cost is None or row.cost is None else row.cost + cost

    def _on_run_finished(self, event: Document) -> None:
        self.finished, self.status, self.ended = event, event["status"], event["at"]
        self.cost, self.tokens = event["cost_usd"], sum(event["usage"][kind] for kind in BILLED)
        if event["status"] not in ("waiting", "paused", "cancelled"):  # what a person said in a conversation was heard
            self.rows = {name: row for name, row in self.rows.items() if row.state != "gate" or name in event["tasks"]}
            for name, row in self.rows.items():
                row.state = event["tasks"][name] if row.state == "gate" else row.state
        self.leave()

    def leave(self, state: str = "interrupted") -> None:
        """Take note that no process drives the run: what was at work is so no more."""
        for row in self.running():
            row.state = state


BILLED = ("input_tokens", "output_tokens")
"""The two that together hold all tokens: cached ones are part of the input, reasoning of the output."""


def candidate_of(event: Document) -> str:
    """Return the candidate of an attempt, by the name that policies and `--model` take."""
    return numbered(f"{event['provider']}/{event['model']}", event.get("account", 1))


def alert_line(event: Document) -> str:
    """Return what a `budget.alert` says: which share of which budget is spent."""
    kind, _, name = event["which"].partition(" ")
    of = "the day's budget" if kind == "day" else f"the day's budget for {name}"
    spent = f"{usd(event['spent_usd'])} of {usd(event['cap_usd'])}"
    return (
        f"{of} is used up: {spent}" if event["share"] == 1 else f"{event['share'] * 100:g}% of {of} is spent: {spent}"
    )


def budget_line(progress: Progress, caps: Caps, now: float) -> str:
    """Return what was used, each figure with its cap where it has one."""
    cost = usd(progress.cost) + (f" of {usd(caps.cost)}" if caps.cost is not None else "")
    used = f"{progress.tokens:,}" + (f" of {caps.tokens:,}" if caps.tokens is not None else "") + " tokens"
    spent = duration(now - progress.began) if progress.began is not None else ""
    spent += f" of {duration(caps.seconds)}" if caps.seconds is not None else ""
    return "  ".join(filter(None, (cost, used, spent)))
