"""What a caller may ask of a run beside its squad, and the caps that hold in the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.hooks import Hooks
from agents.run_context import Complete, Surroundings
from orchestrator.squad.plan import Budget, Plan
from providers.budgets import micro_usd
from providers.catalog.trust import Consent, of_the_program
from providers.emit import Emit, ignore

MOST_PRIORITY = 100
"""The highest priority of a run of a cluster; the lowest is as far below 0."""

if TYPE_CHECKING:
    from agents.mcp.tools import StandIn
    from agents.memory.store import MemoryStore
    from orchestrator.dispatch import Dispatcher
    from orchestrator.events import GateAnswered, GateOpened
    from orchestrator.journal.protocols import Journal
    from orchestrator.run.durable import Rehearse
    from orchestrator.run.questions import Ask
    from orchestrator.squad.load import Squad
    from orchestrator.subscribers import Subscriber
    from providers.catalog.model import Catalog
    from providers.client.manager import ProviderManager
    from providers.limits.ledger import Ledger
    from providers.policy.model import Policy


async def leave_unanswered(gate: GateOpened) -> GateAnswered | None:  # noqa: ARG001
    """Answer no gate: the run pauses once nothing else can go on."""
    return None


def steady() -> Callable[[], float]:
    """Return a clock of epoch seconds that goes on evenly: setting the machine's clock uses up no time budget."""
    began = time.time() - time.monotonic()
    return lambda: began + time.monotonic()


@dataclass(frozen=True, slots=True)
class SharedProviders:
    """The providers of a process that drives many runs: one manager for all whose routing is this one, so that they
    share what it learns of providers. What the others' managers ask is counted with what this one does."""

    manager: ProviderManager
    policy: Policy
    catalog: Catalog
    routing_file: Path | None
    offline: bool

    def answer(self, squad: Squad, *, stub: bool) -> bool:
        """Return whether they answer a squad's turns; `stub`: nothing is to be asked for them."""
        same_file = squad.routing_file == self.routing_file
        return stub == self.offline and same_file and (squad.policy, squad.catalog) == (self.policy, self.catalog)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a caller asks of one run, new, resumed or forked. None: as the squad, or the record of the run, has it.

    `manager` answers turns instead of the configured providers; `offline` overrides the squad's own word. With
    `local_servers` a model server on this machine is looked for where no provider is configured. Money is
    USD, time is seconds. `out` is the folder of its files; those of others are replaced only with `overwrite`. `ask`
    answers gates. `journal` keeps the record, `state` is the folder of what providers' limits allow, and `notify` is
    called when that ledger is lost and regained. `trust` says which keys may go where a file sends them; by default,
    those that no file but one that the program named has a say in. With `stream`, answers are asked for as streams, and
    `Run.stream` tells of them as they come. `memory` is where agents remember (a store, or its file), else `memory.db`
    in `state`; without either it ends with the run. `deps` are for the tools' `ToolContext`, and `hooks` stand around
    each model and tool call; both are given anew to a run that is resumed. `rehearse` answers the run's steps instead
    of their work, so no provider, server or tool is at work. MCP servers in `stand_ins` are not started. `shared`
    providers answer where the squad's routing is theirs. `ledger` counts what limits allow, whatever the squad's
    routing says, and is the caller's to close: so one process stays one of its users. With a `dispatcher`, other
    processes do the work. `priority` is that of a new run of a cluster: its workers begin what is of a higher one
    first; what goes on with the run has it too.
    """

    inputs: Mapping[str, Any] | None = None
    out: Path | str | None = None
    overwrite: bool = False
    run_id: str | None = None
    manager: Complete | None = None
    environ: Mapping[str, str] | None = field(default=None, repr=False)
    offline: bool | None = None
    local_servers: bool = False
    max_cost_usd: float | None = None
    timeout_s: float | None = None
    ask: Ask = leave_unanswered
    clock: Callable[[], float] | None = None
    journal: Journal | None = None
    state: Path | None = None
    notify: Emit = ignore
    trust: Consent = of_the_program
    stream: bool = False
    memory: MemoryStore | Path | str | None = None
    deps: Any = field(default=None, repr=False)
    hooks: Sequence[Hooks] = ()
    rehearse: Rehearse | None = None
    stand_ins: Mapping[str, StandIn] = field(default_factory=dict)
    shared: SharedProviders | None = None
    ledger: Ledger | None = None
    subscribers: Sequence[Subscriber] = ()
    traceparent: str | None = None
    dispatcher: Dispatcher | None = None
    priority: int = 0

    @property
    def folder(self) -> Path | None:
        """The folder of the run's artifacts."""
        return None if self.out is None else Path(self.out)

    @property
    def around(self) -> Surroundings:
        """What the program puts around the calls of the run."""
        return Surroundings(self.deps, tuple(self.hooks))

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables of the run's environment: those that were given, else the process's."""
        return os.environ if self.environ is None else self.environ

    @property
    def caps(self) -> dict[str, float | None]:
        """The caller's own caps, as a run's record holds them."""
        return {"max_cost_usd": self.max_cost_usd, "timeout_s": self.timeout_s}


def recorded_options(options: RunOptions, stub: bool) -> dict[str, Any]:
    """Return the options that a resume needs again: who answered, where artifacts are, the caller's caps, how soon its
    work is begun."""
    folder = options.folder
    overwrites = {"overwrite": True} if options.overwrite else {}
    asked_by = {} if options.traceparent is None else {"traceparent": options.traceparent}
    urgency = {"priority": options.priority} if options.priority else {}
    out = None if folder is None else str(folder.absolute())
    return {"stub": stub, "out": out, **overwrites, **asked_by, **urgency, **options.caps}


def raised(recorded: Mapping[str, Any], caps: Mapping[str, float | None]) -> dict[str, Any]:
    """Return a run's recorded options with the caps that were given to resume it: they replace any other cap, the
    squad's own ones too."""
    given = {name: cap for name, cap in caps.items() if cap is not None}
    instead = sorted({*recorded.get("instead", ()), *given})
    return {**recorded, **given, **({"instead": instead} if instead else {})}


def capped(plan: Plan, recorded: Mapping[str, Any]) -> Plan:
    """Return the plan under the caller's own caps too: the lower one holds, but for one that was given `instead`."""
    own, instead = plan.budget or Budget(), recorded.get("instead", ())
    max_cost_usd, max_time = recorded.get("max_cost_usd"), recorded.get("timeout_s")
    max_cost = None if max_cost_usd is None else micro_usd(max_cost_usd)
    if max_cost is None and max_time is None:
        return plan
    cost = max_cost if "max_cost_usd" in instead else _lower(own.max_cost, max_cost)
    time_s = max_time if "timeout_s" in instead else _lower(own.max_time, max_time)
    return replace(plan, budget=replace(own, max_cost=cost, max_time=time_s))


def _lower(one: Any, other: Any) -> Any:
    return min((cap for cap in (one, other) if cap is not None), default=None)
