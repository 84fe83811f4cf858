"""The limits of connections, where the process may open few files."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orchestrator.server.connections import CONNECTIONS
from orchestrator.server.open_files import within

TOLD = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from orchestrator.server.connections import CONNECTIONS
from orchestrator.server.open_files import within_open_files
limits = within_open_files(CONNECTIONS)
print(limits.most, limits.spare, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize("files", [16, 64, 256, 1024, 4096])
def test_connections_leave_files_to_work_with(files: int) -> None:
    limits = within(CONNECTIONS, files)
    assert 1 <= limits.most <= CONNECTIONS.most
    assert limits.most * 2 + limits.spare < files


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
@pytest.mark.parametrize(("soft", "hard", "told"), [(256, 4096, "800 50 1850"), (256, 512, "167 50 512")])
def test_the_limit_is_raised_as_far_as_the_system_lets_it(soft: int, hard: int, told: str) -> None:
    code = TOLD.format(soft=soft, hard=hard)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == told.split()
