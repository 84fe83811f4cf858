"""For tests of programs that use squads: scripted answers instead of a provider's.

    async with scripted("The brief.", tool_call("read_file", path="a.md"), "Done.") as manager:
        result = await run_squad(squad, manager=manager)

With pytest the fixtures `scripted` and `no_real_calls` are there as soon as this package is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.testing.scripts import ScriptedManager, ScriptMismatch, scripted
    from providers.errors import RealCallForbidden
    from providers.stub.scripted import say, tool_call

__all__ = ["RealCallForbidden", "ScriptMismatch", "ScriptedManager", "say", "scripted", "tool_call"]

_HOMES = {
    "RealCallForbidden": "providers.errors",
    "ScriptMismatch": "orchestrator.testing.scripts",
    "ScriptedManager": "orchestrator.testing.scripts",
    "say": "providers.stub.scripted",
    "scripted": "orchestrator.testing.scripts",
    "tool_call": "providers.stub.scripted",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
