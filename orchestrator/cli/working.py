"""A worker process, from its options to its end: what it opens, what it says, which signals it obeys."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import anyio
from anyio.abc import TaskGroup, TaskStatus

from orchestrator.cli.app import Settings
from orchestrator.cli.clusters import cluster_at
from orchestrator.cli.consent import consent
from orchestrator.cli.exits import Exit, Interrupted, Terminated, Unusable
from orchestrator.cli.files import environment, load_policy, routing_file
from orchestrator.cli.ledgers import ask_once
from orchestrator.cli.local import with_local_server
from orchestrator.cli.observed import server_observed
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.notices import telling
from orchestrator.cli.ui.screens import log_to
from orchestrator.cli.worker_options import HealthAddress, WorkerAsked
from orchestrator.cluster.serving import serve_worker
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.environment import Environment
from orchestrator.journal.database_url import without_password
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.timing import ClusterTiming
from orchestrator.observe.logs import LogLevel, log_all_to
from orchestrator.observe.opening import metrics_where_installed
from orchestrator.observe.probes import ProbeListener
from orchestrator.observe.worker_probes import WorkerProbes
from orchestrator.options import RunOptions, steady
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from providers.catalog.trust import Consent
from providers.limits.ledger.opening import ledger_of


async def work(settings: Settings, asked: WorkerAsked) -> Exit:
    """Work until a signal, or the drain that `/drain` asks for. Raise what a second signal ends it with."""
    console = Console(settings)
    # Its warnings tell of connections that are closed, which a worker that stops does, and has said.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    environ, trust = await _providers(settings, console)
    level: LogLevel = settings.log_level or ("debug" if settings.verbose else "info")
    log_all_to(settings.log_format or "console", color=console.color, file=sys.stderr, level=level)
    log = log_to(settings, console, sys.stderr, level)
    timing = ClusterTiming(retry_s=None, heartbeat_s=asked.heartbeat, lease_s=asked.timeout)
    stack = AsyncExitStack()
    async with stack:
        metrics = metrics_where_installed()
        told = await stack.enter_async_context(server_observed(settings, console, environ))
        cluster = await stack.enter_async_context(cluster_at(asked.db, console.warn, timing=timing, log=log))
        notify = telling(console.warn, console.write)
        # One for all runs here: while it is down this process is one that goes on alone, whatever it has at work. Where
        # none is named, the cluster's own database counts: in a folder of each machine's own, limits were not shared.
        named = load_policy(settings)[0].ledger or asked.db
        ledger = ledger_of(named, environ, settings.state_folder, notify)
        if ledger is not None:
            stack.push_async_callback(ledger.aclose)
            await ask_once(ledger)
        options = RunOptions(
            environ=environ,
            clock=steady(),
            state=settings.state_folder,
            ledger=ledger,
            notify=notify,
            trust=trust,
            subscribers=told if metrics is None else (*told, metrics),
        )
        times = WorkerTimes(heartbeat_s=asked.heartbeat, timeout_s=asked.timeout, grace_s=asked.grace)
        squad_of, stop = partial(squad_as_recorded, settings), anyio.Event()
        async with anyio.create_task_group() as tasks:
            signals = WorkerSignals(stop, tasks.cancel_scope, asked.grace, console.say)
            await tasks.start(signals.watch)
            if asked.health is not None:
                await _answer_probes(tasks, WorkerProbes(cluster.queue, stop, metrics), asked.health, console)
            _say_what_it_serves(console, asked)
            serving = partial(serve_worker, stop=stop, times=times, out=asked.out)
            await serving(cluster, squad_of, options, asked.queues)
            tasks.cancel_scope.cancel()
        signals.check()
    console.say("stopped: other workers continue its work")
    return Exit.DONE


async def _providers(settings: Settings, console: Console) -> tuple[Environment, Consent]:
    """Return the environment of the runs' providers, and which keys and code may be used. Say where none is there."""
    environ, (policy, catalog) = environment(settings), load_policy(settings)
    environ = await with_local_server(policy, catalog, environ, console.say)
    if not catalog.candidates(environ):
        console.warn("no provider is configured here: it can do runs of the offline stub alone; set a provider's key")
        keys: Consent = trust_file().allows
    else:
        keys = consent(settings, catalog, environ, console)
    # Who may write to the database decides what runs here: `--trust` says that all of them may.
    return environ, (lambda _: True) if settings.trust else keys


def squad_as_recorded(settings: Settings, manifest: RunManifest) -> Squad:
    """Return the squad that a run is made of: as it is recorded, whatever stands in a file of this machine by now."""
    return Squad.from_text(manifest.text, manifest.file, routing=routing_file(settings), where_gone=manifest.sources)


async def _answer_probes(tasks: TaskGroup, probes: WorkerProbes, address: HealthAddress, console: Console) -> None:
    listener = ProbeListener(probes.paths(), lambda path, error: console.warn(f"{path}: {error}"))
    try:
        port = await tasks.start(listener.serve, address.host, address.port)
    except OSError as error:
        raise Unusable(
            f"cannot listen at {address.host}:{address.port}: {error.strerror or error}", "give another --health"
        ) from error
    console.say(f"answers /healthz, /readyz and /metrics at http://{address.host}:{port}")


def _say_what_it_serves(console: Console, asked: WorkerAsked) -> None:
    slots = ", ".join(f"{count} of `{queue}`" for queue, count in asked.queues.items() if count)
    console.say(f"worker {os.getpid()} serves {without_password(asked.db)}: {slots} at a time; Ctrl-C hands over")


class WorkerSignals:
    """The first SIGINT or SIGTERM drains the worker, the second stops it at once."""

    def __init__(self, stop: anyio.Event, scope: anyio.CancelScope, grace_s: float, say: Callable[[str], None]) -> None:
        self._stop, self._scope, self._grace_s, self._say = stop, scope, grace_s, say
        self._forced_by: int | None = None

    async def watch(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Obey signals until cancelled."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self._stop.is_set():
                    self._forced_by = number
                    self._scope.cancel()
                else:
                    self._say(f"hands over its work within {self._grace_s:g} s: a second signal stops now")
                    self._stop.set()

    def check(self) -> None:
        """Raise what a second signal ended the worker with."""
        if self._forced_by == signal.SIGINT:
            raise Interrupted("interrupted")
        if self._forced_by is not None:
            raise Terminated("terminated")
