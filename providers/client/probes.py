"""Active checks: a provider is asked for its list of models, which costs nothing, before a caller finds out.

What counts is whether the endpoint answers at all. A refused key or a path that is not there says nothing of that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from providers.adapters import Adapter, HttpRequest
from providers.catalog.base_url import endpoint
from providers.catalog.model import Candidate
from providers.client.adapter_table import AdapterTable
from providers.errors import ProviderError, StreamBroken, TimedOut, Unreachable
from providers.messages import Request, user
from providers.routing.fleet import Fleet

PING = Request((user("."),))
"""Never sent: its headers are those of the provider's own dialect."""
NOT_IMPLEMENTED = 501
OF_A_BODY = frozenset({"content-type", "content-length"})


@asynccontextmanager
async def checking(fleet: Fleet, adapters: AdapterTable, clock: Callable[[], float]) -> AsyncIterator[None]:
    """Check what the policy's `checks` name, at once and then again and again, while the block lasts.

    Another policy's `checks` hold from the next round on; where there were none at the beginning, there never are any.
    """
    if fleet.policy.checks is None:
        yield
        return
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_rounds, fleet, adapters, clock)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None  # as it was raised in the block


async def _rounds(fleet: Fleet, adapters: AdapterTable, clock: Callable[[], float]) -> None:
    while (checks := fleet.policy.checks) is not None:
        async with anyio.create_task_group() as tasks:
            for candidate in _one_of_each(fleet, checks.providers):
                tasks.start_soon(_check, fleet, adapters, candidate, clock)
        await anyio.sleep(checks.every)


def _one_of_each(fleet: Fleet, providers: tuple[str, ...]) -> list[Candidate]:
    """Return a candidate of each endpoint that is to be checked: all of its models and keys are behind one door."""
    found: dict[tuple[str, str], Candidate] = {}
    for state in fleet.states.values():
        row = state.candidate.provider
        if row.name in providers:
            found.setdefault((row.name, row.base_url), state.candidate)
    return list(found.values())


def list_request(adapter: Adapter, candidate: Candidate) -> HttpRequest:
    """Return the request for an endpoint's list of models. Raise `AuthFailed` for a key that no header can hold."""
    headers = adapter.encode(PING, candidate, stream=False).headers
    asked = {name: value for name, value in headers.items() if name.lower() not in OF_A_BODY}
    return HttpRequest("GET", endpoint(candidate.provider.base_url, "/models"), asked, b"")


async def _check(fleet: Fleet, adapters: AdapterTable, candidate: Candidate, clock: Callable[[], float]) -> None:
    provider, limits = candidate.provider, fleet.policy.timeouts
    adapter = adapters.remote.get(provider.dialect)
    if adapter is None:
        return
    try:
        request = list_request(adapter, candidate)
        reply = await adapters.send(request, replace(limits, total=min(limits.total, limits.first_token)))
    except (StreamBroken, TimedOut, Unreachable):
        fleet.checked(provider, well=False, now=clock())
    except ProviderError:
        return
    else:
        fleet.checked(provider, well=reply.status < 500 or reply.status == NOT_IMPLEMENTED, now=clock())
