"""Fixtures for pytest. Loaded by every run of pytest where this package is installed, so it imports nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orchestrator.testing.scripts import ScriptedManager


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Keep whether a test failed or was skipped: then it is no news that a script was not used up."""
    if call.when == "call" and call.excinfo is not None:
        item.stash[FAILED] = True


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Iterator[Callable[..., ScriptedManager]]:
    """Return a function that makes a scripted manager: `scripted("first", "second")`. Each must be used up by the
    test's end."""
    from orchestrator.testing.scripts import scripted as make

    made: list[ScriptedManager] = []

    def scripted_manager(*steps: Any) -> ScriptedManager:
        made.append(make(*steps))
        return made[-1]

    yield scripted_manager
    for one in made:
        one.check(used_up=not request.node.stash.get(FAILED, False))


@pytest.fixture
def no_real_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no provider be called that is not on this machine: a call of one fails with `RealCallForbidden`."""
    monkeypatch.setenv("ORCHESTRATOR_REAL_CALLS", "forbid")
