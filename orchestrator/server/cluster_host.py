"""Runs that a server begins and goes on with in a cluster: its workers do the work, and the server shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup

from orchestrator.cluster.going_on import resume_submitted, submit_fork
from orchestrator.cluster.submission import submit_run
from orchestrator.journal.protocols import RunBusy
from orchestrator.options import RunOptions
from orchestrator.server.hosting import RunHost
from orchestrator.squad.load import Squad

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.cluster.opening import ClusterDatabase


class ClusterHost(RunHost):
    """A `RunHost` that submits runs. Chats, and squads that clients of the gateway ask, are at work in this process:
    somebody waits for their words."""

    def __init__(self, tasks: TaskGroup, cluster: ClusterDatabase, options: RunOptions) -> None:
        super().__init__(tasks, cluster.journal, options)
        self._cluster = cluster

    async def start(self, squad: Squad, inputs: Mapping[str, Any], **more: Any) -> str:
        """Submit a run, and return its id. Raise what `submit_run` raises, and `RunExists`."""
        options = replace(self._options, inputs=inputs, **more)
        return await submit_run(squad, options, self._cluster.record_new)

    async def fork(self, squad: Squad, source: str, inputs: Mapping[str, Any], start: str | None, **more: Any) -> str:
        """Submit a run that takes over what `source` did, and return its id. Raise what `fork_run` raises."""
        options = replace(self._options, inputs=inputs, **more)
        return await submit_fork(squad, source, self._cluster, options, start)

    async def resume(self, squad: Squad, run: str, **more: Any) -> None:  # noqa: ARG002  # workers read it in the record
        """Have a worker go on with a run. Raise `RunBusy` where one is at it, and what `resume_submitted` raises."""
        if await self._cluster.journal.is_driven(run):
            raise RunBusy(f"the run {run} is at work")
        await resume_submitted(self._cluster, run, {name: more.get(name) for name in ("max_cost_usd", "timeout_s")})
