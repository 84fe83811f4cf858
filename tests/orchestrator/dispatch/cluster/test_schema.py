"""The queue's tables: made once, brought up to date in order, and not where another program's are."""

from __future__ import annotations

import anyio
import psycopg
import pytest
from procrastinate.schema import SchemaManager

from orchestrator.dispatch.cluster.connections import JobQueueUnusable
from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.queue import JobQueue
from orchestrator.dispatch.cluster.schema import OWN, shipped_migrations
from tests.orchestrator.dispatch.cluster.conftest import logger
from tests.postgres import PostgresServer

pytestmark = pytest.mark.anyio
TABLES = "orchestrator_queue"


def recorded(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            f"SELECT name, applied_at::text FROM {TABLES}.orchestrator_migrations ORDER BY applied_at, name"
        ).fetchall()


async def prepare(url: str) -> None:
    async with JobQueue(url, log=logger()) as jobs:
        await jobs.prepare()


async def test_many_that_begin_at_once_make_the_tables_once(postgres_url: str) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(prepare, postgres_url)
    before = recorded(postgres_url)
    assert {name for name, _ in before} == {*shipped_migrations(), *OWN}
    await prepare(postgres_url)
    assert recorded(postgres_url) == before
    with psycopg.connect(postgres_url) as connection:
        public = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert public == (0,), "the user's own schema is left alone"


def shape(url: str) -> list[tuple[str, ...]]:
    """Return what the tables, functions, indexes and triggers are."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT 'column', table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = %(s)s"
            " UNION ALL SELECT 'function', proname, md5(prosrc), '' FROM pg_proc"
            " WHERE pronamespace = %(s)s::regnamespace"
            " UNION ALL SELECT 'index', tablename, indexname, '' FROM pg_indexes WHERE schemaname = %(s)s"
            " UNION ALL SELECT 'trigger', event_object_table, trigger_name, event_manipulation"
            " FROM information_schema.triggers WHERE trigger_schema = %(s)s ORDER BY 1, 2, 3, 4",
            {"s": TABLES},
        ).fetchall()


async def test_what_a_later_release_brings_is_applied_in_order(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    """The database was made by Procrastinate 3.3: what came since makes the same of it as a fresh one."""
    old = [name for name in shipped_migrations() if name < "03.04"]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {TABLES}")
        connection.execute(f"SET search_path = {TABLES}")
        connection.execute(
            "CREATE TABLE orchestrator_migrations (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        for name in old:
            connection.execute(shipped_migrations()[name].read_text("utf-8").encode())
            connection.execute("INSERT INTO orchestrator_migrations (name) VALUES (%s)", [name])
    await prepare(postgres_url)
    new = [name for name, _ in recorded(postgres_url) if name not in {*old, *OWN}]
    assert new == [name for name in shipped_migrations() if name >= "03.04"]
    async with JobQueue(postgres_url, log=logger()) as jobs:
        await jobs.submit([Job("r")])
        assert await jobs.live("r") == {Job("r")}
    with postgres_server.database() as fresh:
        await prepare(fresh)
        assert set(shape(fresh)) <= set(shape(postgres_url))


async def test_tables_of_another_program_are_left_alone(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {TABLES}")
        connection.execute(f"SET search_path = {TABLES}")
        connection.execute(SchemaManager.get_schema().encode())
    with pytest.raises(JobQueueUnusable, match="another program"):
        await prepare(postgres_url)


async def test_procrastinate_in_the_public_schema_is_another_queue(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(SchemaManager.get_schema().encode())
    await prepare(postgres_url)
    async with JobQueue(postgres_url, log=logger()) as jobs:
        await jobs.submit([Job("r")])
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute("SELECT count(*) FROM public.procrastinate_jobs").fetchone() == (0,)
        assert await jobs.live("r") == {Job("r")}


async def test_a_user_who_may_not_make_tables_is_told_so(postgres_url: str, postgres_server: PostgresServer) -> None:
    postgres_server.run("DROP ROLE IF EXISTS reader")
    postgres_server.run("CREATE ROLE reader LOGIN PASSWORD 'reader-hunter2'")
    url = postgres_url.replace("postgres:pg-canary-hunter2@", "reader:reader-hunter2@")
    with pytest.raises(JobQueueUnusable, match="permission denied") as raised:
        await prepare(url)
    assert "hunter2" not in str(raised.value)


async def test_a_user_who_may_only_read_is_told_what_is_missing_before_a_job_is_taken(
    postgres_url: str,
) -> None:
    await prepare(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-hunter2'")
    url = postgres_url.replace("postgres:pg-canary-hunter2@", "reader:reader-hunter2@")
    async with JobQueue(url, log=logger()) as jobs:
        with pytest.raises(JobQueueUnusable, match="cannot be used"):
            await jobs.status()
        granted = "GRANT USAGE ON SCHEMA {0} TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO reader"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(granted.format(TABLES).encode())
        assert (await jobs.status()).workers == ()
        with pytest.raises(JobQueueUnusable, match=f"may not write to {TABLES}.orchestrator_upkeep and 9 more"):
            await jobs.check_rights()
        granted = "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {0} TO reader;"
        granted += "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {0} TO reader"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(granted.format(TABLES).encode())
        await jobs.check_rights()
