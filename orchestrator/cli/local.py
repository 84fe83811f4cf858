"""A model server on this machine, used where nothing else is configured, and named where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import anyio

from orchestrator.environment import Environment
from providers.catalog.model import Catalog
from providers.client.found_servers import found_variables
from providers.policy.model import Policy


async def with_local_server(
    policy: Policy,
    catalog: Catalog,
    environ: Environment,
    say: Callable[[str], None],
    pinned: Iterable[str | None] = (),
) -> Environment:
    """Return the environment with the address and the model of a server here, where that is what there is to ask.

    It is looked for where no provider is configured, and where `pinned` models are those of an own server that has no
    address. Whatever is found is named by `say`. Raise `CatalogError` for variables that cannot be used.
    """
    found = await found_variables(policy, catalog, environ, say, pinned)
    return environ.over(found) if found else environ


def local_environment(
    policy: Policy,
    catalog: Catalog,
    environ: Environment,
    say: Callable[[str], None],
    pinned: Iterable[str | None] = (),
) -> Environment:
    """Return what `with_local_server` does, outside of any event loop."""
    return anyio.run(partial(with_local_server, policy, catalog, environ, say, tuple(pinned)))
