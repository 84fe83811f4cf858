"""The composition root: the one place where a run's parts meet, are opened, and are closed again."""

from __future__ import annotations

import inspect
import os
import re
import secrets
import time
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from agents.confined import sweep
from agents.run_context import Complete
from agents.run_folder import origins_of
from agents.tools import Tool, check_deps
from orchestrator.environment import Environment
from orchestrator.errors import NoProvider, OutElsewhere, RunCancelled, RunChanged, RunOver, StubAnswers
from orchestrator.events import Event, RunStarted
from orchestrator.execution import Run, Setting, running
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal, RunManifest
from orchestrator.manifest import inputs_for, manifest_of, moved_folder, names_our_folder, refuse_chat
from orchestrator.mcp_tools import mcp_opened
from orchestrator.options import RunOptions, capped, raised, recorded_options, steady
from orchestrator.out_folder import builtin_tools, held, run_folder
from orchestrator.rerun.edit import Edit, edit_of, moved_steps
from orchestrator.rerun.fingerprint import changed, parts_of
from orchestrator.run.deltas import RunDelta
from orchestrator.run.history import RunHistory, history_of
from orchestrator.run.memory import MemorySetting, open_memory
from orchestrator.run.recorder import Recorder
from orchestrator.run.result import RunResult
from orchestrator.squad.elements import whole
from orchestrator.squad.load import Squad
from orchestrator.squad.parts import works_of
from orchestrator.squad.plan import Plan
from orchestrator.squad.sources import definitions_in


@asynccontextmanager
async def open_with(squad: Squad, options: RunOptions) -> AsyncIterator[Run]:
    """Begin a new run: `open_run` for callers that hold the options as a value."""
    _check_given(squad, options)
    if squad.servers():
        squad.plan(options.inputs)  # what is wrong with it is told before a server is started for it
    loaded = await squad.loaded(options.trust, options.variables)
    if options.rehearse is not None:
        async with _begun(loaded, options, ()) as run:
            yield run
        return
    async with mcp_opened(loaded, options) as (bound, remote), _begun(bound, options, remote) as run:
        yield run


@asynccontextmanager
async def _begun(squad: Squad, options: RunOptions, remote: Sequence[Tool]) -> AsyncIterator[Run]:
    """Begin a new run, with the tools of the servers that are open for it."""
    folder, clock = options.folder, options.clock or steady()
    files = run_folder(folder, squad, options, overwrite=options.overwrite)
    origins = origins_of(files)
    uncapped = squad.plan(options.inputs, tools=builtin_tools(squad, files, options, origins).plus(*remote))
    squad.foresee(uncapped)
    check_tools(uncapped, options.deps)
    plan = capped(uncapped, options.caps)
    journal = options.journal or MemoryJournal()
    name = options.run_id or new_run_id(plan.name, clock())
    notify, stream, around = options.notify, options.stream, options.around
    setting = Setting(name, journal, options.ask, clock, files, notify=notify, stream=stream, around=around)
    setting = replace(setting, rehearse=options.rehearse, origins=origins)
    setting = replace(setting, subscribers=options.subscribers, traceparent=options.traceparent)
    async with open_providers(squad, plan, options, options.offline) as (complete, stub):
        manifest = manifest_of(
            squad, uncapped, recorded_options(options, stub), clock(), lasting=options.journal is not None
        )
        with held(plan, files, setting.run_id, is_new=True):
            async with (
                setting.journal.driving(setting.run_id),
                open_memory(plan, _memory(squad, setting, options, complete)) as memory,
            ):
                await setting.journal.create(setting.run_id, manifest)
                started = RunStarted(plan.name, tuple(plan.tasks), stub, None if folder is None else str(folder))
                async with running(plan, complete, stub, replace(setting, memory=memory), started) as run:
                    yield run


