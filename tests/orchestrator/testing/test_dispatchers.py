"""The suite for dispatchers, on ours and on the one that a guide shows."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import anyio
import pytest

from orchestrator.dispatch.cluster.job import Job
from orchestrator.testing.dispatchers import DispatcherConformance
from orchestrator.units import Unit
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

    def test_a_job_that_was_given_back_is_taken_from_nobody(self, place: str) -> None:
        """Whoever is looking for dead workers meanwhile may be the one that takes it next."""
        guide = import_module("tiny_dispatcher")

        async def check() -> None:
            async with guide.TinyQueue(place) as dead, guide.TinyQueue(place) as alive:
                await alive.prepare()
                await alive.submit([Job("r", Unit("t"))])
                number, *_ = await dead._take("tasks")
                looks = [alive._owner, -1.0]
                assert await alive._run(guide.DEAD, looks) == [(number, dead._owner)]
                assert await alive._again(number, 0.0, dead._owner)
                assert await alive._run(guide.DEAD, looks) == []

        anyio.run(check)
