"""The engine goes by anyio alone: a plain run has it on asyncio, `long` has it on trio as well."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if HERE in item.path.parents and given.get("anyio_backend") == "trio":
            item.add_marker(pytest.mark.long)
