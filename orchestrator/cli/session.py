"""A run at the command line, new or resumed: its progress, its signals, its end."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import anyio

from orchestrator.cli.app import Settings
from orchestrator.cli.exits import Exit, exit_of_run
from orchestrator.cli.observed import observed
from orchestrator.cli.signals import Interruption
from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.gates import ApproveChoice, Asking, answering
from orchestrator.cli.ui.masking import mask_document
from orchestrator.cli.ui.next_step import command_line
from orchestrator.cli.ui.notices import STUB_NOTICE, telling
from orchestrator.cli.ui.outcome import Continuation, print_results, tell_end, with_reasons
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.reasons import Document
from orchestrator.cli.ui.screens import LineScreen, LogScreen, Screen, wants_log, wants_table
from orchestrator.cli.ui.spoken import SpokenLines
from orchestrator.events import to_json
from orchestrator.execution import Run
from orchestrator.journal.protocols import Journal, Signals
from orchestrator.options import RunOptions
from orchestrator.run.approvals import questions_of
from orchestrator.run.deltas import CallsWhole, RunDelta, delta_json
from orchestrator.run.result import RunResult
from providers.documents.unicode import printable

LISTENS_S = 0.5
"""How often a run checks whether another process asked it to stop."""

Opening = Callable[[RunOptions], AbstractAsyncContextManager[Run]]
"""Opens a run, new, resumed or forked, with these options."""


@dataclass(frozen=True, slots=True)
class RunSession:
    """How one run is shown, and what answers its gates. `file` is the squad's, for the hint at the end."""

    file: str
    caps: Caps
    approve: ApproveChoice
    as_json: bool
    settings: Settings
    console: Console
    db: str | None
    stream: bool = False
    """Whether what agents say is shown as they say it."""

    async def run(self, opening: Opening, options: RunOptions) -> Exit:
        """Run, show it, print the outputs, and return the exit code."""
        progress = Progress()
        environ = os.environ if options.environ is None else options.environ
        screen = self.screen(progress, environ)
        with screen, observed(environ, self.console.warn) as by:
            result = await self._follow(opening, replace(options, **by), screen, progress)
        if not self.as_json:
            print_results(result, progress)
        tell_end(self.console, progress, result, await self._continuation(result, options.journal))
        return exit_of_run(result.status, result.error_kinds.values(), progress.attempt_errors)

    async def _continuation(self, result: RunResult, journal: Journal | None) -> Continuation:
        """Return how to go on: a run that is not recorded, or that `runs cancel` ended, cannot be resumed."""
        command = partial(command_line, self.settings, db=self.db)
        if journal is None:
            return Continuation(self.file, command, recorded=False, cancelled=False)
        cancelled = await journal.cancel_requested(result.run_id)
        waiting = await questions_of(journal, result.run_id) if result.status == "waiting" else None
        questions = [] if waiting is None else [(gate.name, gate.choices) for gate in waiting.open]
        return Continuation(self.file, command, recorded=True, cancelled=cancelled, questions=questions)

    def screen(self, progress: Progress, environ: Mapping[str, str]) -> Screen:
        """Return the screen that fits: a log where one is wanted, a live table on a terminal, else lines.

        Events on stdout and a live table cannot share one terminal: the table yields.
        """
        if self.as_json and sys.stdout.isatty():
            return LineScreen(progress, self.console, environ=environ)
        if wants_log(self.settings):
            return LogScreen(self.settings, self.console, environ=environ)
        if wants_table(self.settings):
            from orchestrator.cli.ui.live import TableScreen  # it brings rich, which nothing else needs

            return TableScreen(progress, self.caps, color=self.console.color, environ=environ)
        return LineScreen(progress, self.console, environ=environ)

    async def _follow(self, opening: Opening, options: RunOptions, screen: Screen, progress: Progress) -> RunResult:
        """Return how the run ended, having shown each of its events. Raises what a signal ended it with."""
        at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
        environ = os.environ if options.environ is None else options.environ
        shown = environ if self.as_json else None
        speech = RunSpeech(screen, shown)
        asking = Asking(answering(self.approve, at_terminal=at_terminal, aside=speech.aside, environ=environ))
        result: RunResult | None = None
        async with anyio.create_task_group() as tasks:
            interruption = Interruption(tasks.cancel_scope, lambda: False)
            await tasks.start(interruption.watch)
            notify = telling(self.console.warn, self.console.write)
            async with opening(replace(options, ask=asking.ask, notify=notify, stream=self.stream)) as run:
                interruption.stop = stopping(run, asking, screen, progress)
                tasks.start_soon(beat, screen)
                if options.journal is not None:
                    tasks.start_soon(heed, options.journal, run, asking, screen)
                for event in run.past:
                    progress.apply(to_json(event))
                if self.stream:
                    speech.begin(run.stream())
                    tasks.start_soon(speech.follow)
                async for event in run:
                    speech.show()  # what was said comes before what follows from it
                    show(to_json(event), screen, progress, shown)
                await speech.over.wait()
            result = run.result
            tasks.cancel_scope.cancel()
        interruption.check()
        assert result is not None, "a run that nothing interrupted has a result"
        return result


