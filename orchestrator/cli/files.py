"""What commands go by: the routing file, its policy and catalog, and the `.env`; each mistake in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.cli.app import Settings
from orchestrator.cli.exits import Unusable
from orchestrator.cli.loading import interrupts_held
from orchestrator.cli.local import local_environment
from orchestrator.environment import Environment, environment_of
from orchestrator.squad.routing import load_routing
from providers.catalog.model import Catalog
from providers.policy.environment import with_environment
from providers.policy.model import Policy

ROUTING_FILE = "agent_routing.yaml"


def routing_file(settings: Settings) -> Path | None:
    """Return the routing file: the one that was named, else the working folder's own where there is one."""
    if settings.routing is None:
        default = Path(ROUTING_FILE)
        return default if default.is_file() else None
    path = Path(settings.routing)
    if not path.is_file():
        raise Unusable(f"there is no routing file {settings.routing}", "`orchestrator init` writes one")
    return path


def environment(settings: Settings) -> Environment:
    """Return the variables that hold keys and addresses: the process's, and below them those of the `.env`.

    The `.env` is the one beside the routing file, else the one in the working folder. Raise `SpecError` with each line
    that is no `NAME=value`.
    """
    routing = routing_file(settings)
    return environment_of(None if routing is None else routing.parent)


@interrupts_held()
def load_policy(settings: Settings) -> tuple[Policy, Catalog]:
    """Return the policy and the catalog that hold here. Raise `SpecError` with all mistakes of the routing file."""
    return load_routing(routing_file(settings))


@interrupts_held()
def policy_over(file: str, catalog: Catalog) -> tuple[Policy, Catalog]:
    """Return the policy of a routing file over this catalog, and the catalog with the file's own entries."""
    return load_routing(file, catalog)


def configured(settings: Settings, say: Callable[[str], None] | None = None) -> tuple[Policy, Catalog, Environment]:
    """Return the policy and the catalog that hold here, with what the environment changes, and that environment.

    With `say` a model server on this machine is looked for where nothing is configured, and named by it.
    """
    environ, (policy, catalog) = environment(settings), load_policy(settings)
    if say is not None:
        environ = local_environment(policy, catalog, environ, say)
    return *with_environment(policy, catalog, environ), environ
