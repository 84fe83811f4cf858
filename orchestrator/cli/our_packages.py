"""Whether the packages that we import are ours."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "squad-orchestrator"


class StrangeAgents(Exception):
    """`import agents` finds another distribution's package."""

    hint = "openai-agents installs a package of the same name: install the two in separate environments"

    def __init__(self, place: str) -> None:
        super().__init__(f"the package `agents` at {place} is not part of {DISTRIBUTION}")


def strange_agents() -> StrangeAgents | None:
    """Return what is wrong with the package `agents`, or None."""
    # By its text, not by importing it: where pip put another one's files among ours, the import may fail in any way.
    found = find_spec("agents")
    place = Path(found.origin) if found is not None and found.origin else None
    if place is not None and f'__distribution__ = "{DISTRIBUTION}"' in place.read_text("utf-8", errors="replace"):
        return None
    return StrangeAgents(str(place or "an unknown place"))


def require_our_agents() -> None:
    """Raise `StrangeAgents` where `agents` is another distribution's package."""
    strange = strange_agents()
    if strange is not None:
        raise strange
