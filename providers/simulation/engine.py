"""Drives turns over virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from providers.catalog import Catalog
from providers.policy import Policy
from providers.simulation.report import Report
from providers.simulation.scenario import Load, Scenario


def run(
    scenario: Scenario,
    *,
    policy: Policy | None = None,
    catalog: Catalog | None = None,
    load: Sequence[Load] | None = None,
    seed: int | None = None,
    log: BinaryIO | None = None,
) -> Report:
    """Return what the scenario came to; see `simulate`."""
    raise NotImplementedError
