"""Opens what the server works with, listens, and serves until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.to_thread
import uvicorn
from starlette.types import ASGIApp

from agents.memory.database import MemoryUnusable
from orchestrator.errors import OrchestratorError
from orchestrator.journal.protocols import Journal, JournalDamaged
from orchestrator.options import RunOptions, SharedProviders
from orchestrator.server.access import Access
from orchestrator.server.app import application
from orchestrator.server.cluster_host import ClusterHost
from orchestrator.server.connections import CONNECTIONS, ConnectionLimits, bounded_connection
from orchestrator.server.driven_runs import DrivenRuns, cut_short
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.gateway.killed_runs import settle_killed
from orchestrator.server.gateway.store import gateway_store
from orchestrator.server.hosting import RunHost, hosted, hosting
from orchestrator.server.joined_writes import joining
from orchestrator.server.observation import Observation, observation
from orchestrator.server.open_files import within_open_files
from orchestrator.server.pages.live import live_pages
from orchestrator.server.pages.templating import compile_all
from orchestrator.server.past_traffic import look_back
from orchestrator.server.state import ServerState
from orchestrator.server.stopping import ServerStop, SignalledServer
from orchestrator.server.taking_up import resume
from orchestrator.squad.load import Squad
from personas import Persona
from providers.catalog.model import Catalog
from providers.client.manager import ProviderManager, open_manager
from providers.documents.problems import ProblemsFound
from providers.policy.model import Policy

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.cluster.opening import ClusterDatabase

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GRACE_S = 8.0
"""How long the server takes to stop, at most: runs end their calls in flight, answers under way are finished. Less than
what containers are given (10 s) before they are killed."""


class RunLeft(NamedTuple):
    """A run that is not over and that nobody drives: it goes on as soon as somebody does."""

    run: str
    state: str


class ServeEnded(NamedTuple):
    """How a server ended. `left`: the runs that wait; `forced_by`: the signal that ended what was under way."""

    left: Sequence[RunLeft]
    forced_by: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`options` are those of each run, `state` and `clock` among them. `keys` None: clients need none."""

    policy: Policy
    catalog: Catalog
    squads: Mapping[str, Squad]
    personas: Mapping[str, Persona]
    journal: Journal
    options: RunOptions
    keys: ClientKeys | None
    mask: Callable[[str], str]
    listening: socket
    """Where it listens: bound before anything is opened, so that a port that is taken is told first."""
    hosts: Iterable[str] = LOOPBACK
    out: Path | None = None
    """The folder in which each run gets one for its files; None: runs keep their files in the record alone."""
    token: str | None = None
    """What programs log in with; None: what the state folder keeps."""
    proxies: Sequence[str] = ()
    """Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    grace_s: float = GRACE_S
    resume: bool = False
    """Whether runs go on that a server drove before, and that a stop or a kill cut short."""
    tell: Callable[[str], None] = lambda _: None
    """Told in words what happens besides."""
    cluster: ClusterDatabase | None = None
    """Whose workers do the runs' work, and whose journal is `journal`; None: this process does it."""
    routing_file: Path | None = None
    """Where the policy is from; None: the built-in one."""


async def serve(settings: ServerSettings, ready: Callable[[str, Sequence[RunLeft]], None]) -> ServeEnded:
    """Serve until cancelled or told to stop by a signal.

    `ready` is told the token of a link that logs in once, and the runs that an earlier server left. On the first signal
    no connection and no run begins any more, streams end, and runs end their calls in flight; after `grace_s`, or on
    the second signal, what is left is cut short where it is. All of it is recorded: each run can be resumed.
    """
    options = settings.options
    assert options.state is not None, "a server has a folder of its own"
    assert options.clock is not None, "and a clock"
    opening = open_manager(
        settings.policy,
        settings.catalog,
        options.variables,
        offline=bool(options.offline),
        state=options.state,
        notify=options.notify,
        trust=options.trust,
    )
    noted = DrivenRuns(options.state)
    async with (
        gateway_store(options.state, options.clock) as store,
        opening as manager,
        observation(options.subscribers, options.notify, options.clock) as watch,
        _hosting(settings, _sharing(manager, settings, watch), noted) as host,
        live_pages() as live,
    ):
        state = ServerState(
            manager,
            settings.journal,
            host,
            settings.squads,
            settings.personas,
            settings.keys,
            options.clock,
            settings.mask,
            options.state,
            store,
            bool(options.offline),
            watch=watch,
            cluster=settings.cluster,
        )
        access = Access(options.state, options.clock, settings.token)
        app, limits = application(state, access, live, settings.hosts), within_open_files(CONNECTIONS)
        server = SignalledServer(configured(app, settings.grace_s, limits, proxies=settings.proxies))
        app.is_full = lambda: len(server.server_state.connections) > limits.most
        left = [RunLeft(*one) for one in await cut_short(noted, settings.journal)]
        await settle_killed(state)
        try:
            await look_back(manager, settings.journal, store)
        except (JournalDamaged, MemoryUnusable) as error:  # only figures of the last hour hang on it
            settings.tell(settings.mask(f"what was asked within the last hour is not told: {error}"))
        async with anyio.create_task_group() as tasks:
            stop = ServerStop(server, app.stop, host, settings.grace_s, tasks.cancel_scope, settings.tell)
            await tasks.start(stop.obey)
            ready(access.link("operator"), left)
            tasks.start_soon(partial(anyio.to_thread.run_sync, compile_all, abandon_on_cancel=True))
            if settings.resume:
                tasks.start_soon(_go_on, state, left, settings.tell)
            await server.serve(sockets=[settings.listening])
            await host.ended()
            tasks.cancel_scope.cancel()
        server.cancel_requests()
    return ServeEnded([RunLeft(*one) for one in await cut_short(noted, settings.journal)], stop.forced_by)


def configured(
    app: ASGIApp,
    grace_s: float = GRACE_S,
    limits: ConnectionLimits = CONNECTIONS,
    *,
    proxies: Sequence[str] = (),
    parser: str | None = None,
) -> uvicorn.Config:
    """Return how uvicorn serves: no headers of proxies are believed but of these, and connections have their limits."""
    return uvicorn.Config(
        app,
        http=joining(bounded_connection(limits, parser)),
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_keep_alive=limits.idle_s,
        timeout_graceful_shutdown=ceil(grace_s),
    )


async def _go_on(state: ServerState, left: Sequence[RunLeft], tell: Callable[[str], None]) -> None:
    """Go on with runs that were left, each where it stopped."""
    for run, _ in left:
        try:
            await resume(state, run)
        except (OrchestratorError, ProblemsFound) as error:
            tell(state.mask(f"{run} does not go on: {error}"))


def _hosting(settings: ServerSettings, options: RunOptions, noted: DrivenRuns) -> AbstractAsyncContextManager[RunHost]:
    if (cluster := settings.cluster) is not None:
        return hosted(lambda tasks: ClusterHost(tasks, cluster, options))
    return hosting(settings.journal, options, settings.out, noted)


def _sharing(manager: ProviderManager, settings: ServerSettings, watch: Observation) -> RunOptions:
    """Return the options of runs that are watched, and answered by the server's manager where their routing is its."""
    options = settings.options
    shared = SharedProviders(manager, settings.policy, settings.catalog, settings.routing_file, bool(options.offline))
    return replace(options, shared=shared, subscribers=watch.feeds)
