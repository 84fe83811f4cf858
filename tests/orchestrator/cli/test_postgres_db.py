"""`--db postgresql://...`: every command about runs reads it as it reads a file, and shows no password."""

from __future__ import annotations

import json

import anyio
import pytest

from orchestrator import Squad
from orchestrator.journal.opening import open_journal
from orchestrator.runtime import open_run
from tests.postgres import PASSWORD, PostgresServer


@pytest.fixture
def at(call, postgres_url):
    """Call a command at the database; no password is shown, whatever comes of it."""

    def ask(*words):
        done = call(*words, "--db", postgres_url)
        assert PASSWORD not in done.out + done.err
        assert "Traceback" not in done.err
        return done

    return ask


async def record(url, run):
    async with (
        open_journal(url) as journal,
        open_run(Squad.from_file("squad.yaml"), run_id=run, journal=journal, offline=True) as opened,
    ):
        async for _ in opened:
            pass
        return opened.result


def test_the_commands_about_runs_read_a_database(at, postgres_url, folder):
    missing = at("runs", "ls")
    assert missing.code == 5
    assert "there is no journal in postgresql://" in missing.err
    assert anyio.run(record, postgres_url, "r-1").status == "done"
    (line,) = json.loads(at("runs", "ls", "--json").out)
    assert (line["run"], line["squad"], line["status"]) == ("r-1", "pair", "done")
    assert "research" in at("runs", "show", "r-1").out
    assert "brief: ok" in at("runs", "watch", "r-1").out
    assert at("spending").code == 0
    assert at("explain", "r-1", "research").code == 0
    assert "--db" in at("explain", "r-1").err, "the hint leads to the same database"
    assert "r-1: equal" in at("runs", "replay", "r-1").out
    assert at("runs", "export", "r-1").code == 0
    assert at("runs", "show", "nope").code == 5
    removed = at("runs", "rm", "r-1", "--yes")
    assert removed.code == 0
    assert "1 run removed; postgresql://" in removed.err + removed.out
    assert json.loads(at("runs", "ls", "--json").out) == []


def test_a_database_that_cannot_be_reached_is_told_in_a_line(call, postgres_server: PostgresServer, postgres_url):
    for url in (postgres_url.replace(PASSWORD, f"wrong{PASSWORD}"), postgres_url.replace("/test_", "/none_")):
        failed = call("runs", "ls", "--db", url)
        assert failed.code == 2
        assert PASSWORD not in failed.err
        assert failed.err.startswith("error: the journal postgresql://")
        assert "hint: is the server running" in failed.err
    bad = call("runs", "ls", "--db", "postgresql:x")
    assert bad.code == 2
