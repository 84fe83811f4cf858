"""Fixtures that every test may use, and how hypothesis explores."""

from __future__ import annotations

import gc
import itertools
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.event_loops import event_loop
from tests.llama import llama as llama
from tests.local_servers import serve as serve
from tests.loopback import loopback as loopback
from tests.postgres import postgres_server as postgres_server
from tests.postgres import postgres_url as postgres_url
from tests.postgres import shared_postgres as shared_postgres
from tests.redis_server import redis_server as redis_server
from tests.redis_server import shared_redis as shared_redis

# A developer's own model server must change no test: those of the search say where to look.
os.environ["ORCHESTRATOR_LOCAL_SERVERS"] = "off"
# Nor does what a developer has allowed: nothing is, unless a test allows it.
os.environ["ORCHESTRATOR_TRUST_FILE"] = f"{os.devnull}/trust.json"

# Where no bytecode is kept, each process compiles the whole project anew, and rewrites every assert of the tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# The same few examples each time, on any machine; `--hypothesis-profile=explore` looks for new ones. A busy machine is
# slow: no example is timed.
settings.register_profile(
    "default",
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore",
    settings.get_profile("default"),
    max_examples=60,
    derandomize=False,
    print_blob=True,
)
settings.register_profile("explore-a-little", settings.get_profile("explore"), max_examples=25)
settings.load_profile("default")


def pytest_configure() -> None:
    """Let tests interrupt the commands that they start, also where a shell started these tests in the background.

    Such a shell has Ctrl-C ignored, and what is ignored stays so in every process below.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Collect no garbage while tests are collected: there is none, and looking for it takes a tenth of that time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what collecting tests has made: all of it stays until the end."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return two more than there are cores: a test that waits for a socket or a process leaves its worker idle."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that hypothesis drives, so that they can be asked for: `-m property`. Of a test of which a plain
    run has a `few` cases, all others are `long`. So is trio: a plain run meets it in the exam of the providers."""
    seen: Counter[str] = Counter()
    for item in items:
        given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if given.get("anyio_backend") == "trio" and "exam" not in item.path.parts:
            item.add_marker(pytest.mark.long)
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)
        few = item.get_closest_marker("few")
        if few is not None and item.get_closest_marker("long") is None:
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if seen[test] > few.args[0]:
                item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def folder_numbers() -> Iterator[int]:
    """The numbers of this process's folders."""
    return itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, folder_numbers: Any) -> Path:
    """A folder of the test's own. Pytest's own fixture looks through those of all tests before it for a free name."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}{next(folder_numbers)}", numbered=False)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str | tuple[str, dict[str, Any]]:
    """Async tests run on both event loops; those marked `virtual_time` on trio's clock, which jumps over sleeps."""
    return event_loop(str(request.param))
