"""`explain [RUN] TASK`: which models a task's turns were sent to, in which order, how each attempt ended."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from agents.untrusted import told as told_sources
from orchestrator.cli import app
from orchestrator.cli.app import argument
from orchestrator.cli.desk import Desk
from orchestrator.cli.desks import at_desk
from orchestrator.cli.exits import NothingSelected
from orchestrator.cli.files import environment
from orchestrator.cli.journals import LATEST
from orchestrator.cli.local_desk import LocalDesk
from orchestrator.cli.remote.desk import RemoteDesk
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.cuts import finish_words
from orchestrator.cli.ui.figures import duration, usd
from orchestrator.cli.ui.heard import heard_lines
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.progress import candidate_of
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import Journal
from orchestrator.rerun.record import StepAt
from orchestrator.rerun.replay import read_record
from orchestrator.rerun.requests import Sent, attempts_of, body_of
from orchestrator.run.recorded import RecordedRun
from orchestrator.run.tool_calls import LISTED
from orchestrator.units import SAID, Unit, names_of, path_of, turn_of
from providers.documents.unicode import printable
from providers.routing.scores import Ordering, replay, score

MOST_OTHERS = 4
SHOWN = frozenset(
    {
        "agent.chosen",
        "case.chosen",
        "guardrail.checked",
        *("memory.recalled", "memory.by_words", "texts.embedded"),
        "risky.call_held",
        *("history.fitted", "history.summarised", "context.summarised", "file.origin"),
        "route.chosen",
        "attempt.ended",
        "waiting.for_provider",
        "waiting.for_budget",
        "turn.ended",
    }
)

TALKS = frozenset({"message.spoken", "conversation.ended"})


@app.command("explain")
@argument(
    "words",
    nargs=-1,
    required=True,
    metavar="[RUN] TASK",
    help="The run (the latest), and the task.",
)
@click.option("--turn", type=click.IntRange(min=1), metavar="N", help="Only this turn of each part of the task.")
@click.option("--without", metavar="PROVIDER", help="Also show the order of candidates without this provider.")
@click.option("--request", "as_sent", is_flag=True, help="Write the request that was sent, byte for byte, instead.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="With --request: which attempt (the last).")
@click.option("--pretty", is_flag=True, help="With --request: as indented JSON.")
@click.option("--json", "as_json", is_flag=True, help="Write the recorded events as JSON Lines instead.")
@at_desk
async def explain_command(
    desk: LocalDesk | RemoteDesk,
    words: tuple[str, ...],
    turn: int | None,
    without: str | None,
    as_sent: bool,
    attempt: int | None,
    pretty: bool,
    as_json: bool,
) -> None:
    """Show which models the turns of TASK in RUN (the latest) were sent to, and why: candidates, refusals, attempts.

    For a conversation it also shows which participant read what.

    TASK may also be a part of a task, or a turn or call in it, as it is shown: 'build[S-1]/try-1/code/turn-2'.
    """
    if len(words) > 2:
        raise click.UsageError("explain takes a task, and a run before it")
    record, task = await _meant(desk, words)
    run, events = record.run, record.events
    if not any(lies_in(event["place"], task) for event in events):
        task, turn = _turn_in(task, turn)
    if as_sent:
        async with _journal_of(desk, run) as journal:
            body = await _sent(journal, run, task, turn, attempt)
        if pretty:
            click.echo(printable(json.dumps(json.loads(body), indent=2, ensure_ascii=False)))
        else:
            click.echo(body, nl=False)
        return
    calls: dict[tuple[str, int], list[str]] = {}
    environ = environment(desk.settings)
    if as_json:
        told = [event for event in events if event["type"] in SHOWN | TALKS and lies_in(event["place"], task)]
        for event in told:
            if turn is None or event["place"]["turn"] == turn:
                print_json(mask_document(event, environ))
        return
    for call in record.calls:
        shown = mask_secrets(call.line(None if desk.settings.verbose else LISTED), environ)
        calls.setdefault((call.place, call.turn), []).append(f"  tool: {shown}")
    lines = list(explanation(events, task, turn, without, calls))
    if turn is None:
        inside = [event for event in events if event["type"] in TALKS and lies_in(event["place"], task)]
        lines += [mask_secrets(line, environ) for line in heard_lines(inside)]
    if not lines:
        if isinstance(desk, LocalDesk):
            steps = await desk.records.journal.steps(run)
            _refuse_what_people_said(task, (StepAt(step.unit, step.key) for step in steps))
        raise _nothing(run, task, tasks_of(events))
    for line in lines:
        click.echo(printable(line))


async def _meant(desk: Desk, words: tuple[str, ...]) -> tuple[RecordedRun, str]:
    """Return the run and the task that were named. Raise `NothingSelected` for a run without a task."""
    if len(words) == 2:
        return await desk.record(await desk.run_named(words[0])), words[1]
    newest, word = await desk.record(await desk.run_named(LATEST)), words[0]
    if word in tasks_of(newest.events):
        return newest, word
    try:
        run = await desk.run_named(word)
    except NothingSelected:
        return newest, word  # a part of a task, or nothing that there is
    tasks = tasks_of((await desk.record(run)).events)
    shown = ", ".join(tasks) or "none"
    example = desk.command("explain", run, tasks[0]) if tasks else desk.command("runs", "show", run)
    raise NothingSelected(f"which task of the run {run}? Its tasks: {shown}", f"name one of them: `{example}`")


def _turn_in(task: str, turn: int | None) -> tuple[str, int | None]:
    """Return the part that a turn's own place names, and that turn; `--turn` goes before it."""
    part, named = turn_of(task)
    return part, named if turn is None else turn


