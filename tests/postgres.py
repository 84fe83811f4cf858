"""A PostgreSQL server of our own, from Debian's `postgresql`: on a free port, in a temporary folder, stopped by its id.

`postgres_server` is a running server, which a test may stop, kill and start; `postgres_url` a fresh database in it. One
server serves all tests of a process.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.components import Component, absent, installed
from tests.patience import PATIENCE_S

psycopg = Component("psycopg")

PASSWORD = "pg-canary-hunter2"
"""No error, log or view may show it: tests look for it there."""
NOBODY = "nobody"
"""PostgreSQL refuses to be run by root; Debian has this user for such cases."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
    "timezone": "UTC",
    # To drop a database may wait until its launcher wakes, which is a minute.
    "autovacuum": "off",
}
END_CONNECTIONS = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
EMPTY = """
    DO $$
    DECLARE found record;
    BEGIN
        FOR found IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', found.nspname);
        END LOOP;
        CREATE SCHEMA public;
        GRANT USAGE ON SCHEMA public TO PUBLIC;
    END $$"""
POLL_S = 0.02


class PostgresServer:
    """A server that can be stopped, killed and started again on the same port, with what it recorded.

    Without `fsync` a crash of the machine may lose what was recorded, one of the server does not: enough for a test.
    """

    def __init__(self, binaries: Path, *, fsync: bool = False) -> None:
        self._binaries = binaries
        self._settings = {**SETTINGS, "fsync": "on" if fsync else "off"}
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._empty = list[str]()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self._make()

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD, "ascii")
        if is_root():
            for path in (self.folder, password):
                shutil.chown(path, NOBODY)
        options = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
        options += ["--no-locale", "--data-checksums", "--no-sync", f"--pgdata={self.data}"]
        made = subprocess.run([self._binaries / "initdb", *options], capture_output=True, check=False, **self._user)
        assert made.returncode == 0, made.stderr.decode("utf-8", "replace")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server said so far."""
        return (self.folder / "log").read_text("utf-8", "replace")

    @property
    def _user(self) -> dict[str, Any]:
        """Who runs PostgreSQL, and where: it wants to be able to enter the folder that it is started in."""
        return {"cwd": self.folder} | ({"user": NOBODY, "extra_groups": ()} if is_root() else {})

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self, wait: bool = True) -> None:
        """Start it, if it does not run; `wait` until it answers."""
        if self.process is None:
            options = [f"--{name}={value}" for name, value in self._settings.items()]
            command = [self._binaries / "postgres", "-D", self.data, f"--port={self.port}", *options]
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, **self._user)
        deadline = time.monotonic() + PATIENCE_S
        while wait:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert self.process.poll() is None, f"postgres ended: {self.log}"
                assert time.monotonic() < deadline, "postgres did not start"
                time.sleep(POLL_S)
            else:
                return

    def stop(self) -> None:
        """End all connections and the server, in order. What was under way is undone."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server at once, as a crash does: the next start recovers what was committed."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_S)
            self.process = None

    def run(self, statement: str, database: str = "postgres", *given: Any) -> list[Any]:
        """Run one statement by itself, and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as db:
            done = db.execute(statement, given or None)
            return list(done.fetchall()) if done.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of an empty database; it is emptied afterwards, whoever is still connected to it.

        Another test gets it then: to make and drop one takes 0.1 s of a core, to empty one a tenth of that.
        """
        if self._empty:
            name = self._empty.pop()
        else:
            name = f"test_{uuid4().hex[:12]}"
            self.run(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.start()
            self.run(END_CONNECTIONS, "postgres", name)
            self.run(EMPTY, name)
            self.run(f"ALTER DATABASE {name} RESET ALL")
            self._empty.append(name)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs: the newest of Debian's, else that of `initdb` in the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    """The server of this process's tests; a test takes `postgres_server`."""
    installed("psycopg", "cluster")
    folder = binaries()
    if folder is None:
        absent("postgresql (apt-get install postgresql)")
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_server(shared_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A running server, which the test may stop, kill and start: it runs again for the next test."""
    shared_postgres.start()
    yield shared_postgres
    shared_postgres.start()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database."""
    with postgres_server.database() as url:
        yield url
