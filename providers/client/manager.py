"""The provider manager: drives `routing.attempts` with the real world, for whole answers and for streams."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

from providers.adapters import Adapter, LocalAdapter
from providers.budgets import BudgetScope
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Catalog
from providers.catalog.trust import Consent, NotTrusted, of_the_program, refused
from providers.client.adapter_table import AdapterTable
from providers.client.alerts import posting
from providers.client.clock import SteadyClock
from providers.client.contexts import OwnContexts
from providers.client.continuation import RestHeard, continued, may_be_continued
from providers.client.control_log import ControlFollower, ControlLog
from providers.client.embedding import EmbeddingClient, HearVectors
from providers.client.found_servers import found_variables, over
from providers.client.probes import checking
from providers.client.reservations import Reservations
from providers.client.stream import ResponseStream
from providers.client.turn import LiveTurn
from providers.client.whole import whole
from providers.client.wiretap import tapped
from providers.embeddings import Embeddings, Purpose
from providers.emit import Emit, ignore
from providers.errors import ProviderError, Reason, ReasonCode, RoutingError
from providers.limits.ledger import Ledger
from providers.limits.ledger.fallback import with_fallback
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.ledger.opening import ledger_of
from providers.messages import Accept, Capability, Hear, Needs, Request, Response
from providers.policy.environment import with_environment
from providers.policy.model import OnBreak, Policy
from providers.policy.parse import default_policy
from providers.routing.effects import Effect, Outcome
from providers.routing.fleet import Fleet
from providers.routing.traffic import Traffic
from providers.routing.turn import attempts
from providers.transport import Transport, open_transport

NO_NEEDS = Needs()


class ProviderManager:
    """Answers requests by whichever candidate the policy and the state of the world allow.

    One per process; safe to use from many tasks. A cancelled call releases what it reserved and closes its socket.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        policy: Policy,
        *,
        adapters: Mapping[str, Adapter | LocalAdapter],
        transport: Transport | None = None,
        unconfigured: Mapping[str, Reason] | None = None,
        sole: str | None = None,
        clock: Callable[[], float] | None = None,
        rng: Random | None = None,
        ledger: Ledger | None = None,
        trust: Consent = of_the_program,
        embedders: Iterable[Candidate] = (),
    ) -> None:
        self._dialects, self._trust = frozenset(adapters), trust
        candidates, embedders = tuple(candidates), tuple(embedders)
        usable, missing = self._usable(candidates, unconfigured, embedders)
        self.fleet = Fleet(usable, policy, missing, sole=sole)
        self._adapters = AdapterTable(adapters, transport)
        self.clock: Callable[[], float] = SteadyClock() if clock is None else clock
        self.reservations = Reservations(
            MemoryLedger() if ledger is None else with_fallback(ledger), self.fleet, self.clock
        )
        self.rng = Random() if rng is None else rng  # noqa: S311  # jitter, not a secret
        self.embeddings = EmbeddingClient(policy, adapters, transport, self.reservations.ledger, self.clock, self.rng)
        self.embeddings.adopt(policy, embedders, usable, missing, sole=sole is not None)
        self.contexts: OwnContexts | None = None
        """Asks one's own servers what their models take, before the first turn there; None: nobody asks."""
        self.traffic = Traffic(self.clock())
        """What turns asked within the last hour."""
        self.follower: ControlFollower | None = None
        """Tells what operators have set, before each turn; None: nobody does."""

    def adopt(self, policy: Policy, catalog: Catalog, environ: Mapping[str, str]) -> None:
        """Go on under another policy and catalog; turns that began before end as they began.

        Raise `CatalogError`, or `NotTrusted` for a key and an address that was not allowed, with everything as it was.
        A manager that was opened without a transport gets none.
        """
        policy, catalog = with_environment(policy, catalog, environ)
        embedders = catalog.embedders(environ)
        usable, missing = self._usable(catalog.candidates(environ), catalog.unconfigured(environ), embedders)
        self.fleet.adopt(policy, usable, missing)
        self.embeddings.adopt(policy, embedders, usable, missing)

    def look(self) -> None:
        """Take up what operators have set, in whatever process of the same state folder. Cheap where that is nothing
        new; each turn does it before it begins, and while it waits."""
        if self.follower is not None and (control := self.follower.news()) is not None:
            self.fleet.operate(control)
            self.embeddings.fleet.operate(control)

    def _usable(
        self,
        candidates: Iterable[Candidate],
        unconfigured: Mapping[str, Reason] | None,
        embedders: Iterable[Candidate],
    ) -> tuple[list[Candidate], dict[str, Reason]]:
        """Return those whose dialect is spoken here, and why others cannot be asked. Raise `NotTrusted`."""
        known = list(candidates)
        if wrong := refused((use for c in (*known, *embedders) for use in c.uses), self._trust):
            raise NotTrusted(wrong)
        strange = [c for c in known if c.provider.dialect not in self._dialects]
        missing = {c.name: Reason(ReasonCode.UNKNOWN, f"dialect {c.provider.dialect} is not built in") for c in strange}
        return [c for c in known if c.name not in missing], {**(unconfigured or {}), **missing}

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Those that may be asked, in catalog order."""
        return tuple(state.candidate for state in self.fleet.states.values())

    @property
    def policy(self) -> Policy:
        """The policy by which it chooses now."""
        return self.fleet.policy

    @property
    def configured(self) -> tuple[str, ...]:
        """The names of the candidates that may be asked, in catalog order."""
        return tuple(self.fleet.states)

    def room(self, request: Request) -> int | None:
        """Return how many tokens of input the largest takes of those that the policy asks first for a request, beside
        their answer; None where no provider can be asked. Later ones of a tier or a chain of its own do not count."""
        ranking, (_, needed) = self.fleet.ranking(request.needs), self.fleet.demands(request)
        able = [state for state in ranking.states if needed <= state.candidate.model.capabilities]
        rivals = ranking.rivals(able) if able else []
        wanted = request.max_output_tokens
        return max(
            (one.candidate.model.context - (wanted or one.room) for one in rivals if not one.candidate.model.assumed),
            default=None,
        )

    async def complete(
        self, request: Request, *, emit: Emit = ignore, budgets: BudgetScope | None = None, accept: Accept | None = None
    ) -> Response:
        """Return a sound, whole answer with all of the turn's attempts.

        A text that was cut off at a length that the request does not set is continued, where its model can (`prefill`).
        Raises `RoutingError` (`NoRoute`, `AllAttemptsFailed`, the scope's `BudgetSpent`), or the `ProviderError` that
        every candidate would fail with.
        """
        response = await self._complete(request, emit, budgets, accept)
        if not (may_be_continued(request, response) and self._continues(response)):
            return response
        return await continued(
            response, request, lambda rest, said: self._complete(rest, emit, budgets, None, continues=len(said))
        )

    async def relay(
        self,
        request: Request,
        hear: Hear,
        *,
        emit: Emit = ignore,
        budgets: BudgetScope | None = None,
        accept: Accept | None = None,
    ) -> Response:
        """Return what `complete` returns, asked for as a stream of which `hear` is told while it comes.

        What was told since the last `Restarted` is the answer so far. An answer that breaks off, or that `accept` turns
        away, is begun anew like any other failed attempt, whatever the policy's `on_break` says.
        """
        response = await self._relay(request, hear, emit, budgets, accept)
        if not (may_be_continued(request, response) and self._continues(response)):
            return response

        async def ask(rest: Request, said: str) -> Response:
            heard = RestHeard(hear, said)
            try:
                made = await self._relay(rest, heard, emit, budgets, None, continues=len(said))
            except (RoutingError, ProviderError) as error:
                heard.restart(str(error))
                raise
            heard.end()
            return made

        return await continued(response, request, ask)

    async def _relay(
        self,
        request: Request,
        hear: Hear,
        emit: Emit,
        budgets: BudgetScope | None,
        accept: Accept | None,
        *,
        continues: int = 0,
    ) -> Response:
        turn = self._turn(request, emit, budgets, accept, continues)
        flow = self._flow(turn, streamed=True, on_break="restart")
        async with ResponseStream(turn, flow, self.contexts, "restart") as deltas:
            async for delta in deltas:
                hear(delta)
        assert deltas.response is not None, "a stream that was read to its end has one"
        return deltas.response

    def _continues(self, response: Response) -> bool:
        """Return whether the model of an answer can go on with it."""
        asked = (state.candidate for state in self.fleet.states.values())
        made_by = [
            one.model for one in asked if (one.provider.name, one.model.name) == (response.provider, response.model)
        ]
        return any(Capability.PREFILL in model.capabilities for model in made_by)

    async def _complete(
        self,
        request: Request,
        emit: Emit,
        budgets: BudgetScope | None,
        accept: Accept | None,
        *,
        continues: int = 0,
    ) -> Response:
        turn = self._turn(request, emit, budgets, accept, continues)
        if self.contexts is not None:
            await self.contexts.learn(request)
        return await whole(turn, self._flow(turn))

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | Sequence[str],
        dimensions: int | None = None,
        purpose: Purpose | None = None,
        needs: Needs = NO_NEEDS,
        emit: Emit = ignore,
        budgets: BudgetScope | None = None,
        shorten: bool = False,
        hear: HearVectors | None = None,
    ) -> Embeddings:
        """Return a vector of each text, in their order, routed, limited, paid and tried again as turns are.

        `model` is `provider/model`, which goes to this provider alone (to all its accounts); a model's own name, which
        goes to all that serve it; or several names of one model, in order: vectors of one model compare with no
        other's. Texts go in as many requests as the provider's limits demand; `hear` is told of each one's answer. Of
        `needs` count `agent`, `run` and `deadline_s` (for each request). `shorten`: texts that are too long for the
        model are cut at their end, else their request is refused.

        Raises as `complete` does, and `ValueError` for a blank text and for names of several models. Anthropic has no
        embeddings, nor has the offline stub: that is a `NoRoute`.
        """
        self.look()
        return await self.embeddings.embed(
            texts, model, dimensions, purpose, needs, emit, budgets, shorten=shorten, hear=hear
        )

    def stream(self, request: Request, *, emit: Emit = ignore, budgets: BudgetScope | None = None) -> ResponseStream:
        """Return the answer as it comes: `async with manager.stream(request) as deltas: async for delta in deltas`."""
        turn = self._turn(request, emit, budgets)
        return ResponseStream(turn, self._flow(turn, streamed=True), self.contexts)

    def _turn(
        self,
        request: Request,
        emit: Emit,
        budgets: BudgetScope | None,
        accept: Accept | None = None,
        continues: int = 0,
    ) -> LiveTurn:
        turn = LiveTurn(self.fleet, self._adapters, self.reservations, request, emit, budgets, accept, continues)
        turn.look, turn.saw = self.look, self.traffic.saw
        return turn

    def _flow(
        self, turn: LiveTurn, *, streamed: bool = False, on_break: OnBreak | None = None
    ) -> Generator[Effect, Outcome, Response]:
        """Return the turn's flow. It begins when it is first driven: what was done before took of the turn's time."""
        self.look()
        fleet, began = self.fleet, turn.began
        return (
            yield from attempts(
                fleet, turn.request, turn.clock(), self.rng, streamed=streamed, began=began, on_break=on_break
            )
        )


@asynccontextmanager
async def open_manager(
    policy: Policy | None = None,
    catalog: Catalog | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    offline: bool = False,
    local_servers: bool = False,
    transport: Transport | None = None,
    adapters: Mapping[str, Adapter | LocalAdapter] | None = None,
    ledger: Ledger | None = None,
    state: Path | None = None,
    notify: Emit = ignore,
    trust: Consent = of_the_program,
) -> AsyncIterator[ProviderManager]:
    """Yield a manager of every candidate that has a key; close its sockets after. Raises `CatalogError`.

    - `policy`: which models answer whom; None: the built-in policy.
    - `catalog`: the providers and models; None: those of the package.
    - `environ`: the variables that keys are taken from; None: those of this process.
    - `offline`: the stub answers everything, whatever tier or model is asked for, and no network is opened.
    - `local_servers`: a model server on this machine is looked for where no provider is configured, as the command line
      does.
    - `transport`: sends the requests; None: the built-in HTTP client.
    - `adapters`: the dialects of providers, by name; None: those that are built in.
    - `ledger`: counts what limits allow, and is the caller's to close. None: counts are kept where the variable
      `ORCHESTRATOR_LEDGER` or the policy says, else in the folder `state`, or without a folder in memory.
    - `state`: the folder of the counts. No file is made before a call that a limit binds.
    - `notify`: is called when a ledger is lost and when it is regained, and told what goes to the providers that the
      variable `ORCHESTRATOR_DEBUG` names.
    - `trust`: is called with each key that a file would send to an address, and says whether it may go there. By
      default a routing file that you named may say so, and a `.env` may not (docs/guides/security.md).
    """
    catalog = load_catalog() if catalog is None else catalog
    policy = default_policy(catalog) if policy is None else policy
    adapters = built_in() if adapters is None else adapters
    sole, missing = None, dict[str, Reason]()
    if offline:
        sole, candidates, environ = _STUB, _stub(catalog), {}
        embedders: tuple[Candidate, ...] = ()
    else:
        environ = os.environ if environ is None else environ
        if local_servers:
            environ = over(environ, await found_variables(policy, catalog, environ))
        policy, catalog = with_environment(policy, catalog, environ)
        candidates, missing = catalog.candidates(environ), dict(catalog.unconfigured(environ))
        embedders = catalog.embedders(environ)
    async with AsyncExitStack() as stack:
        asked = (*candidates, *embedders)
        hosted = any(not isinstance(adapters.get(c.provider.dialect), LocalAdapter | None) for c in asked)
        if transport is None and (hosted or (policy.budget.webhook_env and not offline)):
            transport = await stack.enter_async_context(open_transport())
        transport = tapped(transport, environ, asked, notify)
        if ledger is None:
            ledger = ledger_of(None if offline else policy.ledger, environ, state, notify)
            if ledger is not None:
                stack.push_async_callback(ledger.aclose)
        manager = ProviderManager(
            candidates,
            policy,
            adapters=adapters,
            transport=transport,
            unconfigured=missing,
            sole=sole,
            ledger=ledger,
            trust=trust,
            embedders=embedders,
        )
        if state is not None:
            manager.follower = ControlFollower(ControlLog(state))
            manager.look()
        if not offline:
            manager.contexts = OwnContexts(manager.fleet, manager._adapters, manager.clock)
            alarm = posting(policy.budget, environ, transport, notify)
            alarm_all = await stack.enter_async_context(alarm)
            manager.reservations.alarm = manager.embeddings.reservations.alarm = alarm_all
            await stack.enter_async_context(checking(manager.fleet, manager._adapters, manager.clock))
        yield manager


_STUB = "stub/stub"


def built_in() -> dict[str, Adapter | LocalAdapter]:
    """Return the adapters of the dialects that are built in."""
    from providers.adapters.anthropic.encode import AnthropicMessages
    from providers.adapters.gemini.encode import Gemini
    from providers.adapters.openai.encode import OpenAIChat
    from providers.stub.scripted import Stub

    return {
        "openai-chat": OpenAIChat(),
        "anthropic-messages": AnthropicMessages(),
        "gemini": Gemini(),
        "scripted": Stub(),
    }


def _stub(catalog: Catalog) -> tuple[Candidate, ...]:
    """Return the stub alone, from the packaged catalog where `catalog` has no such row."""
    rows = catalog if "stub" in catalog.providers else load_catalog()
    provider, model = rows.serving(*_STUB.split("/")).providers["stub"], "stub"
    return (Candidate(provider, provider.models[model]),)
