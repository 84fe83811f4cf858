"""A bench for the failover exam: providers on loopback, a manager, and what both of them saw."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Literal

import anyio
import sniffio

from providers.catalog.model import Candidate, Limit, Model, Price, Provider, of_all_accounts
from providers.client.manager import ProviderManager, built_in
from providers.emit import Emit, ignore
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.reserve import Amounts, NoRoom
from providers.messages import Capability, Delta, Needs, Request, Response, Restarted, Resumed, TextDelta, user
from providers.policy.model import Policy, Timeouts
from providers.transport.over_httpx2 import HttpxTransport
from providers.transport.sockets import SocketTransport
from providers.windows import Rolling
from tests.loopback import Loopback, Rule, Seen

How = Literal["complete", "stream", "relay"]
ASK = Request((user("Say hello to 👩‍👩‍👧‍👦, שלום."),), max_output_tokens=50)
QUICK = Timeouts(connect=10.0, first_token=1.0, between_chunks=1.0, total=6.0)
"""For providers that hang: a busy machine must answer within it."""
PATIENT = Timeouts(connect=30.0, first_token=30.0, between_chunks=30.0, total=60.0)
KEY = "sk-loopback-secret"
FREE = Price(0, 0)
PLENTY = (Limit("requests", 1_000_000, Rolling(86400)), Limit("total", 1e12, Rolling(86400)))
"""Limits that bind nobody: every attempt reserves under them, and what was booked can be read."""


def within(seconds: float, request: Request = ASK) -> Request:
    return Request(request.messages, max_output_tokens=50, needs=Needs(deadline_s=seconds))


class WatchedLedger(MemoryLedger):
    """Counts as the ledger in memory does, and knows which reservations are open and how often each one ended."""

    def __init__(self) -> None:
        super().__init__()
        self.open: set[str] = set()
        self.ends: Counter[str] = Counter()

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        refused = await super().reserve(amounts, lease, now, ttl)
        if refused is None:
            self.open.add(lease)
        return refused

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        await super().settle(amounts, lease, now)
        self.open.discard(lease)
        self.ends[lease] += 1


class Lab:
    """Asks as `how` says, of providers on loopback, by a clock that can be moved on."""

    def __init__(self, loopback: Loopback, how: How) -> None:
        self.loopback, self.how = loopback, how
        self.ledger = WatchedLedger()
        self.passed: list[str] = []
        """What streams passed on, and in brackets what they said of a break."""
        self.client: type[SocketTransport | HttpxTransport] | None = None
        """Asks over it; None: over sockets on asyncio, over httpx2 elsewhere, so that each client has its turn."""
        self._skipped = 0.0
        self._names: dict[str, str] = {}

    def clock(self) -> float:
        return time.time() + self._skipped

    def skip(self, seconds: float) -> None:
        """Let time pass for the manager. Nobody who sleeps meanwhile notices."""
        self._skipped += seconds

    def provider(
        self,
        name: str,
        *modes: str,
        rule: Rule | None = None,
        url: str | None = None,
        context: int = 8192,
        key: str = KEY,
        limits: tuple[Limit, ...] = PLENTY,
        capabilities: frozenset[Capability] = frozenset(),
        price: Price | None = FREE,
        dialect: str = "openai-chat",
    ) -> Candidate:
        """Return a candidate whose n-th call is met by the n-th mode, later ones by the last; or as `rule` says."""
        base = url or self.loopback.by(rule or _one_after_another(modes))
        self._names[base] = name
        model = Model("m", context=context, max_output=512, capabilities=capabilities, price=price)
        return Candidate(Provider(name, dialect, base, "KEY", {"m": model}, limits=limits), model, key=key)

    @asynccontextmanager
    async def manager(self, *candidates: Candidate, **policy: object) -> AsyncIterator[ProviderManager]:
        """Yield a manager that asks them in this order. Whatever happened, all reservations were ended once."""
        names = tuple(dict.fromkeys(of_all_accounts(each.name) for each in candidates))
        given = {"strategy": "chain", "timeouts": PATIENT, "last_resort": (), **policy}
        fast = sniffio.current_async_library() == "asyncio"
        async with (self.client or (SocketTransport if fast else HttpxTransport))() as transport:
            yield ProviderManager(
                candidates,
                Policy({"worker": names}, **given),
                adapters=built_in(),
                transport=transport,
                clock=self.clock,
                rng=Random(1),
                ledger=self.ledger,
            )
        assert not self.ledger.open
        assert set(self.ledger.ends.values()) <= {1}

    async def ask(self, manager: ProviderManager, request: Request = ASK, emit: Emit = ignore) -> Response:
        if self.how == "complete":
            return await manager.complete(request, emit=emit)
        said: list[str] = []

        def hear(delta: Delta) -> None:
            match delta:
                case TextDelta(text):
                    said.append(text)
                    self.passed.append(text)
                case Restarted():
                    said.clear()
                    self.passed.append("[restarted]")
                case Resumed():
                    self.passed.append("[resumed]")

        if self.how == "relay":
            response = await manager.relay(request, hear, emit=emit)
        else:
            async with manager.stream(request, emit=emit) as deltas:
                async for delta in deltas:
                    hear(delta)
            assert deltas.response is not None
            response = deltas.response
        assert "".join(said) == response.text
        return response

    async def ask_at_once(self, manager: ProviderManager, many: int, request: Request = ASK) -> list[object]:
        """Ask so many times at the same time; return each answer, or the error in its place."""
        ends: list[object] = []

        async def one() -> None:
            try:
                ends.append(await self.ask(manager, request))
            except Exception as error:  # noqa: BLE001  # whoever asked looks at each
                ends.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(many):
                tasks.start_soon(one)
        return ends

    @property
    def calls(self) -> list[str]:
        """The names of the providers that were called, in order of arrival."""
        return [self._names[seen.base] for seen in self.loopback.requests]

    def to(self, name: str) -> list[Seen]:
        """Return the calls that a provider saw."""
        return [seen for seen in self.loopback.requests if self._names[seen.base] == name]

    async def booked(self, manager: ProviderManager, name: str) -> tuple[float, float]:
        """Return the requests and tokens that stand under a provider's limits."""
        bound = manager.reservations.bound(manager.fleet.states[f"{name}/m"].candidate)
        assert bound is not None
        requests, tokens, *_ = await self.ledger.usage(bound.meters, self.clock())
        return requests.used, tokens.used


def _one_after_another(modes: tuple[str, ...]) -> Callable[[Seen], str]:
    left = list(modes)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def health(manager: ProviderManager, name: str) -> tuple[object, ...]:
    """Return every figure of a candidate's health."""
    state = manager.fleet.states[f"{name}/m"]
    return (
        state.breaker,
        state.track.bad,
        state.held_until,
        state.headroom,
        state.account in manager.fleet.shut,
    )