def _nothing(run: str, task: str, tasks: list[str]) -> NothingSelected:
    known = ", ".join(one for one in tasks if one != task) or "none"
    if task in tasks:
        return NothingSelected(f"no model was asked for {task!r} in run {run}", f"its other tasks: {known}")
    return NothingSelected(f"there is no task {task!r} in run {run}", f"its tasks: {known}")


@asynccontextmanager
async def _journal_of(desk: LocalDesk | RemoteDesk, run: str) -> AsyncIterator[Journal]:
    """Yield the journal that holds a run: of one at a server, a copy of it."""
    if isinstance(desk, LocalDesk):
        yield desk.records.journal
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "run.db"
        await desk.export(run, copy, overwrite=True)
        async with open_journal(copy) as journal:
            yield journal


async def _sent(journal: Journal, run: str, task: str, turn: int | None, attempt: int | None) -> bytes:
    """Return the bytes of the one attempt that is meant."""
    record = await read_record(journal, run)
    return await body_of(record, the_one(list(attempts_of(record)), task, turn, attempt, record.answers.steps))


def _refuse_what_people_said(task: str, steps: Iterable[StepAt]) -> None:
    """Raise `NothingSelected` where a person spoke at the place that is asked for."""
    said = (step for step in steps if step.key.call == SAID and task in names_of(step.unit, step.key.step))
    if (first := next(said, None)) is not None:
        place = path_of(first.unit, first.key.step)
        raise NothingSelected(f"no model was asked for {task!r}: a person spoke at {place}")


def the_one(
    attempts: list[Sent], task: str, turn: int | None, attempt: int | None, steps: Iterable[StepAt] = ()
) -> Sent:
    """Return the attempt that is meant; of a turn the last one. Raise `NothingSelected` where several may be.

    `steps` are all that the run recorded: where nothing was sent, a person may have spoken.
    """
    found = [one for one in attempts if task in names_of(one.step.unit, one.step.key.step)]
    found = [one for one in found if turn in (None, one.turn) and attempt in (None, one.number)]
    turns = {(one.path, one.turn) for one in found}
    if not any(task in names_of(one.step.unit, one.step.key.step) for one in attempts):
        _refuse_what_people_said(task, steps)
    if not found:
        known = ", ".join(dict.fromkeys(one.path for one in attempts)) or "none"
        raise NothingSelected(f"no model was asked for {task!r} in this run", f"requests were made for: {known}")
    if len(turns) > 1:
        listed = "".join(f"\n  {one}" for one in found)
        raise NothingSelected(f"{task!r} has {len(turns)} turns; choose one of them by its part and --turn:{listed}")
    if found[-1].sha256 is None:
        raise NothingSelected(f"nothing was sent: {found[-1]}")
    return found[-1]