class SpokenDeltas(Protocol):
    """What agents say, as it comes: `DeltaStream`, or what a server tells."""

    async def more(self) -> bool:
        """Wait until `ready` may return something. False: nothing more comes."""

    def ready(self) -> Sequence[RunDelta]:
        """Return what can be had without waiting."""


class RunSpeech:
    """Shows what agents say as they say it: as lines of the screen, or as JSON Lines on stdout (`as_json`: the
    variables whose values are masked there)."""

    def __init__(self, screen: Screen, as_json: Mapping[str, str] | None) -> None:
        self._screen, self._as_json = screen, as_json
        self._deltas: SpokenDeltas | None = None
        self._lines, self._calls = SpokenLines(), CallsWhole()
        self._asks = 0
        self._asked = anyio.Event()
        """Set once no question is open."""
        self.over = anyio.Event()
        self.over.set()

    def begin(self, deltas: SpokenDeltas) -> None:
        """Show these from now on; without, nothing is ever shown."""
        self._deltas, self.over = deltas, anyio.Event()

    async def follow(self) -> None:
        """Show all of it, to the run's end."""
        assert self._deltas is not None, "it has begun"
        while await self._deltas.more():
            if self._asks:
                await self._asked.wait()
            self.show()
        self.over.set()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Make room for a question while the block runs: what is said meanwhile is shown after it."""
        self._asks += 1
        try:
            with self._screen.aside():
                yield
        finally:
            self._asks -= 1
            if not self._asks:
                self._asked.set()
                self._asked = anyio.Event()

    def show(self) -> None:
        """Show what there is now."""
        if self._asks and self._as_json is None:
            return
        for delta in self._deltas.ready() if self._deltas is not None else ():
            if self._as_json is None:
                self._screen.spoken(self._lines.add(delta), self._lines.tail)
                continue
            for whole in self._calls.add(delta):
                print_json(mask_document(delta_json(whole), self._as_json))


def show(document: Document, screen: Screen, progress: Progress, as_json: Mapping[str, str] | None) -> None:
    """Show one event: on stdout where events are the result (`as_json`: the variables whose values are masked there),
    and on the screen."""
    line = progress.apply(document)
    if as_json is not None:
        print_json(mask_document(with_reasons(document, progress), as_json))
    if document["type"] in ("run.started", "run.resumed") and progress.stub:
        screen.say(STUB_NOTICE)
    if document["type"] == "routing.reread" and document["error"]:
        screen.say(printable(f"{document['file']} changed, and the run goes on as before: {document['error']}"))
    screen.saw(document, line)


def stopping(run: Run, asking: Asking, screen: Screen, progress: Progress) -> Callable[[], bool]:
    """Return what the first Ctrl-C does: it lets the calls in flight end, and says which they are."""

    def stop() -> bool:
        running = ", ".join(row.name for row in progress.running()) or "nothing"
        screen.say(f"stopping: waiting for the calls in flight of {running}; Ctrl-C again stops now")
        asking.end()
        run.stop()
        return True

    return stop


async def beat(screen: Screen) -> None:
    """Tick the screen until cancelled."""
    if screen.period < math.inf:
        while True:
            await anyio.sleep(screen.period)
            screen.tick()


async def heed(journal: Signals, run: Run, asking: Asking, screen: Screen) -> None:
    """End the run once another process asks for it."""
    while True:
        await anyio.sleep(LISTENS_S)
        if await journal.cancel_requested(run.run_id):
            break
    screen.say("stopping: another process cancelled the run")
    asking.end()
    run.stop()
