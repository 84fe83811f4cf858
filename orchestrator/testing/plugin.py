"""Fixtures for pytest. Loaded by every run of pytest where this package is installed, so it imports nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orchestrator.testing.scripts import ScriptedManager


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedManager]]:
    """Return a function that makes a scripted manager: `scripted("first", "second")`. Each must be used up by the
    test's end."""
    from orchestrator.testing.scripts import scripted as make

    made: list[ScriptedManager] = []

    def scripted_manager(*steps: Any) -> ScriptedManager:
        made.append(make(*steps))
        return made[-1]

    yield scripted_manager
    for one in made:
        one.check()


@pytest.fixture
def no_real_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no provider be called that is not on this machine: whoever tries fails with `RealCallForbidden`."""
    monkeypatch.setenv("ORCHESTRATOR_REAL_CALLS", "forbid")
