"""A dispatcher on one table of PostgreSQL, which is polled: what docs/guides/dispatchers.md explains, and tests run."""

from __future__ import annotations

import os
import uuid

import anyio
import psycopg

from orchestrator.dispatch.cluster.job import arguments_of, job_of, lock_of, queueing_lock_of, run_argument
from orchestrator.dispatch.cluster.settings import EXIT_FENCED

TABLES = """
    CREATE TABLE IF NOT EXISTS tiny_jobs (
        id bigserial PRIMARY KEY, job jsonb NOT NULL, queue text NOT NULL, lock text NOT NULL, key text NOT NULL,
        priority int NOT NULL, due timestamptz NOT NULL, failures int NOT NULL DEFAULT 0,
        owner text, alive timestamptz, cancelled boolean NOT NULL DEFAULT false);
    CREATE UNIQUE INDEX IF NOT EXISTS tiny_waiting ON tiny_jobs (key) WHERE owner IS NULL;
    CREATE UNIQUE INDEX IF NOT EXISTS tiny_running ON tiny_jobs (lock) WHERE owner IS NOT NULL;
    CREATE TABLE IF NOT EXISTS tiny_sweep (id int PRIMARY KEY, at timestamptz NOT NULL);
    INSERT INTO tiny_sweep VALUES (1, now()) ON CONFLICT DO NOTHING"""
SUBMIT = """INSERT INTO tiny_jobs (job, queue, lock, key, priority, due)
    VALUES (%s, %s, %s, %s, %s, coalesce(%s, now())) ON CONFLICT DO NOTHING"""
# The indexes decide what two workers want at once: the loser's statement fails, or finds no row.
TAKE = """UPDATE tiny_jobs SET owner = %s, alive = now() WHERE id = (
        SELECT id FROM tiny_jobs AS waiting WHERE queue = %s AND owner IS NULL AND due <= now()
            AND NOT EXISTS (SELECT FROM tiny_jobs WHERE lock = waiting.lock AND owner IS NOT NULL)
        ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, job, failures"""
END = "DELETE FROM tiny_jobs WHERE id = %s AND owner = %s"
AGAIN = """UPDATE tiny_jobs SET owner = NULL, failures = failures + 1, due = now() + make_interval(secs => %s)
    WHERE id = %s AND owner = %s AND NOT cancelled
        AND NOT EXISTS (SELECT FROM tiny_jobs AS other WHERE other.key = tiny_jobs.key AND other.owner IS NULL)"""
BEAT = "UPDATE tiny_jobs SET alive = now() WHERE owner = %s RETURNING id, cancelled"
# Of other workers: a job that was given back has no owner, and this worker may take it at any moment.
DEAD = "SELECT id, owner FROM tiny_jobs WHERE owner <> %s AND alive < now() - make_interval(secs => %s)"
SWEEP = "UPDATE tiny_sweep SET at = now() WHERE at <= now() - make_interval(secs => %s) RETURNING id"
LIVE = "SELECT job FROM tiny_jobs WHERE job->>'run' = %s AND NOT cancelled"
CANCEL = """WITH removed AS (DELETE FROM tiny_jobs WHERE job->>'run' = %(run)s AND owner IS NULL RETURNING id),
    told AS (UPDATE tiny_jobs SET cancelled = true WHERE job->>'run' = %(run)s AND owner IS NOT NULL RETURNING id)
    SELECT count(*) FROM (SELECT FROM removed UNION ALL SELECT FROM told) AS gone"""


class TinyQueue:
    """A `JobDispatcher`: one connection, a poll every `times.poll_s`, and each job's heartbeat in its own row."""

    def __init__(self, url):
        self._url, self._owner, self._scopes = url, uuid.uuid4().hex, {}

    async def __aenter__(self):
        self._db = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        return self

    async def __aexit__(self, *error):
        await self._db.close()

    async def _run(self, statement, *given):
        done = await self._db.execute(statement, *given)
        return await done.fetchall() if done.description else []

    async def prepare(self):
        async with self._db.transaction():
            await self._run("SELECT pg_advisory_xact_lock(4711)")
            await self._run(TABLES)

    async def submit(self, jobs, *, connection=None, priority=0, at=None):
        for job in jobs:
            arguments = psycopg.types.json.Jsonb(arguments_of(job))
            row = (arguments, job.queue, lock_of(job), queueing_lock_of(job), priority, at)
            await (connection or self._db).execute(SUBMIT, row)

    async def cancel(self, run):
        ((count,),) = await self._run(CANCEL, {"run": run_argument(run)})
        return count

    async def live(self, run):
        return {job_of(job) for (job,) in await self._run(LIVE, [run_argument(run)])}

    async def serve(self, handlers, slots, *, stop, times, sweep=None, fatal=(), exit=os._exit):
        async with anyio.create_task_group() as aside, anyio.create_task_group() as running:
            aside.start_soon(self._keep, times, sweep)
            polls = anyio.CancelScope()
            running.start_soon(self._poll, polls, running, handlers, slots, times, tuple(fatal), exit)
            await stop.wait()
            polls.cancel()
            with anyio.move_on_after(times.grace_s):
                while self._scopes:
                    await anyio.sleep(times.poll_s)
            for scope in self._scopes.values():
                scope.cancel()
            while self._scopes:
                await anyio.sleep(times.poll_s)
            aside.cancel_scope.cancel()

    async def _poll(self, polls, running, handlers, slots, times, fatal, exit):
        busy = dict.fromkeys(slots, 0)
        with polls:
            while True:
                for queue, most in slots.items():
                    while busy[queue] < most and (taken := await self._take(queue)):
                        busy[queue] += 1
                        running.start_soon(self._handle, handlers[queue], busy, queue, taken, fatal, exit)
                await anyio.sleep(times.poll_s)

    async def _take(self, queue):
        with anyio.CancelScope(shield=True):  # a job that was taken is run
            try:
                rows = await self._run(TAKE, [self._owner, queue])
            except psycopg.errors.UniqueViolation:  # another worker took the unit's other job
                return None
        if rows:
            self._scopes[rows[0][0]] = anyio.CancelScope()
        return rows[0] if rows else None

    async def _handle(self, handler, busy, queue, taken, fatal, exit):
        number, arguments, failures = taken
        delay_s, scope = None, self._scopes[number]
        try:
            with scope:
                await handler(job_of(arguments))
            if scope.cancelled_caught:
                delay_s = 0.0  # the worker stops; or the run was cancelled, which AGAIN looks at
        except fatal:
            exit(EXIT_FENCED)
        except Exception:
            delay_s = min(2.0**failures, 60.0)
        finally:
            with anyio.CancelScope(shield=True):
                if delay_s is None or not await self._again(number, delay_s, self._owner):
                    await self._run(END, [number, self._owner])
            del self._scopes[number]
            busy[queue] -= 1

    async def _again(self, number, delay_s, owner):
        return bool((await self._db.execute(AGAIN, [delay_s, number, owner])).rowcount)

    async def _keep(self, times, sweep):
        """Show that this worker lives, cancel what is to be, free what dead workers had, and look for lost work."""
        while True:
            mine = dict(await self._run(BEAT, [self._owner]))
            for number, scope in list(self._scopes.items()):
                if mine.get(number, True):  # cancelled, or another's by now: what it says no longer counts
                    scope.cancel()
            for number, owner in await self._run(DEAD, [self._owner, times.timeout_s]):
                if not await self._again(number, 0.0, owner):
                    await self._run(END, [number, owner])
            if sweep and await self._run(SWEEP, [times.sweep_s]):
                await sweep()
            await anyio.sleep(min(times.heartbeat_s, times.poll_s))
