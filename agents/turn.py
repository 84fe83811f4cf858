"""One turn: what an agent needs around it, one model call, and what follows from the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from providers.events import Emit, ignore
from providers.messages import Request, Response

T = TypeVar("T")


class Purse(Protocol):
    """Our own caps, nested. A reservation is taken before a call and settled or released exactly once after it.

    It is also what `ProviderManager` takes as `purse`.
    """

    def reserve(self, cost: int, tokens: int) -> Any:
        """Return a reservation of `cost` micro-USD and `tokens`; raise `BudgetSpent` where a cap leaves no room."""


class Complete(Protocol):
    """Who answers a request: a `ProviderManager`, a cache around one, or a test's function."""

    async def complete(self, request: Request, *, emit: Emit = ignore, purse: Any = None) -> Response: ...


Do = Callable[[str, bytes, Callable[[], Awaitable[T]]], Awaitable[T]]
"""`do(name, request_hash, work)`: a durable step. What is recorded under `name` is handed back; else `work` runs."""


async def _do_now(name: str, request_hash: bytes, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG001
    return await work()


@dataclass(frozen=True, slots=True)
class RunContext:
    """Where in a run the work stands and what surrounds it. Immutable: a child position is a copy."""

    emit: Emit = ignore
    do: Do[Any] = _do_now
    purse: Purse | None = None
    path: str = ""
    """The position by meaning, `build[S-1]/attempt-2/code`, never a count of calls. Steps are keyed below it."""

    def at(self, **changes: Any) -> RunContext:
        return replace(self, **changes)
