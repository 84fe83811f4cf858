"""The listening server that every oracle asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.providers.oracles.ear import ear as ear


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these modules out of a plain run: the vendors' clients take seconds to import. All of them are `long`."""
    return True if "not long" in config.option.markexpr else None
