"""The suite for dispatchers, on ours and on the one that a guide shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.testing.dispatchers import DispatcherConformance
from tests.patience import PATIENCE_S

GUIDES = Path(__file__).parents[3] / "docs/guides"


class OnPostgres(DispatcherConformance):
    """A place is a database."""

    patience_s = PATIENCE_S

    @pytest.fixture
    def place(self, postgres_url: str) -> str:
        return postgres_url


@pytest.mark.long
class TestJobQueue(OnPostgres):
    factory = "orchestrator.dispatch.cluster.queue:JobQueue"


@pytest.mark.long
class TestTinyQueue(OnPostgres):
    factory = "tiny_dispatcher:TinyQueue"

    @pytest.fixture(autouse=True)
    def guide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(GUIDES))
        assert str(GUIDES) in sys.path