@asynccontextmanager
async def resume_with(
    squad: Squad, run_id: str, journal: Journal, options: RunOptions, *, edited: bool = False
) -> AsyncIterator[Run]:
    """Go on with a run from its record in `journal`: `resume_run` for callers that hold the options as a value.

    Inputs and id are those of the record, whatever `options` says of them; the folder is, unless `options` has another.
    Raises `OutElsewhere` where it has none, and the record was made elsewhere and names one.
    """
    _check_given(squad, options)
    clock = options.clock or steady()
    refuse_chat(run_id, await journal.manifest(run_id))
    async with journal.driving(run_id), AsyncExitStack() as opened:
        manifest = await journal.manifest(run_id)  # from here on no other process edits it
        past = history_of(await journal.events(run_id))
        if past.is_over and not edited:
            raise RunOver(run_id, str(past.status))
        # Workers are told by a job that a run goes on: one that was cancelled before it ended they bring to its end.
        if await journal.cancel_requested(run_id) and (options.dispatcher is None or past.status is not None):
            raise RunCancelled(run_id)
        recorded = raised(manifest.options, options.caps)
        if options.folder is not None:
            recorded["out"] = str(options.folder.absolute())
        elif not names_our_folder(journal, run_id, manifest):
            raise OutElsewhere(run_id, str(recorded["out"]), moved_folder(run_id, manifest))
        folder = None if recorded.get("out") is None else Path(recorded["out"])
        overwrite = options.overwrite or bool(recorded.get("overwrite"))
        files = run_folder(folder, squad, options, overwrite=overwrite, own=past.written)
        squad = await squad.loaded(options.trust, options.variables)
        inputs = inputs_for(squad, manifest) if edited else manifest.inputs
        of_record = None if edited else definitions_in(manifest.sources)
        squad, remote = await opened.enter_async_context(mcp_opened(squad, options, of_record))
        origins = origins_of(files)
        tools = builtin_tools(squad, files, options, origins).plus(*remote)
        uncapped = squad.plan(inputs, tools, manifest.edition)
        differing = changed(manifest.parts, parts_of(uncapped))
        if differing and not edited:
            raise RunChanged(run_id, differing)
        if past.is_over and not differing:
            raise RunOver(run_id, str(past.status))
        check_tools(uncapped, options.deps)
        plan = capped(uncapped, recorded)
        async with open_providers(squad, plan, options, bool(recorded.get("stub"))) as (complete, stub):
            with held(plan, files, run_id):
                if folder is not None:
                    await anyio.to_thread.run_sync(sweep, folder)
                now = manifest_of(squad, uncapped, recorded, manifest.created_at)
                past = await turn_into(now, uncapped, journal, run_id, past, clock)
                in_flight = await journal.cut_short(run_id)
                more = (past, in_flight, options.notify, options.stream)
                setting = Setting(run_id, journal, options.ask, clock, files, *more, around=options.around)
                asked_by = recorded.get("traceparent")
                setting = replace(setting, origins=origins, subscribers=options.subscribers, traceparent=asked_by)
                setting = replace(setting, dispatcher=options.dispatcher)
                async with (
                    open_memory(plan, _memory(squad, setting, options, complete)) as memory,
                    running(plan, complete, stub, replace(setting, memory=memory), None) as run,
                ):
                    yield run


async def turn_into(
    now: RunManifest, plan: Plan, journal: Journal, run_id: str, past: RunHistory, clock: Callable[[], float]
) -> RunHistory:
    """Record what a run is made of from now on, where that is something else, and return what of its past still
    counts. `plan` is that of `now`; the caller drives the run."""
    was, now = await journal.manifest(run_id), replace(now, since=len(past.events))
    if changed(was.parts, now.parts):
        return await _edit(journal, run_id, edit_of(was, past.events, plan, now), now, past, clock)
    if replace(now, since=was.since) != was or not journal.is_at_home(was):
        await journal.edit(run_id, now, ())  # other limits, another folder: the run depends on them, too
    return past


async def _edit(
    journal: Journal, run_id: str, edit: Edit, now: RunManifest, past: RunHistory, clock: Callable[[], float]
) -> RunHistory:
    """Record that the run is made of something else from now on, and return what of its past still counts."""
    void = edit.void(await journal.cut_short(run_id))
    recorder = Recorder(run_id, None, clock, past)
    recorder.record(edit.event(void))
    steps = moved_steps(await journal.steps(run_id), edit.moved) if edit.moved else []
    await journal.edit(run_id, now, recorder.take(), steps, {step.unit for step in void})
    return history_of(await journal.events(run_id))


async def run_to_end(
    squad: Squad,
    options: RunOptions,
    on_event: Callable[[Event], None] | None,
    on_delta: Callable[[RunDelta], None] | None,
) -> RunResult:
    for name, called in (("on_event", on_event), ("on_delta", on_delta)):
        if inspect.iscoroutinefunction(called):
            raise TypeError(f"{name} is called, not awaited: give a plain function, or iterate over open_run(...)")
    async with open_with(squad, options) as run:
        if on_delta is None:
            async for event in run:
                if on_event is not None:
                    on_event(event)
        else:
            await _tell_both(run, on_event or (lambda _: None), on_delta)
    return run.result


async def _tell_both(run: Run, on_event: Callable[[Event], None], on_delta: Callable[[RunDelta], None]) -> None:
    """Call both, in the order in which things happen: what was said is told before what follows from it."""
    deltas = run.stream()

    async def say() -> None:
        while await deltas.more():
            for delta in deltas.ready():
                on_delta(delta)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            async for event in run:
                for delta in deltas.ready():
                    on_delta(delta)
                on_event(event)
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


