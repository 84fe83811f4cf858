"""Counts in a file: over restarts, between processes, and where the file is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from providers.limits.counter import LimitKey
from providers.limits.ledger import LedgerDown
from providers.limits.ledger.sqlite import SqliteLedger
from providers.limits.reserve import NoRoom
from providers.windows import Rolling
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
METER = LimitKey("k", 50, Rolling(3600))
NOW = 1_795_176_000.0

WORKER = """
import sys, anyio
from pathlib import Path
from providers.limits.ledger.sqlite import SqliteLedger
from providers.limits.counter import LimitKey
from providers.limits.reserve import NoRoom
from providers.windows import Rolling

async def main():
    ledger, meter, granted = SqliteLedger(Path(sys.argv[1])), LimitKey("k", 50, Rolling(3600)), 0
    for n in range(40):
        lease = f"{sys.argv[2]}-{n}"
        if not isinstance(await ledger.reserve([(meter, 1)], lease, 1_795_176_000.0, 60), NoRoom):
            granted += 1
            if n % 2:
                await ledger.settle([(meter, 1)], lease, 1_795_176_000.0)
    print(granted)

anyio.run(main)
"""


async def test_counts_survive_a_restart(tmp_path: Path):
    path = tmp_path / "state" / "limits.sqlite3"
    first = SqliteLedger(path)
    assert await first.reserve([(METER, 50)], "a", NOW, 60) is None
    await first.settle([(METER, 50)], "a", NOW)
    await first.aclose()
    second = SqliteLedger(path)
    assert isinstance(await second.reserve([(METER, 1)], "b", NOW + 1, 60), NoRoom)
    await second.aclose()


def test_processes_on_one_file_admit_no_more_than_one_would(tmp_path: Path):
    path = str(tmp_path / "limits.sqlite3")
    command = [sys.executable, "-c", WORKER, path]
    workers = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE) for n in range(3)]
    granted = [int(worker.communicate(timeout=PATIENCE_S)[0]) for worker in workers]
    assert sum(granted) == 50


async def test_a_cancelled_call_leaves_the_file_usable(tmp_path: Path):
    ledger = SqliteLedger(tmp_path / "limits.sqlite3")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ledger.reserve([(METER, 1)], "a", NOW, 60)
    assert not isinstance(await ledger.reserve([(METER, 1)], "b", NOW, 60), NoRoom)
    await ledger.aclose()


async def test_a_file_that_is_no_database_is_said_to_be_down(tmp_path: Path):
    path = tmp_path / "limits.sqlite3"
    path.write_bytes(b"not a database" * 100)
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerDown, match="not a database"):
        await ledger.reserve([(METER, 1)], "a", NOW, 60)
    with pytest.raises(LedgerDown):
        await SqliteLedger(path / "below").usage([METER], NOW)
    await ledger.aclose()
