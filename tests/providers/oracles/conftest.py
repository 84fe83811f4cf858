"""The listening server that every oracle asks."""

from __future__ import annotations

from tests.providers.oracles.ear import ear as ear
