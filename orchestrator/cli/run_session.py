"""A run at the command line, new or resumed: shown while it goes on, stopped by signals, told when it has ended."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple

import anyio

from orchestrator.cli.app import Settings
from orchestrator.cli.exits import Exit, exit_of_run
from orchestrator.cli.signals import Interruption
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.gates import Answer, Approve, Asking, answering
from orchestrator.cli.ui.outcome import print_results, tell_end
from orchestrator.cli.ui.progress import Caps, Document, Progress
from orchestrator.cli.ui.screens import STUB_NOTICE, Lines, Screen, open_screen

if TYPE_CHECKING:
    from orchestrator.journal.protocols import Journal
    from orchestrator.run.driver import RunResult
    from orchestrator.runtime import Run

LISTENS_S = 0.5
"""How often a run looks whether another process asked it to stop."""


class Manner(NamedTuple):
    """How a run is shown and who answers it. `journal` None: it is not recorded."""

    file: str
    approve: Approve
    json: bool
    settings: Settings
    caps: Caps
    journal: Journal | None


Opening = Callable[[Answer], "AbstractAsyncContextManager[Run]"]
"""Opens the run with who answers its gates."""


async def conduct(manner: Manner, opening: Opening, talk: Console) -> Exit:
    """Run, show it, print what came out, and return the exit code."""
    progress = Progress()
    screen = screen_for(manner, talk, progress)
    with screen:
        result = await follow(manner, opening, screen, progress)
    if not manner.json:
        print_results(result, progress)
    code = exit_of_run(result.status, result.error_kinds.values(), progress.attempt_errors)
    tell_end(talk, progress, result, manner.file, recorded=manner.journal is not None)
    return code


def screen_for(manner: Manner, talk: Console, progress: Progress) -> Screen:
    """Return where progress is shown. Events and a live table cannot share one terminal: the table yields."""
    if manner.json and sys.stdout.isatty():
        return Lines(progress, talk)
    return open_screen(manner.settings, talk, progress, manner.caps)


async def follow(manner: Manner, opening: Opening, screen: Screen, progress: Progress) -> RunResult:
    """Return how the run ended, having shown each of its events. Raises what a signal ended it with."""
    from orchestrator.events import to_json

    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    asking = Asking(answering(manner.approve, at_terminal=at_terminal, aside=screen.aside))
    result: RunResult | None = None
    async with anyio.create_task_group() as tasks:
        interruption = Interruption(tasks.cancel_scope, lambda: False)
        await tasks.start(interruption.watch)
        async with opening(asking.ask) as run:
            interruption.stop = stopping(run, asking, screen, progress)
            tasks.start_soon(beat, screen)
            if manner.journal is not None:
                tasks.start_soon(heed, manner.journal, run, asking, screen)
            for event in run.past:
                progress.apply(to_json(event))
            async for event in run:
                show(to_json(event), screen, progress, as_json=manner.json)
        result = run.result
        tasks.cancel_scope.cancel()
    interruption.check()
    assert result is not None, "a run that nothing interrupted has a result"
    return result


def show(document: Document, screen: Screen, progress: Progress, *, as_json: bool) -> None:
    """Let one event be seen: on stdout where events are the result, and on the screen."""
    change = progress.apply(document)
    if as_json:
        print_json(document)
    if document["type"] in ("run.started", "run.resumed") and progress.stub:
        screen.say(STUB_NOTICE)
    screen.saw(document, change)


def stopping(run: Run, asking: Asking, screen: Screen, progress: Progress) -> Callable[[], bool]:
    """Return what the first Ctrl-C does: the calls in flight end, and it is said which."""

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


async def heed(journal: Journal, run: Run, asking: Asking, screen: Screen) -> None:
    """End the run once another process asks for it."""
    while True:
        await anyio.sleep(LISTENS_S)
        if await journal.cancel_requested(run.run_id):
            break
    screen.say("stopping: another process cancelled the run")
    asking.end()
    run.stop()
