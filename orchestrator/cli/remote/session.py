"""A run at a server or in a cluster, begun or gone on with from here: shown as one of this machine is, to its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from orchestrator.cli.desk import FollowedDesk, GivenToQuestion
from orchestrator.cli.exits import Exit, Interrupted, NothingSelected, Terminated, exit_of_run
from orchestrator.cli.session import RunSession, RunSpeech, beat, show
from orchestrator.cli.signals import Interruption
from orchestrator.cli.ui.gates import Asking, answering
from orchestrator.cli.ui.outcome import Continuation, print_results, tell_end
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.reasons import Document
from orchestrator.cli.ui.screens import Screen
from orchestrator.events import CutText
from orchestrator.run.deltas import AnswerEnded, Position, RunDelta
from orchestrator.run.result import RunResult
from providers.messages import Usage

Watcher = Callable[[Callable[[str], None]], Coroutine[Any, Any, None]]
"""Watches something beside a run, and tells lines about it."""
BEHIND_S = 2.0
"""How long what follows from an answer waits for the answer to be told."""


@dataclass(slots=True)
class ResultSoFar:
    """What the events of a run come to: the fold that a program gets as `RunResult`. Pure."""

    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)

    def apply(self, document: Document) -> None:
        """Take the next event."""
        match document:
            case {"type": "task.started", "task": task} | {"type": "task.reset", "task": task}:
                self.errors.pop(task, None)
                self.parked.pop(task, None)
            case {"type": "task.ended", "task": task, "status": status}:
                self.parked.pop(task, None)
                if status == "failed":
                    self.errors[task] = (document.get("error") or "", document.get("error_kind") or "")
            case {"type": "task.parked", "task": task, "reason": reason}:
                self.parked[task] = reason

    def result(self, last: Document) -> RunResult:
        """Return what the run came to by its last event."""
        usage = last["usage"]
        cost, truncated = last["cost_usd"], last.get("truncated") or {}
        return RunResult(
            run_id=last["run_id"],
            status=last["status"],
            outputs=last["outputs"],
            artifacts=last["artifacts"],
            usage=Usage(
                input=usage["input_tokens"] - usage["cached_tokens"],
                output=usage["output_tokens"] - usage["reasoning_tokens"],
                cache_read=usage["cached_tokens"],
                reasoning=usage["reasoning_tokens"],
            ),
            cost=None if cost is None else round(cost * 1e6),
            tasks=last["tasks"],
            errors={task: error for task, (error, _) in self.errors.items()},
            error_kinds={task: kind for task, (_, kind) in self.errors.items()},
            waiting=dict(self.parked),
            stub=last["stub"],
            truncated={task: tuple(CutText(**one) for one in cuts) for task, cuts in truncated.items()},
            output_errors=last.get("output_errors") or {},
            cut_short=round((last.get("cut_short_usd") or 0.0) * 1e6),
        )


@dataclass(slots=True)
class _Shown:
    """What the screen shows of a run, and what its events come to."""

    progress: Progress
    screen: Screen
    as_json: Mapping[str, str] | None
    so_far: ResultSoFar = field(default_factory=ResultSoFar)
    speech: RunSpeech = field(init=False)

    def __post_init__(self) -> None:
        self.speech = RunSpeech(self.screen, self.as_json)


class ToldDeltas:
    """What a desk tells of what agents say, beside the events of the run."""

    def __init__(self) -> None:
        self._ready: list[RunDelta] = []
        self._changed, self._is_over, self._ended = anyio.Event(), False, 0

    async def take(self, desk: FollowedDesk, run: str, after: int) -> None:
        """Take all that comes after so many answers, until cancelled."""
        async with aclosing(desk.spoken(run, str(Position(after)))) as deltas:
            async for delta in deltas:
                self._ready.append(delta)
                self._ended += isinstance(delta.delta, AnswerEnded) and delta.delta.ok
                self._wake()

    async def heard(self, answers: int) -> None:
        """Wait until so many answers were told whole, as far as that comes soon: events come by another connection."""
        with anyio.move_on_after(BEHIND_S):
            while self._ended < answers:
                await self._changed.wait()

    def end(self) -> None:
        """Take note that nothing more is waited for."""
        self._is_over = True
        self._wake()

    async def more(self) -> bool:
        if not self._ready and not self._is_over:
            await self._changed.wait()
        return bool(self._ready) or not self._is_over

    def ready(self) -> Sequence[RunDelta]:
        found, self._ready = self._ready, []
        return found

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


async def follow_there(
    desk: FollowedDesk,
    session: RunSession,
    run: str,
    past: list[Document],
    *,
    out: Path | None = None,
    overwrite: bool = False,
    beside: Watcher | None = None,
) -> Exit:
    """Show a run elsewhere from after its `past` events on, print its outputs at its end, and return the exit code.

    What files it made by then are written below `out`, where that is given. Ctrl-C leaves the run as it is, and says
    how it is followed. `beside` is called with what tells a line, and runs until the run has ended.
    """
    progress, environ = Progress(), os.environ
    screen = session.screen(progress, environ)
    shown = _Shown(progress, screen, environ if session.as_json else None)
    answers = sum(document["type"] == "turn.ended" for document in past)
    for document in past:
        progress.apply(document)
        shown.so_far.apply(document)
    try:
        with screen:
            last = await _to_its_end(desk, session, run, shown, len(past), answers, beside)
    except (Interrupted, Terminated):
        watch = desk.command("runs", "watch", run)
        stop = desk.command("runs", "cancel", run)
        desk.console.say(f"{run} goes on at {desk.place}: `{watch}` follows it, `{stop}` ends it")
        raise
    result = shown.so_far.result(last)
    if not session.as_json:
        print_results(result, progress)
    if out is not None:
        await desk.fetch(run, result.artifacts, out, overwrite=overwrite)
    questions = [(gate.name, gate.choices) for gate in await desk.questions_of(run)]
    following = desk.command("runs", "show", run)
    if result.status in ("waiting", "paused", "cancelled"):
        following = desk.goes_on_by(run, questions, is_chat=False)
    state = await desk.state(run)
    after = Continuation(
        session.file,
        desk.command,
        recorded=True,
        cancelled=state == "cancelled",
        questions=questions,
        following=following,
    )
    tell_end(desk.console, progress, result, after)
    return exit_of_run(result.status, result.error_kinds.values(), progress.attempt_errors)


async def _to_its_end(
    desk: FollowedDesk,
    session: RunSession,
    run: str,
    shown: _Shown,
    after: int,
    answers: int,
    beside: Watcher | None,
) -> Document:
    """Return a run's last event, having shown each; questions are answered as `--approve` says."""
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    ask = answering(session.approve, at_terminal=at_terminal, aside=shown.speech.aside, environ=os.environ)
    asking = Asking(ask)
    last: Document | None = None
    async with anyio.create_task_group() as tasks:
        interruption = Interruption(tasks.cancel_scope, lambda: False)
        await tasks.start(interruption.watch)
        tasks.start_soon(beat, shown.screen)
        if beside is not None:
            tasks.start_soon(beside, _teller(desk, shown.screen))
        said, turns = ToldDeltas() if session.stream else None, 0
        if said is not None:
            shown.speech.begin(said)
            tasks.start_soon(said.take, desk, run, answers)
            tasks.start_soon(shown.speech.follow)
        async with aclosing(desk.follow(run, after)) as events:
            async for number, document in events:
                turns += document["type"] == "turn.ended"
                if said is not None:
                    await said.heard(turns)
                shown.speech.show()  # what was said comes before what follows from it
                shown.so_far.apply(document)
                show(dict(document), shown.screen, shown.progress, shown.as_json)
                if document["type"] != "run.finished" or not await desk.is_last(run, number):
                    continue
                if document["status"] != "waiting" or not await _answered(desk, run, asking):
                    last = document
                    break
        if said is not None:
            said.end()
            await shown.speech.over.wait()
        tasks.cancel_scope.cancel()
    interruption.check()
    assert last is not None, "what was not interrupted came to its end"
    return last


def _teller(desk: FollowedDesk, screen: Screen) -> Callable[[str], None]:
    """Return what tells a line beside what the screen shows."""

    def tell(line: str) -> None:
        with screen.aside():
            desk.console.say(line)

    return tell


async def _answered(desk: FollowedDesk, run: str, asking: Asking) -> bool:
    """Answer what the run waits for; return whether it goes on thereby."""
    is_any = False
    for gate in await desk.questions_of(run):
        given = await asking.ask(gate)
        if given is None:
            continue
        answer = GivenToQuestion(gate.name, given.choice, given.comment, given.edited, bool(given.grant))
        try:
            await desk.answer(run, answer)
        except NothingSelected as error:  # somebody else was first, and that answer counts
            desk.console.say(str(error))
        is_any = True
    return is_any
