"""Real components that some tests need: without one they skip and say how to get it, and under `CI=true` they fail."""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from typing import Any, NoReturn

import pytest


def absent(needed: str) -> NoReturn:
    """Skip the test or the module, or fail it under CI. `needed` says what is missing, and how to get it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing under CI: {needed}", pytrace=False)
    pytest.skip(f"needs {needed}", allow_module_level=True)


class Component:
    """A module that is loaded when something of it is asked for: most test runs only collect what needs it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest asks each name of a test module whether it is a fixture
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)


def imported(module: str, extra: str) -> Any:
    """Return a module that the extra brings."""
    installed(module, extra)
    return Component(module)


def installed(module: str, extra: str) -> None:
    """Skip unless a module that the extra brings is there; it is not loaded."""
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # the package that it is in
        found = None
    if found is None:
        absent(f"{module} (pip install squad-orchestrator[{extra}])")