def tasks_of(events: Iterable[Mapping[str, Any]]) -> list[str]:
    return next((list(event["tasks"]) for event in events if event["type"] == "run.started"), [])


def explanation(
    events: Iterable[Mapping[str, Any]],
    task: str,
    turn: int | None,
    without: str | None = None,
    calls: Mapping[tuple[str, int], list[str]] | None = None,
) -> Iterator[str]:
    """Yield the lines about one task or element: turn by turn what was decided and what happened, then how it ended.

    Parts that ran at the same time follow one another. With `without`, each decision is also made as if that provider
    had not been a candidate. `calls` are the lines about the tools that a turn called, by its place and number.
    """
    turns: dict[tuple[str, int], list[str]] = {}
    at: dict[str, int] = {}
    end = ""
    for event in events:
        unit = event["unit"]
        if event["type"] == "turn.started":  # again, where a kill cut the turn off; a continued one asks several times
            at[unit] = event["turn"]
        if event["type"] == "task.ended" and event["task"] == task:
            end = f"{task}: {event['status']}" + (f": {event['error']}" if event["error"] else "")
        if event["type"] in SHOWN and lies_in(event["place"], task):
            at.setdefault(unit, 1)
            turns.setdefault((unit, at[unit]), []).extend(_lines_of(event))
            if event["type"] == "turn.ended" and calls:
                turns[unit, at[unit]] += calls.get((unit, event["turn"]), [])
            if without is not None and event["type"] == "route.chosen":
                turns[unit, at[unit]].append(f"  without {without}: {_counterfactual(event, without)}")
    for (unit, number), lines in turns.items():
        if turn in (None, number):
            yield f"{unit}, turn {number}"
            yield from lines
    if end and turn is None:
        yield end


def lies_in(place: Mapping[str, Any] | None, task: str) -> bool:
    """Return whether a place lies in a task, in all elements of a task, or in one: after revisions, too."""
    if place is None:
        return False
    return task in names_of(Unit(place["task"], place["key"], place["attempt"]), tuple(place["step"]))


def _lines_of(event: Mapping[str, Any]) -> Iterator[str]:
    match event["type"]:
        case "agent.chosen":
            yield f"  agent: {event['agent']}, chosen of {', '.join(event['among'])}"
        case "case.chosen":
            yield f"  case: {event['case']}, of {', '.join(event['cases'])}"
        case "memory.recalled":
            if told := [*event["records"], *event["passages"]]:
                yield f"  recalled: {', '.join(told)}"
        case "memory.by_words":
            yield f"  memory by words alone, not by {event['model']}: {event['reason']}"
        case "texts.embedded":
            made = "1 vector" if event["texts"] == 1 else f"{event['texts']} vectors"
            yield f"  {made} by {event['provider']}/{event['model']}: {_billed(event)}"
        case "guardrail.checked":
            verdict = "passed" if event["passed"] else f"{event['on_fail']}: {event['why']}"
            yield f"  guardrail of its {event['side']}: {event['check']}: {verdict}"
        case "risky.call_held":
            what = "a person was asked" if event["becomes"] == "ask" else "it was refused"
            read = told_sources(tuple(event["sources"]))
            yield f"  held back: {event['name']}, as its agent had read what others wrote ({read}): {what}"
        case "history.fitted":
            shortened = f", {event['shortened']} results of tools shortened" if event["shortened"] else ""
            left_out = f"{event['left_out']} older messages left out{shortened}"
            yield f"  too long for each: {left_out}, about {event['tokens']:,} tokens are sent"
        case "history.summarised":
            yield f"  summary of {event['messages']} older messages{_of_no_use(event)}"
        case "file.origin":
            read = told_sources(tuple(event["untrusted"]))
            whose = f"may hold what others wrote ({read})" if read else "holds no words of others any more"
            yield f"  {event['path']} in {event['folder']} {whose}"
        case "context.summarised":
            yield f"  {event['source']}, shortened for the task{_of_no_use(event)}"
        case "route.chosen":
            yield f"  candidates: {', '.join(event['candidates']) or 'none'}"
            yield from _refusals(event)
            if event.get("contest") is not None:
                yield from _compared(Ordering.read(event["contest"]))
        case "attempt.ended":
            why = f": {event['error']}: {event['detail'] or ''}" if event["error"] else ""
            took = duration(event["ms"] / 1000)
            paid = f", billed {_billed(event)}" if event.get("usage") is not None else ""
            on = f", which continued a text of {event['continues']:,} characters" if event.get("continues") else ""
            yield f"  attempt {event['number']}: {candidate_of(event)}: {event['outcome']}{why} ({took}){paid}{on}"
        case "waiting.for_provider":
            yield f"  waited {duration(max(event['until'] - event['at'], 0))}: {event['reason']}"
        case "waiting.for_budget":
            yield "  waited for calls in flight, which held what was left of a budget"
        case "turn.ended":
            yield f"  answered by {event['provider']}/{event['model']}: {_billed(event)}"
            if cut := finish_words(event["finish"], event["usage"]["output_tokens"]):
                yield f"  truncated: {cut}"


