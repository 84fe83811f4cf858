"""The provider manager: drives `routing.attempts` with the real world, for whole answers and for streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from random import Random

import anyio
import anyio.lowlevel

from providers.adapters import Adapter, LocalAdapter
from providers.books import Accept, Exchange, Purse, Turn, check
from providers.catalog import Candidate
from providers.errors import ProviderError, TimedOut
from providers.events import Emit, ignore
from providers.messages import Request, Response
from providers.policy import Policy
from providers.routing import Fleet, Outcome, Try, attempts
from providers.streaming import ResponseStream
from providers.wire import Access, Transport, phases


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
        unconfigured: Mapping[str, str] | None = None,
        sole: str | None = None,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        known = list(candidates)
        foreign = {
            c.name: f"dialect {c.provider.dialect} is not built in" for c in known if c.provider.dialect not in adapters
        }
        usable = [c for c in known if c.name not in foreign]
        self.fleet = Fleet(usable, policy, {**(unconfigured or {}), **foreign}, sole=sole)
        self._access = Access(adapters, transport)
        self.clock = clock
        self.rng = Random() if rng is None else rng  # noqa: S311  # jitter, not a secret

    @property
    def configured(self) -> tuple[str, ...]:
        """The names of the candidates that may be asked, in catalog order."""
        return tuple(self.fleet.standings)

    async def complete(
        self, request: Request, *, emit: Emit = ignore, purse: Purse | None = None, accept: Accept | None = None
    ) -> Response:
        """Return a sound, whole answer with all of the turn's attempts.

        Raises `RoutingError` (`NoRoute`, `AllAttemptsFailed`, the purse's `BudgetSpent`), or the `ProviderError`
        that nobody could recover from.
        """
        turn = Turn(self.fleet, self.clock, request, emit, purse)
        flow = attempts(self.fleet, request, turn.began, self.rng)
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Try):
                    outcome = await self._try(turn, effect, accept)
                else:
                    outcome = await turn.sleep(effect)
                effect = flow.send(outcome)
        except StopIteration as done:
            return turn.finished(done.value)
        finally:
            flow.close()

    async def _try(self, turn: Turn, effect: Try, accept: Accept | None) -> Outcome:
        exchange = Exchange(turn, effect)
        response = None
        try:
            response = await self._ask(turn.request, effect)
            check(response, accept)
        except ProviderError as error:
            exchange.close("failed", error, response)
            return Outcome(self.clock(), error=error)
        else:
            exchange.close("ok", None, response)
            return Outcome(self.clock(), response=response)
        finally:
            exchange.close("cancelled", None, response)

    async def _ask(self, request: Request, effect: Try) -> Response:
        candidate, limits = effect.candidate, effect.timeouts
        local = self._access.local.get(candidate.provider.dialect)
        if local is not None:
            await anyio.lowlevel.checkpoint()
            return local.respond(request, candidate)
        adapter = self._access.remote[candidate.provider.dialect]
        message = adapter.encode(request, candidate, stream=False)
        with anyio.move_on_after(limits.total):
            reply = await self._access.transport.send(message, **phases(limits))
            if 200 <= reply.status < 300:
                return adapter.decode(reply, request, candidate, self.clock())
            raise adapter.classify(reply, candidate, self.clock())
        raise TimedOut(f"no whole answer within {limits.total:g} s", phase="total")

    def stream(self, request: Request, *, emit: Emit = ignore, purse: Purse | None = None) -> ResponseStream:
        """Return the answer as it comes: `async with manager.stream(request) as deltas: async for delta in deltas`."""
        turn = Turn(self.fleet, self.clock, request, emit, purse)
        return ResponseStream(turn, attempts(self.fleet, request, turn.began, self.rng, streamed=True), self._access)
