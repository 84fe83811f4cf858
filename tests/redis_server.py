"""A Redis server of our own, from Debian's `redis-server`: a free port, a temporary folder, stopped by its id."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components import absent
from tests.patience import PATIENCE_S


class RedisServer:
    """A server that can be killed and started again, with nothing kept unless it is set to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, str] = {"save": ""}
        """By their names in the server's own file; the next start has them."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        options += [word for name, value in self.settings.items() for word in (f"--{name}", value)]
        log = (self.folder / "redis.log").open("ab")
        with log:
            self.process = subprocess.Popen(["redis-server", *options], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None


def _server(folder: Path) -> Iterator[RedisServer]:
    missing = [] if shutil.which("redis-server") else ["redis-server (apt-get install redis-server)"]
    try:
        import redis  # noqa: F401
    except ImportError:
        missing.append("redis (pip install squad-orchestrator[redis])")
    if missing:
        absent(" and ".join(missing))
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests that leave it running."""
    yield from _server(tmp_path_factory.mktemp("redis"))


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One to be killed."""
    yield from _server(tmp_path)