def _of_no_use(event: Mapping[str, Any]) -> str:
    if event["failed"]:
        return f": none, {event['failed']} (about {event['tokens']:,} tokens were read)"
    return f": from about {event['tokens']:,} tokens to {event['summary_tokens']:,}"


def _refusals(event: Mapping[str, Any]) -> Iterator[str]:
    """Yield why candidates were refused: all of providers that could be asked, of others the first few."""
    asked = {provider_of(name) for name in event["candidates"]}
    refused = event["refused"].items()
    told = [(name, why) for name, why in refused if provider_of(name) in asked]
    others = [(name, why) for name, why in refused if provider_of(name) not in asked]
    shown = others if len(others) <= MOST_OTHERS else others[: MOST_OTHERS - 1]
    yield from (f"  refused: {name}: {why}" for name, why in [*told, *shown])
    if left := [provider_of(name) for name, _ in others[len(shown) :]]:
        yield f"  refused: {len(left)} more, of {', '.join(dict.fromkeys(left))}: `runs show --json` has the reasons"


def provider_of(candidate: str) -> str:
    return candidate.partition("/")[0]


def _billed(event: Mapping[str, Any]) -> str:
    usage = event["usage"]
    return f"{usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out, {usd(event['cost_usd'])}"


def _compared(ordering: Ordering) -> Iterator[str]:
    """Yield what decided the order, as a table."""
    titles = [f"{name} ({points:g})" for name, points in zip(ordering.factors, ordering.points, strict=False)]
    drawn = "" if ordering.draw is None else f", draw {ordering.draw:.3f}"
    yield f"  compared in {ordering.pool}, strategy {ordering.strategy}{drawn}:"
    rows = [("", *(titles or ordering.factors), *(["score"] if titles else []))]
    for name, values in zip(ordering.names, ordering.values, strict=True):
        total = [f"{score(values, ordering.points):.1f}"] if titles else []
        rows.append((name, *(f"{value:.3g}" for value in values), *total))
    yield from (f"    {line}" for line in columns(rows).splitlines())


def _counterfactual(event: Mapping[str, Any], provider: str) -> str:
    """Return the candidates of the turn, in order, from the record alone: with what was known when it ran."""
    if event.get("contest") is None:
        order: tuple[str, ...] = ()
    else:
        order = replay(Ordering.read(event["contest"]).without(provider))
    others = [name for name in event["candidates"] if name not in order and name.partition("/")[0] != provider]
    return ", ".join([*order, *others]) or "none"
