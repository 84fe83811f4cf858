"""Whether the packages that we import are ours."""

from __future__ import annotations

from importlib import import_module

DISTRIBUTION = "squad-orchestrator"


class StrangeAgents(Exception):
    """`import agents` finds another distribution's package."""

    hint = "openai-agents installs a package of the same name: install the two in separate environments"

    def __init__(self, place: str) -> None:
        super().__init__(f"the package `agents` at {place} is not part of {DISTRIBUTION}")


def strange_agents() -> StrangeAgents | None:
    """Return what is wrong with the package `agents`, or None."""
    agents = import_module("agents")  # on use: what is found under this name is what is in doubt
    if getattr(agents, "__distribution__", None) == DISTRIBUTION:
        return None
    return StrangeAgents(str(getattr(agents, "__file__", None) or "an unknown place"))


def require_our_agents() -> None:
    """Raise `StrangeAgents` where `agents` is another distribution's package."""
    strange = strange_agents()
    if strange is not None:
        raise strange
