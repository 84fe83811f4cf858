"""PgBouncer before the database: by session a cluster works through it, else it is told before anything is made."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestrator.cluster.opening import open_cluster
from orchestrator.dispatch.cluster.job import Job
from orchestrator.journal.protocols import JournalUnusable, RunManifest
from orchestrator.units import Unit
from tests.components import absent
from tests.patience import PATIENCE_S
from tests.postgres import NOBODY, PASSWORD, PostgresServer, is_root

pytestmark = pytest.mark.anyio


@pytest.fixture
def pooled(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Return a function that starts a pooler of this mode before the database, and returns the URL through it."""
    program, folder, url = shutil.which("pgbouncer"), tmp_path_factory.mktemp("pooler"), urlsplit(postgres_url)
    if program is None:
        absent("pgbouncer (apt-get install pgbouncer)")
    (folder / "users").write_text(f'"postgres" "{PASSWORD}"\n')
    started = list[subprocess.Popen[bytes]]()

    def start(mode: str, **more: object) -> str:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        own = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "pool_mode": mode}
        settings = {**own, "auth_type": "trust", "auth_file": folder / "users", **more}
        lines = [f"{name} = {value}" for name, value in settings.items()]
        before = f"* = host=127.0.0.1 port={url.port}"
        (folder / "ini").write_text("\n".join(["[databases]", before, "[pgbouncer]", *lines, ""]))
        # It refuses to be run by root, and can give its rights up itself.
        user = ["-u", NOBODY] if is_root() else []
        _let_read(folder)
        command = [program, "-q", *user, str(folder / "ini")]
        with (folder / "log").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        deadline = time.monotonic() + PATIENCE_S
        while not _answers(port):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
        return f"postgresql://postgres@127.0.0.1:{port}{url.path}"

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE_S)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _let_read(folder: Path) -> None:
    for path in (folder.parent, folder, *folder.iterdir()):
        path.chmod(0o755)


@pytest.mark.parametrize("more", [{}, {"default_pool_size": 1}, {"server_round_robin": 1}])
async def test_a_pooler_that_shares_sessions_is_told_and_nothing_is_made(
    pooled: Callable[..., str], postgres_server: PostgresServer, postgres_url: str, more: dict[str, object]
) -> None:
    with pytest.raises(JournalUnusable, match="pool_mode=session"):
        async with open_cluster(pooled("transaction", **more)):
            pass
    found = "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^orchestrator'"
    assert postgres_server.run(found, urlsplit(postgres_url).path[1:]) == [(0,)]


async def test_a_cluster_works_through_a_pooler_of_sessions(pooled: Callable[..., str]) -> None:
    jobs = [Job("r"), Job("r", Unit("t"))]
    async with open_cluster(pooled("session")) as cluster:
        await cluster.record_new("r", RunManifest("s"), ())
        await cluster.queue.submit(jobs)
        assert await cluster.live("r") == set(jobs)
        assert [line.run for line in await cluster.journal.runs()] == ["r"]
