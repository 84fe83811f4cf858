"""What only a database does: opening it, its tables, transactions of the caller's, watching from elsewhere, texts."""

from __future__ import annotations

import builtins
import gc
import sys
import traceback
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event, TaskStarted
from orchestrator.journal.opening import open_journal
from orchestrator.journal.postgres.schema import MIGRATIONS
from orchestrator.journal.postgres.transaction import TransactionLost
from orchestrator.journal.protocols import Fenced, JournalDamaged, JournalMissing, JournalUnusable, RunManifest
from orchestrator.journal.spent import Spending, SpentRow
from orchestrator.units import Unit
from providers.events import AttemptEnded
from providers.messages import FinishReason, Usage
from tests.orchestrator.journal.postgres.units import A, Crowd, event, key, opened
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD, PostgresServer

pytestmark = pytest.mark.anyio
NASTY = "NUL \0, half a fox \ud83e, whole 🦊, \u202e and a quote ' \" \\"


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


# -- opening


async def test_a_journal_is_made_once_and_an_open_one_is_not_written_to(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with pytest.raises(JournalMissing, match="there is no journal in postgresql://postgres:"):
        async with open_journal(postgres_url, create=False):
            raise AssertionError("it was opened")
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(_open_and_close, postgres_url)
    found = postgres_server.run("SELECT number, release FROM orchestrator.migrations", database_of(postgres_url))
    assert [number for number, _ in found] == [*range(1, len(MIGRATIONS) + 1)]
    next_of_writers = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    before = postgres_server.run(next_of_writers)
    async with open_journal(postgres_url, create=False) as journal:
        assert await journal.runs() == []
    assert postgres_server.run(next_of_writers) == before, "nothing was written"


async def _open_and_close(url: str) -> None:
    async with opened(url):
        pass


async def test_a_reader_needs_no_leave_to_write(postgres_server: PostgresServer, postgres_url: str) -> None:
    name = database_of(postgres_url)
    async with opened(postgres_url) as journal:
        await journal.append("r", [event(1)])
        postgres_server.run("CREATE ROLE looker LOGIN PASSWORD 'looks'", name)
        postgres_server.run("GRANT USAGE ON SCHEMA orchestrator TO looker", name)
        postgres_server.run("GRANT SELECT ON ALL TABLES IN SCHEMA orchestrator TO looker", name)
        url = postgres_url.replace(f"postgres:{PASSWORD}@", "looker:looks@")
        async with opened(url) as reader:
            assert await reader.events("r") == [event(1)]
            with pytest.raises(JournalUnusable, match="permission denied"):
                await reader.append("r", [event(2)])
    postgres_server.run("DROP OWNED BY looker", name)
    postgres_server.run("DROP ROLE looker", name)


@pytest.mark.parametrize(("works_with", "is_refused"), [(1, False), (99, True)])
async def test_a_journal_of_a_later_release_is_used_where_that_allows_it(
    postgres_server: PostgresServer, postgres_url: str, works_with: int, is_refused: bool
) -> None:
    await _open_and_close(postgres_url)
    later = "INSERT INTO orchestrator.migrations (number, works_with, release) VALUES (99, %s, '9.9')"
    postgres_server.run(later, database_of(postgres_url), works_with)
    if is_refused:
        with pytest.raises(JournalUnusable, match="written by a later release"):
            await _open_and_close(postgres_url)
    else:
        await _open_and_close(postgres_url)


WRONG = [
    ("password", lambda url: url.replace(PASSWORD, f"wrong-{PASSWORD}"), "password authentication failed"),
    ("port", lambda url: _at_port(url, 1), "refused"),
    ("database", lambda url: url.replace("/test_", "/none_"), "does not exist"),
    ("escape", lambda url: url.replace(PASSWORD, f"{PASSWORD}%zz"), "not a URL of PostgreSQL"),
    ("slash", lambda url: url.replace(PASSWORD, f"pg/{PASSWORD}"), "cannot be used"),
]


def _at_port(url: str, port: int) -> str:
    head, _, tail = url.rpartition(":")
    return f"{head}:{port}/{tail.partition('/')[2]}"


@pytest.mark.parametrize(("made", "why"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_what_keeps_a_journal_from_being_opened_is_said_at_once_and_never_the_password(
    postgres_url: str, made: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(PATIENCE_S), pytest.raises(JournalUnusable, match=why) as failed:
        await _open_and_close(made(postgres_url))
    error = failed.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + getattr(error, "hint", "") + caplog.text
    assert PASSWORD not in shown
    assert "postgresql://" in str(error)


async def test_no_object_of_an_open_journal_shows_the_password(postgres_url: str) -> None:
    async with opened(postgres_url) as journal:
        await journal.append("r", [event(1)])
        ours = [one for one in gc.get_objects() if str(type(one).__module__).startswith("orchestrator.journal")]
        assert any(one is journal for one in ours)
        for one in ours:
            assert PASSWORD not in repr(one)


async def test_without_its_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name == "psycopg":
            raise ImportError(name)
        return real(name, *args)

    for name in [name for name in sys.modules if name.startswith("orchestrator.journal.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(JournalUnusable, match=r'pip install "squad-orchestrator\[cluster\]"') as failed:
        await _open_and_close("postgresql://me:canary@h/d")
    assert "canary" not in str(failed.value)


# -- what is kept


async def test_any_text_is_kept_as_it_is(postgres_url: str) -> None:
    unit = Unit("task", NASTY * 200)
    manifest = RunManifest(NASTY, text=NASTY * 99, inputs={NASTY: [NASTY]})
    said = Event("r", unit, ("try-1", NASTY.replace("/", "")), 1, 1, 1.5, TaskStarted(NASTY, 1, NASTY * 300))
    async with opened(postgres_url) as journal:
        await journal.create("r", manifest, [said])
        fence = await journal.claim("r", unit, NASTY)
        assert fence == 1
        await journal.begin("r", unit, key(NASTY), b"\0\xff", fence)
        await journal.finish("r", unit, key(NASTY), fence, {NASTY: NASTY * 500})
        assert await journal.signal("r", NASTY, NASTY, NASTY * 2000) == NASTY
        assert await journal.signal("r", "other", "later", NASTY * 2000) == NASTY
    async with opened(postgres_url) as journal:
        assert (await journal.manifest("r")).inputs == {NASTY: [NASTY]}
        assert [line.squad for line in await journal.runs(squad=NASTY)] == [NASTY]
        assert await journal.events("r") == [said]
        assert await journal.events_of_unit("r", unit) == [said]
        (step,) = await journal.steps("r")
        assert (step.unit, step.key, step.request_hash) == (unit, key(NASTY), b"\0\xff")
        assert step.result == {NASTY: NASTY * 500}
        assert await journal.signals("r") == [(NASTY, NASTY)]


@pytest.mark.parametrize("run", ["", "a/b", "nul\0", "half \ud83e", "x" * 201])
async def test_what_is_no_id_is_refused_and_found_nowhere(postgres_url: str, run: str) -> None:
    async with opened(postgres_url) as journal:
        for call in (journal.create(run, RunManifest("one")), journal.append(run, [event(1)])):
            with pytest.raises(JournalUnusable, match="not the id of a run"):
                await call
        assert await journal.events(run) == []
        assert not await journal.is_driven(run)
        assert not await journal.cancel_requested(run)


async def test_a_very_large_text_is_kept_once_for_all_runs(postgres_server: PostgresServer, postgres_url: str) -> None:
    large = "".join(chr(0x4E00 + n % 20000) for n in range(3_000_000))
    async with opened(postgres_url) as journal:
        for run in ("r", "s"):
            await journal.create(run, RunManifest("one", text=large))
        assert (await journal.manifest("s")).text == large
        count = "SELECT count(*) FROM orchestrator.bodies"
        kept = postgres_server.run(count, database_of(postgres_url))
        await journal.remove("r")
        assert await journal.reclaim()
        assert postgres_server.run(count, database_of(postgres_url)) == kept
        assert (await journal.manifest("s")).text == large
        await journal.remove("s")
        assert await journal.reclaim()
        assert postgres_server.run(count, database_of(postgres_url)) == [(0,)]
        await journal.create("s", RunManifest("one", text=large))
        assert (await journal.manifest("s")).text == large, "a text that was removed is written again"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE orchestrator.bodies SET body = substr(body, 1, length(body) - 1)",
        "UPDATE orchestrator.bodies SET body = (SELECT body FROM orchestrator.bodies LIMIT 1)",
        "UPDATE orchestrator.events SET data = 'xx'",
        'UPDATE orchestrator.events SET data = \'{"$":"NoSuchClass"}\'',
        "DELETE FROM orchestrator.events WHERE seq = 1",
        "DELETE FROM orchestrator.events WHERE seq = 2",
    ],
)
async def test_what_is_not_what_was_written_is_never_guessed(
    postgres_server: PostgresServer, postgres_url: str, damage: str
) -> None:
    async with opened(postgres_url) as journal:
        await journal.append("r", [Event("r", A, (), 0, n, 0.0, TaskStarted("a", n, f"{n}" * 999)) for n in (1, 2)])
        postgres_server.run(damage, database_of(postgres_url))
        with pytest.raises(JournalDamaged):
            await journal.events("r")


async def test_what_a_lost_attempt_took_is_put_to_who_had_the_turn(postgres_url: str) -> None:
    usage = Usage(10, output=5)
    lost = AttemptEnded(1, "p", "m", "failed", "Timeout", None, 1.0, usage=usage, cost=2)
    long = "ann" * 300
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        await one.append("r", [Event("r", A, ("try-1",), 0, 1, 1.0, TurnStarted(long, 1))])
        await other.append("r", [Event("r", A, ("try-1",), 0, 2, 2.0, lost)])
        await one.append("r", [Event("r", A, ("try-2",), 0, 1, 3.0, lost)])
        found = [SpentRow((long,), Spending(0, 1, 10, 5, 0, 0, 2)), SpentRow(("",), Spending(0, 1, 10, 5, 0, 0, 2))]
        assert sorted(await one.spent(["agent"])) == sorted(found)
        absurd = Usage(10**30, output=5)
        turn = TurnEnded("bob", 1, "p", "m", absurd, 10**25, FinishReason.STOP)
        await one.append("r", [Event("r", A, ("try-2",), 0, 2 + n, 4.0, turn) for n in range(3)])
        ((_, spent),) = [row for row in await one.spent(["agent"]) if row.names == ("bob",)]
        assert (spent.turns, spent.cost) == (3, 3 << 48)


# -- several processes


async def test_watchers_in_another_process_are_woken(postgres_url: str) -> None:
    seen: list[Any] = []
    listening = anyio.Event()
    async with opened(postgres_url) as one, opened(postgres_url) as other:

        async def watch_events() -> None:
            async with aclosing(other.watch("r")) as events:
                async for seq, _ in events:
                    seen.append(seq)
                    if seq == 1:
                        listening.set()

        async def watch_signals() -> None:
            async with aclosing(other.watch_signals("r")) as signals:
                async for signal in signals:
                    seen.append(signal)
                    return

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                await one.append("r", [event(1)])
                tasks.start_soon(watch_events)
                await listening.wait()
                async with anyio.create_task_group() as signalled:
                    signalled.start_soon(watch_signals)
                    await one.append("r", [event(number) for number in range(2, 30)])
                    await one.signal("r", "gate", "yes", "k")
                tasks.cancel_scope.cancel()
    assert [one for one in seen if isinstance(one, tuple)] == [("gate", "yes")]


async def test_two_processes_write_one_run_without_gap_or_deadlock(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        crowds = [Crowd(one, "a", units=20, steps=5, runs=3), Crowd(other, "b", units=20, steps=5, runs=3)]
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                for crowd in crowds:
                    crowd.start(tasks)
        for crowd in crowds:
            await crowd.check(other)


async def test_a_run_that_another_process_made_anew_is_written_to(postgres_url: str) -> None:
    """What a process remembers of a run does not outlive it."""
    large = "x" * 5000
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        for _ in range(3):
            said = [Event("r", A, ("try-1",), 0, 1, 0.0, TaskStarted("a", 1, large))]
            await one.append("r", said)
            assert await one.events("r") == said
            assert await other.remove("r")
            assert await other.reclaim()


# -- transactions


async def test_a_transaction_is_recorded_whole_with_the_callers_own_rows(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    name = database_of(postgres_url)
    postgres_server.run("CREATE TABLE jobs (unit text)", name)
    async with opened(postgres_url) as journal:
        async with journal.transaction() as made:
            await made.create("r", RunManifest("one", text="x" * 999), [event(1)])
            assert await made.claim("r", A, "me") == 1
            await made.record("r", A, 1, [event(2)])
            await made.connection.execute("INSERT INTO jobs VALUES ('a')")

        async def fail() -> None:
            async with journal.transaction() as made:
                await made.append("r", [event(3)])
                await made.create("s", RunManifest("two"))
                await made.connection.execute("INSERT INTO jobs VALUES ('b')")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with journal.transaction() as made:
            with pytest.raises(Fenced):
                await made.record("r", A, 7, [event(4)])
            await made.append("r", [event(5)])
        assert [one.seq for one in await journal.events("r")] == [1, 2, 5]
        assert [line.run for line in await journal.runs()] == ["r"]
        assert postgres_server.run("SELECT unit FROM jobs", name) == [("a",)]


async def test_a_statement_that_fails_undoes_its_transaction_and_says_why(postgres_url: str) -> None:
    async with opened(postgres_url) as journal:

        async def fail() -> None:
            async with journal.transaction() as made:
                await made.append("r", [event(1)])
                await made.connection.execute("INSERT INTO no_such_table VALUES (1)")

        with pytest.raises(JournalUnusable, match="no_such_table"):
            await fail()
        assert await journal.events("r") == []
        async with journal.transaction() as made:
            await made.append("r", [event(1)])
        assert len(await journal.events("r")) == 1


async def test_one_call_that_the_database_refuses_leaves_the_others_alone(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """They were of one transaction."""
    async with opened(postgres_url) as journal:
        await journal.append("r", [event(1)])
        check = "ALTER TABLE orchestrator.events ADD CHECK (at < 1000)"
        postgres_server.run(check, database_of(postgres_url))
        failed: list[int] = []

        async def record(number: int) -> None:
            try:
                await journal.append("r", [event(number)])
            except JournalUnusable:
                failed.append(number)

        async with anyio.create_task_group() as tasks:
            for number in (2, 3, 5000, 4):
                tasks.start_soon(record, number)
        assert failed == [5000]
        assert [one.seq for one in await journal.events("r")] == [1, 2, 3, 4]


async def test_whether_a_run_was_recorded_here_is_known(postgres_server: PostgresServer, postgres_url: str) -> None:
    async with opened(postgres_url) as journal:
        await journal.create("r", RunManifest("one"))
        here = await journal.manifest("r")
        assert journal.is_at_home(here)
        assert not journal.is_at_home(RunManifest("one"))
        with postgres_server.database() as elsewhere:
            async with opened(elsewhere) as other:
                assert not other.is_at_home(here)


async def test_a_process_that_stands_still_in_a_transaction_holds_up_others_for_a_while_only(postgres_url: str) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as other:
        await one.append("r", [event(1)])

        async def stand_still() -> None:
            async with one.transaction() as made:
                await made.append("r", [event(2)])
                await other.append("r", [event(3)])

        with anyio.fail_after(PATIENCE_S), pytest.raises(TransactionLost):
            await stand_still()
        assert [found.seq for found in await other.events("r")] == [1, 3]
        await one.append("r", [event(2)])
