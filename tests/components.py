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


def imported(module: str, extra: str) -> Any:
    """Return a module that the extra brings."""
    try:
        return importlib.import_module(module)
    except ImportError:
        absent(f"{module} (pip install squad-orchestrator[{extra}])")


def installed(module: str, extra: str) -> None:
    """Skip unless a module that the extra brings is there; it is not loaded."""
    if find_spec(module) is None:
        absent(f"{module} (pip install squad-orchestrator[{extra}])")
