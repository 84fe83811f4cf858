"""Which model server on this machine is used, and when: only where nothing else is configured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from providers.catalog.model import Catalog, Provider, of_all_accounts
from providers.catalog.trust import Layered
from providers.client.discovery import LocalServer, local_servers
from providers.policy.model import Policy


async def found_variables(
    policy: Policy,
    catalog: Catalog,
    environ: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
    pinned: Iterable[str | None] = (),
) -> dict[str, str]:
    """Return the address and the model of a server here, as variables, where that is what there is to ask; else none.

    It is looked for where no provider is configured, and where `pinned` models are those of an own server that has no
    address. Whatever is found is named by `say`. Raise `CatalogError` for variables that cannot be used.
    """
    models = [of_all_accounts(name) for name in pinned if name]
    allowed = _looked_for(policy, catalog, environ, models)
    server = usable(await local_servers(environ), allowed, say) if allowed else None
    if server is None:
        return {}
    found = server.variables()
    own = [name.partition("/")[2] for name in models if name.startswith(f"{server.provider}/")]
    chosen = {**found, **environ}[f"{server.provider.upper()}_MODEL"]
    say(f"using {server}, model {', '.join(own) or chosen}")
    return found


def over(environ: Mapping[str, str], found: Mapping[str, str]) -> Mapping[str, str]:
    """Return an environment with variables below it that nobody set. One that knows its sources still does."""
    if not found:
        return environ
    return environ.over(found) if isinstance(environ, Layered) else {**found, **environ}


def _looked_for(policy: Policy, catalog: Catalog, environ: Mapping[str, str], models: Iterable[str]) -> set[str]:
    """Return the rows of own servers that one that is found may answer as; none where there is nothing to look for."""
    missing = {name for name in catalog.unconfigured(environ) if is_own_server(catalog.providers[name])}
    wanted = {name.partition("/")[0] for name in models}
    if catalog.candidates(environ):
        return wanted & missing
    # A model of a vendor without a key cannot be had from a server here: nothing is to be looked for.
    return (wanted & missing if wanted <= missing else set()) if wanted else missing & set(_named(policy))


def is_own_server(row: Provider) -> bool:
    """Return whether a row is of a server that one runs oneself, and that serves whatever is loaded."""
    return row.any_model and not row.hosted and bool(row.base_url)


def usable(servers: Iterable[LocalServer], allowed: Collection[str], say: Callable[[str], None]) -> LocalServer | None:
    """Return the first server that has a model and may be asked; those without one are told."""
    for server in servers:
        if server.provider in allowed:
            if server.models:
                return server
            say(without_models(server))
    return None


def without_models(server: LocalServer) -> str:
    """Return the line on a server that can answer nothing."""
    hint = ": `ollama pull llama3.2` brings one" if server.provider == "ollama" else ""
    return f"{server} serves no model that answers in words{hint}"


def _named(policy: Policy) -> Iterator[str]:
    """Yield the providers that a policy names."""
    for names in policy.tiers.values():
        yield from (name.partition("/")[0] for name in names)
    for agent in (policy.default, *policy.agents.values()):
        yield from (name.partition("/")[0] for name in (*agent.chain, *([agent.model] if agent.model else [])))