def _check_given(squad: Squad, options: RunOptions) -> None:
    """Raise `TypeError` where a program hands over a path or a document as the squad, or a text as the inputs; and
    `ValueError` for a priority where no worker begins the work."""
    if options.priority and options.dispatcher is None:
        raise ValueError("priority: it orders the runs of a cluster, and this process does the run itself")
    given: object = squad
    if not isinstance(given, Squad):
        raise TypeError(f"a Squad is run, Squad.from_file(path) or Squad.from_mapping(document); not {given!r:.80}")
    if not isinstance(options.inputs or {}, Mapping):
        raise TypeError(f"inputs are a mapping, inputs={{'name': value}}; not {options.inputs!r:.80}")


def check_tools(plan: Plan, deps: Any) -> None:
    """Raise `ToolFault` where a tool of the plan's agents needs dependencies that it is not given."""
    for agent in plan.agents.values():
        check_deps(agent.tools, deps)
    for task in whole(plan).tasks.values():
        for work in works_of(task.work):
            check_deps(getattr(work, "tools", None) or (), deps)


def new_run_id(name: str, now: float) -> str:
    """Return an id that sorts by time, is safe as a folder's name, and does not repeat."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40] or "run"
    return f"{safe}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def stub_would_answer(squad: Squad, plan: Plan, environ: Mapping[str, str], offline: bool | None) -> bool:
    """Return whether the offline stub answers: as the caller says, else as the squad does."""
    if offline is not None:
        return offline
    return plan.offline == "always" or (plan.offline == "auto" and not squad.catalog.candidates(environ))


NO_MODEL = "no provider is configured, so the offline stub answers: no model is asked, every answer is canned"


def tell_of_stub(squad: Any, options: RunOptions) -> None:
    """Warn the program that called our caller where the stub is going to answer it and it did not ask for that."""
    if not isinstance(squad, Squad):
        return  # it is refused, in words, where the run is opened
    environ = os.environ if options.environ is None else options.environ
    is_open = options.manager is None and options.offline is None and squad.spec.offline == "auto"
    if is_open and not options.local_servers and not squad.catalog.candidates(environ):
        hint = "set the key of a provider, or say offline=True; local_servers=True asks a model server on this machine"
        warnings.warn(f"squad {squad.spec.name}: {NO_MODEL}; {hint}", StubAnswers, stacklevel=3)


def stub_answers(squad: Squad, plan: Plan, environ: Mapping[str, str], offline: bool | None) -> bool:
    """Return whether the offline stub answers. Raise `NoProvider` where it may not, and no provider is configured."""
    stub = stub_would_answer(squad, plan, environ, offline)
    if not stub and not squad.catalog.candidates(environ):
        raise NoProvider(squad.catalog.unconfigured(environ))
    return stub


def _memory(squad: Squad, setting: Setting, options: RunOptions, complete: Complete) -> MemorySetting:
    beside = Path(squad.file).parent
    return MemorySetting(setting.run_id, setting.clock, beside, options.memory, options.state, complete)


@asynccontextmanager
async def open_providers(
    squad: Squad, plan: Plan, options: RunOptions, offline: bool | None
) -> AsyncIterator[tuple[Complete, bool]]:
    """Open what answers turns, and say whether it is the stub: only where the squad or the caller asks for it."""
    if options.manager is not None:
        async with nullcontext():
            yield options.manager, False
        return
    # Imported on use: these bring the network and YAML, which a caller with a manager of its own never needs.
    from orchestrator.hot_reload import HotReload
    from providers.client.found_servers import found_variables, over
    from providers.client.manager import open_manager

    environ = options.variables
    if options.local_servers and not offline and plan.offline != "always":
        pinned = [agent.model for agent in plan.agents.values()]
        found = await found_variables(squad.policy, squad.catalog, environ, pinned=pinned)
        environ = over(environ, found)
        if offline is None and stub_would_answer(squad, plan, environ, None):
            warnings.warn(f"squad {plan.name}: {NO_MODEL}", StubAnswers, stacklevel=2)
    stub, shared = stub_answers(squad, plan, environ, offline), options.shared
    async with AsyncExitStack() as stack:
        if shared is not None and shared.answer(squad, stub=stub):
            opened = shared.manager
        else:
            opening = open_manager(
                squad.policy,
                squad.catalog,
                environ,
                offline=stub,
                ledger=None if stub else options.ledger,
                state=options.state,
                notify=options.notify,
                trust=options.trust,
            )
            opened = await stack.enter_async_context(opening)
            if shared is not None and not stub:
                opened.traffic = shared.manager.traffic
        if stub or (squad.routing_file is None and not isinstance(environ, Environment)):
            yield opened, stub
        else:
            yield HotReload(opened, squad.routing_file, squad.routing_now, environ, options.trust), stub
