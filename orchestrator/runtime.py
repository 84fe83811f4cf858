"""The composition root: the one place where a run's parts meet, are opened, and are closed again.

    async with open_run(squad, inputs={"idea": "..."}) as run:
        async for event in run:
            ...
    run.result

`run_squad` waits for the end, `run_sync` does it outside of any event loop.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from agents.tools import builtin
from orchestrator.errors import CannotWrite, NoProvider
from orchestrator.events import Event, GateAnswered, GateOpened, RunStarted
from orchestrator.plan import Budget, Plan
from orchestrator.run import Driver, Recorder, RunResult, result_of
from orchestrator.squad import Squad
from orchestrator.work import Ask, Crew
from providers.router import open_manager

if TYPE_CHECKING:
    from agents.turn import Complete


async def leave_unanswered(gate: GateOpened) -> GateAnswered | None:  # noqa: ARG001
    """Answer no gate: the run parks once nothing else can go on."""
    return None


class Run:
    """One execution of a squad: iterate its events, then read `result`."""

    def __init__(self, driver: Driver, recorder: Recorder, crew: Crew, events: Any, stub: bool) -> None:
        self.run_id = recorder.run_id
        self._driver = driver
        self._recorder = recorder
        self._crew = crew
        self._events = events
        self._stub = stub
        self._result: RunResult | None = None

    @property
    def result(self) -> RunResult:
        """How the run ended. Only there once its events have ended."""
        if self._result is None:
            raise RuntimeError("the run has not ended: iterate its events to their end first")
        return self._result

    def stop(self) -> None:
        """Let the calls in flight end and be recorded, start nothing more, end the run as cancelled."""
        self._driver.stop()

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._events.receive()  # type: ignore[no-any-return]  # a stream of events
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def _go(self, started: RunStarted, close: Callable[[], None]) -> None:
        self._recorder.record("", started)
        try:
            await self._driver.drive()
            self._result = result_of(self._driver, self._recorder, stub=self._stub, crew=self._crew)
        finally:
            close()


@asynccontextmanager
async def open_run(
    squad: Squad,
    *,
    inputs: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    run_id: str | None = None,
    manager: Complete | None = None,
    environ: Mapping[str, str] | None = None,
    offline: bool | None = None,
    max_cost_usd: float | None = None,
    timeout_s: float | None = None,
    ask: Ask = leave_unanswered,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Run]:
    """Open everything that the run needs, start it, and close everything when the block ends.

    Without `out` nothing touches the disk: artifacts are in `result.texts`. `manager` answers turns instead of the
    configured providers; `offline` overrides the squad's own word. Raises `PlanError` for bad inputs, `NoProvider`
    where nobody is configured and `CannotWrite` for a bad `out`, all before anything is spent. Leaving the block early
    cancels the run.
    """
    folder = None if out is None else Path(out)
    plan = _capped(squad.plan(inputs, tools=builtin(folder)), max_cost_usd, timeout_s)
    run_id = run_id or new_run_id(plan.name, clock())
    async with _providers(squad, plan, manager, environ, offline) as (complete, stub):
        if folder is not None and any(task.output_file is not None for task in plan.tasks.values()):
            _make(folder)
        send, receive = anyio.create_memory_object_stream[Event](math.inf)
        recorder = Recorder(run_id, send.send_nowait, clock)
        crew = Crew(plan, complete, ask, clock, recorder.at, folder)
        driver = Driver(plan, crew.perform, recorder, ask=ask, clock=clock)
        run = Run(driver, recorder, crew, receive, stub)
        started = RunStarted(plan.name, tuple(plan.tasks), stub, None if folder is None else str(folder))
        with receive:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run._go, started, send.close)  # its own maker
                yield run
                tasks.cancel_scope.cancel()


async def run_squad(squad: Squad, *, on_event: Callable[[Event], None] | None = None, **options: Any) -> RunResult:
    """Run a squad to its end and return how it ended. `options` are those of `open_run`."""
    async with open_run(squad, **options) as run:
        async for event in run:
            if on_event is not None:
                on_event(event)
    return run.result


def run_sync(squad: Squad, **options: Any) -> RunResult:
    """Run a squad to its end from code that is not async. Inside a running event loop, await `run_squad` instead."""

    def go() -> Coroutine[Any, Any, RunResult]:
        return run_squad(squad, **options)

    return anyio.run(go)


def new_run_id(name: str, now: float) -> str:
    """Return an id that sorts by time, is safe as a folder's name, and does not repeat."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40] or "run"
    return f"{safe}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def _make(folder: Path) -> None:
    """Make the run's folder now: that nothing can be written there must not be found out when all is paid for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is not a folder" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise CannotWrite(str(folder), reason) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotWrite(str(folder), "permission denied")


@asynccontextmanager
async def _providers(
    squad: Squad, plan: Plan, manager: Complete | None, environ: Mapping[str, str] | None, offline: bool | None
) -> AsyncIterator[tuple[Complete, bool]]:
    """Open who answers, and tell whether it is the stub: only where the squad or the caller asked for it."""
    if manager is not None:
        async with nullcontext():
            yield manager, False
        return
    environ = os.environ if environ is None else environ
    configured = squad.catalog.candidates(environ)
    stub = offline if offline is not None else plan.offline == "always" or (plan.offline == "auto" and not configured)
    if not stub and not configured:
        raise NoProvider(squad.catalog.unconfigured(environ))
    async with open_manager(squad.policy, squad.catalog, environ, offline=stub) as opened:
        yield opened, stub


def _capped(plan: Plan, max_cost_usd: float | None, timeout_s: float | None) -> Plan:
    """Return the plan under the caller's own caps too: the lower one holds."""
    if max_cost_usd is None and timeout_s is None:
        return plan
    own = plan.budget or Budget()
    cost = None if max_cost_usd is None else round(max_cost_usd * 1e6)
    lowest = replace(own, max_cost=_lower(own.max_cost, cost), max_time=_lower(own.max_time, timeout_s))
    return replace(plan, budget=lowest)


def _lower(one: Any, other: Any) -> Any:
    return min((cap for cap in (one, other) if cap is not None), default=None)
