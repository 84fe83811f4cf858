"""Running a squad, from a program. What a run is made of is loaded with the first one (`run_opening.py`).

    async with open_run(squad, inputs={"idea": "..."}) as run:
        async for event in run:
            ...
    run.result

`resume_run` continues a run from its journal. `run_squad` waits for the end, `run_sync` does it outside of any event
loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from agents.hooks import Hooks
from agents.run_context import Complete
from orchestrator.options import RunOptions, leave_unanswered
from orchestrator.squad.load import Squad
from providers.catalog.trust import Consent, of_the_program
from providers.emit import Emit, ignore

if TYPE_CHECKING:
    from agents.memory.store import MemoryStore
    from orchestrator.events import Event
    from orchestrator.execution import Run
    from orchestrator.journal.protocols import Journal
    from orchestrator.run.deltas import RunDelta
    from orchestrator.run.questions import Ask
    from orchestrator.run.result import RunResult
    from orchestrator.subscribers import Subscriber


def open_run(
    squad: Squad,
    *,
    inputs: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    run_id: str | None = None,
    manager: Complete | None = None,
    environ: Mapping[str, str] | None = None,
    offline: bool | None = None,
    local_servers: bool = False,
    max_cost_usd: float | None = None,
    timeout_s: float | None = None,
    ask: Ask = leave_unanswered,
    clock: Callable[[], float] | None = None,
    journal: Journal | None = None,
    state: Path | None = None,
    notify: Emit = ignore,
    trust: Consent = of_the_program,
    stream: bool = False,
    memory: MemoryStore | Path | str | None = None,
    deps: Any = None,
    hooks: Sequence[Hooks] = (),
    subscribers: Sequence[Subscriber] = (),
    traceparent: str | None = None,
) -> AbstractAsyncContextManager[Run]:
    """Open everything that the run needs, start it, and close everything when the block ends.

    Without `out` and `journal` nothing touches the disk: artifacts are in `result.texts`. Leaving the block early
    cancels the run.

    - `squad`: what to run.
    - `inputs`: the squad's inputs by name, as values of their types.
    - `out`: the folder of the files that the run writes; None: they are kept in memory.
    - `overwrite`: files in `out` that this run did not write may be replaced.
    - `run_id`: the run's name in the record; None: one is made.
    - `manager`: answers turns instead of the configured providers.
    - `environ`: the variables that keys are taken from; None: those of the process.
    - `offline`: True: the offline stub answers; False: it does not, whatever the squad says. None: where the squad says
      `offline: auto` and no provider is configured, the stub answers, and the warning `StubAnswers` says so.
    - `local_servers`: True: a model server on this machine is looked for where no provider is configured, as by the
      command line.
    - `max_cost_usd`: the most that the run may cost, in USD, beside the squad's own cap; the lower one holds.
    - `timeout_s`: the most seconds that the run may take, beside the squad's own cap; the lower one holds.
    - `ask`: is called with each question to a person. None in place of an answer leaves it open, and the run waits.
    - `clock`: returns epoch seconds; for tests. None: the clock of this machine.
    - `journal`: keeps the run's record, so that `resume_run` can continue it; None: nothing is recorded.
    - `state`: the folder of the ledger, which counts what limits of providers allow, over runs and among processes;
      None: it is in memory.
    - `notify`: is called when the ledger is lost and when it is regained.
    - `trust`: is called with each key that a file would send to an address, and says whether it may go there. By
      default a routing file that you named may say so, and a `.env` may not (docs/guides/security.md).
    - `stream`: True: `Run.stream` gives what agents say, as they say it.
    - `memory`: where agents remember, a store or its file; None: `memory.db` in `state`, or until the run ends.
    - `deps`: what tools find in their `ToolContext` (docs/guides/python-tools.md).
    - `hooks`: are called before and after each model and tool call (docs/guides/python-tools.md).
    - `subscribers`: are told of all that happens (docs/guides/observability.md).
    - `traceparent`: the span that asks for the run, as the W3C header `traceparent` names it.

    Raises, all before anything is spent: `PlanError` for bad inputs, `NoProvider` where no provider is configured,
    `NotTrusted` for a key that may not go where a file says, `ToolFault` for a tool that needs other `deps`,
    `CatalogError` for a ledger that cannot be used, `CannotWrite` for a bad `out`, and `JournalError` for a record that
    cannot be kept.
    """
    from orchestrator.run_opening import open_with, tell_of_stub  # on use: all that a run is made of

    options = RunOptions(
        inputs=inputs,
        out=out,
        overwrite=overwrite,
        run_id=run_id,
        manager=manager,
        environ=environ,
        offline=offline,
        local_servers=local_servers,
        max_cost_usd=max_cost_usd,
        timeout_s=timeout_s,
        ask=ask,
        clock=clock,
        journal=journal,
        state=state,
        notify=notify,
        trust=trust,
        stream=stream,
        memory=memory,
        deps=deps,
        hooks=hooks,
        subscribers=subscribers,
        traceparent=traceparent,
    )
    tell_of_stub(squad, options)
    return open_with(squad, options)


def resume_run(
    squad: Squad,
    run_id: str,
    *,
    journal: Journal,
    out: Path | str | None = None,
    overwrite: bool = False,
    manager: Complete | None = None,
    environ: Mapping[str, str] | None = None,
    local_servers: bool = False,
    max_cost_usd: float | None = None,
    timeout_s: float | None = None,
    ask: Ask = leave_unanswered,
    clock: Callable[[], float] | None = None,
    state: Path | None = None,
    edited: bool = False,
    notify: Emit = ignore,
    trust: Consent = of_the_program,
    stream: bool = False,
    memory: MemoryStore | Path | str | None = None,
    deps: Any = None,
    hooks: Sequence[Hooks] = (),
    subscribers: Sequence[Subscriber] = (),
    traceparent: str | None = None,
) -> AbstractAsyncContextManager[Run]:
    """Go on with a run from its record, as `open_run` would have: what is recorded is not done, nor paid, again.

    Calls that were in flight are made again, and reported by `CallRepeated`.

    - `squad`: the one that the run began with; its inputs and folder are in the record.
    - `run_id`: the run's name in the record.
    - `journal`: holds the record.
    - `out`: another folder; None: that of the record. It must be given where the record was made elsewhere
      (`OutElsewhere`).
    - `max_cost_usd`: replaces the recorded cap, in USD; None: that one holds.
    - `timeout_s`: replaces the recorded cap, in seconds; None: that one holds.
    - `edited`: the squad may differ. What the edit touches runs again, and all that needs it; a run that was over may
      so go on. `edit_of_run` tells before what that is.

    All else is as `open_run` takes it. Raises `RunNotFound`, `RunOver`, `RunCancelled`, `RunBusy` where another process
    drives the run, and `RunChanged` where the squad differs in more than its limits and `edited` is not given.
    """
    from orchestrator.run_opening import resume_with  # on use: all that a run is made of

    options = RunOptions(
        out=out,
        overwrite=overwrite,
        manager=manager,
        environ=environ,
        local_servers=local_servers,
        max_cost_usd=max_cost_usd,
        timeout_s=timeout_s,
        ask=ask,
        clock=clock,
        journal=journal,
        state=state,
        notify=notify,
        trust=trust,
        stream=stream,
        memory=memory,
        deps=deps,
        hooks=hooks,
        subscribers=subscribers,
        traceparent=traceparent,
    )
    return resume_with(squad, run_id, journal, options, edited=edited)


async def run_squad(
    squad: Squad,
    *,
    inputs: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    run_id: str | None = None,
    manager: Complete | None = None,
    environ: Mapping[str, str] | None = None,
    offline: bool | None = None,
    local_servers: bool = False,
    max_cost_usd: float | None = None,
    timeout_s: float | None = None,
    ask: Ask = leave_unanswered,
    clock: Callable[[], float] | None = None,
    journal: Journal | None = None,
    state: Path | None = None,
    notify: Emit = ignore,
    trust: Consent = of_the_program,
    memory: MemoryStore | Path | str | None = None,
    deps: Any = None,
    hooks: Sequence[Hooks] = (),
    subscribers: Sequence[Subscriber] = (),
    traceparent: str | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_delta: Callable[[RunDelta], None] | None = None,
) -> RunResult:
    """Run a squad to its end and return how it ended.

    - `on_event`: is called with each event.
    - `on_delta`: is called with each piece of what an agent says, as it says it.

    All else, and what is raised, is as `open_run` has it. A task that fails raises nothing: `result.status` and
    `result.errors` say so.
    """
    from orchestrator.run_opening import run_to_end, tell_of_stub  # on use: all that a run is made of

    options = RunOptions(
        inputs=inputs,
        out=out,
        overwrite=overwrite,
        run_id=run_id,
        manager=manager,
        environ=environ,
        offline=offline,
        local_servers=local_servers,
        max_cost_usd=max_cost_usd,
        timeout_s=timeout_s,
        ask=ask,
        clock=clock,
        journal=journal,
        state=state,
        notify=notify,
        trust=trust,
        stream=on_delta is not None,
        memory=memory,
        deps=deps,
        hooks=hooks,
        subscribers=subscribers,
        traceparent=traceparent,
    )
    tell_of_stub(squad, options)
    return await run_to_end(squad, options, on_event, on_delta)


def run_sync(
    squad: Squad,
    *,
    inputs: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    run_id: str | None = None,
    manager: Complete | None = None,
    environ: Mapping[str, str] | None = None,
    offline: bool | None = None,
    local_servers: bool = False,
    max_cost_usd: float | None = None,
    timeout_s: float | None = None,
    ask: Ask = leave_unanswered,
    clock: Callable[[], float] | None = None,
    journal: Journal | None = None,
    state: Path | None = None,
    notify: Emit = ignore,
    trust: Consent = of_the_program,
    memory: MemoryStore | Path | str | None = None,
    deps: Any = None,
    hooks: Sequence[Hooks] = (),
    subscribers: Sequence[Subscriber] = (),
    traceparent: str | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_delta: Callable[[RunDelta], None] | None = None,
) -> RunResult:
    """Run a squad to its end from code that is not async, as `run_squad` does. Inside a running event loop (a notebook
    has one), await `run_squad` instead: there this raises `RuntimeError`."""
    from orchestrator.run_opening import run_to_end, tell_of_stub  # on use: all that a run is made of

    if _in_an_event_loop():
        raise RuntimeError("an event loop is running here (a notebook, an async function): say await run_squad(...)")
    options = RunOptions(
        inputs=inputs,
        out=out,
        overwrite=overwrite,
        run_id=run_id,
        manager=manager,
        environ=environ,
        offline=offline,
        local_servers=local_servers,
        max_cost_usd=max_cost_usd,
        timeout_s=timeout_s,
        ask=ask,
        clock=clock,
        journal=journal,
        state=state,
        notify=notify,
        trust=trust,
        stream=on_delta is not None,
        memory=memory,
        deps=deps,
        hooks=hooks,
        subscribers=subscribers,
        traceparent=traceparent,
    )
    tell_of_stub(squad, options)
    return anyio.run(run_to_end, squad, options, on_event, on_delta)


def _in_an_event_loop() -> bool:
    try:
        anyio.lowlevel.current_token()
    except RuntimeError:
        return False
    return True
