"""The PostgreSQL server that tests start: it keeps what was recorded, and each database is its own."""

from __future__ import annotations

import pytest

from tests.components import imported
from tests.postgres import PostgresServer

psycopg = imported("psycopg", "cluster")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_it_keeps_what_was_committed_however_it_ended(postgres_server: PostgresServer, how: str) -> None:
    with postgres_server.database() as url:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("CREATE TABLE kept AS SELECT 7 AS n")
        getattr(postgres_server, how)()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        postgres_server.start()
        with psycopg.connect(url) as db:
            assert db.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_each_database_is_empty_and_its_own(postgres_server: PostgresServer) -> None:
    with postgres_server.database() as one, postgres_server.database() as other:
        with psycopg.connect(one, autocommit=True) as db:
            db.execute("CREATE TABLE t ()")
        with psycopg.connect(other) as db:
            assert db.execute("SELECT to_regclass('t')").fetchone() == (None,)
        assert one != other


def test_a_database_is_as_new_for_the_next_test(shared_postgres: PostgresServer) -> None:
    server = shared_postgres
    with server.database() as url:
        name = url.rpartition("/")[2]
        server.run("CREATE SCHEMA other", name)
        server.run("CREATE TABLE other.t (x int)", name)
        server.run("CREATE TABLE t (x int)", name)
        server.run(f"ALTER DATABASE {name} SET lock_timeout = '7s'")
        left = psycopg.connect(url)
    with server.database() as url:
        assert url.rpartition("/")[2] == name
        found = server.run("SELECT nspname::text FROM pg_namespace WHERE nspname IN ('other', 'public')", name)
        assert found == [("public",)]
        assert server.run("SELECT count(*) FROM pg_class WHERE relname = 't'", name) == [(0,)]
        assert server.run("SHOW lock_timeout", name) == [("0",)]
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    left.close()
