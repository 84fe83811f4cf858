"""The tables of the PostgreSQL journal, and how those of an earlier release become those of this one.

Texts that people write stand in `bytea`, as UTF-8 with lone surrogates: `text` holds neither these nor NUL. Places and
steps are known by a digest of their text, so that a writer asks for no ids. A `body` is compressed, and named by its
SHA-256; `uses` says which runs refer to it. `MIGRATIONS[n]` leads from version n to n + 1; none is ever changed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege

from orchestrator._version import __version__
from orchestrator.journal.protocols import JournalMissing, JournalUnusable

SCHEMA = "orchestrator"
MIGRATION_LOCK = 0x73717564
"""`squd`: the number of the advisory lock under which tables are changed."""


class Migration(NamedTuple):
    """`works_with`: releases that know the schema of this number, or a later one, may use the tables as they are after
    it. So a cluster is upgraded worker by worker."""

    works_with: int
    statements: str


MIGRATIONS = (
    Migration(
        1,
        """
        CREATE TABLE orchestrator.journal (mark uuid NOT NULL DEFAULT gen_random_uuid());
        INSERT INTO orchestrator.journal DEFAULT VALUES;
        CREATE TABLE orchestrator.runs (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            run text COLLATE "C" NOT NULL UNIQUE,
            squad bytea NOT NULL,
            created_at double precision NOT NULL,
            status text NOT NULL,
            cost bigint,
            last_seq bigint NOT NULL DEFAULT 0,
            edits integer NOT NULL DEFAULT 0,
            asked boolean NOT NULL DEFAULT false,
            cancelled boolean NOT NULL DEFAULT false
        ) WITH (fillfactor = 50);
        CREATE INDEX runs_by_status ON orchestrator.runs (status, id);
        CREATE INDEX runs_that_asked ON orchestrator.runs (id) WHERE asked;
        CREATE TABLE orchestrator.manifests (
            run bigint NOT NULL, number integer NOT NULL, data bytea NOT NULL, PRIMARY KEY (run, number)
        );
        CREATE TABLE orchestrator.places (
            run bigint NOT NULL, place bytea NOT NULL, unit bytea NOT NULL, path bytea NOT NULL,
            PRIMARY KEY (run, place)
        );
        CREATE INDEX places_of_units ON orchestrator.places (run, unit);
        CREATE TABLE orchestrator.events (
            run bigint NOT NULL, seq bigint NOT NULL,
            place bytea NOT NULL, turn integer NOT NULL, number integer NOT NULL,
            at double precision NOT NULL, kind text COLLATE "C" NOT NULL, data bytea NOT NULL,
            PRIMARY KEY (run, seq)
        );
        CREATE UNIQUE INDEX event_ids ON orchestrator.events (run, place, turn, number);
        CREATE INDEX events_in_time ON orchestrator.events USING brin (at);
        CREATE TABLE orchestrator.units (
            run bigint NOT NULL, unit bytea NOT NULL, path bytea NOT NULL,
            fence bigint NOT NULL, ended boolean NOT NULL, owner bytea NOT NULL, claimed_at timestamptz,
            PRIMARY KEY (run, unit)
        ) WITH (fillfactor = 70);
        CREATE TABLE orchestrator.steps (
            run bigint NOT NULL, step bytea NOT NULL, unit bytea NOT NULL, name bytea NOT NULL, hash bytea NOT NULL,
            attempts integer NOT NULL, in_flight integer NOT NULL, given_up integer NOT NULL,
            data bytea, tokens bigint, cost bigint,
            PRIMARY KEY (run, step)
        ) WITH (fillfactor = 70);
        CREATE TABLE orchestrator.bodies (digest bytea PRIMARY KEY, body bytea NOT NULL);
        ALTER TABLE orchestrator.bodies ALTER body SET STORAGE EXTERNAL;
        CREATE TABLE orchestrator.uses (
            run bigint NOT NULL, digest bytea NOT NULL REFERENCES orchestrator.bodies, PRIMARY KEY (run, digest)
        );
        CREATE INDEX uses_of_bodies ON orchestrator.uses (digest);
        CREATE TABLE orchestrator.signals (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            run bigint NOT NULL, key bytea NOT NULL, name bytea NOT NULL, data bytea NOT NULL
        );
        CREATE UNIQUE INDEX signal_keys ON orchestrator.signals (run, sha256(key));
        CREATE TABLE orchestrator.bills (
            run bigint NOT NULL, seq bigint NOT NULL, at double precision NOT NULL, kind integer NOT NULL,
            task bytea NOT NULL, agent bytea NOT NULL, provider bytea NOT NULL, model bytea NOT NULL,
            input bigint NOT NULL, output bigint NOT NULL, cached bigint NOT NULL, reasoning bigint NOT NULL,
            cost bigint, PRIMARY KEY (run, seq)
        );
        CREATE INDEX bills_in_time ON orchestrator.bills USING brin (at);
        CREATE TABLE orchestrator.drives (
            run text COLLATE "C" PRIMARY KEY, owner bytea NOT NULL, fence bigint NOT NULL,
            seen_at timestamptz NOT NULL, lasts_s double precision NOT NULL
        );
        CREATE SEQUENCE orchestrator.drive_fences;
        CREATE TABLE orchestrator.commits (mark bytea PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
        ALTER TABLE orchestrator.runs
            ADD reports bigint NOT NULL DEFAULT 0, ADD told boolean NOT NULL DEFAULT false;
        CREATE INDEX runs_that_were_told ON orchestrator.runs (id) WHERE told AND status = 'waiting';
        CREATE TABLE orchestrator.reports (
            run bigint NOT NULL, number bigint NOT NULL, path bytea NOT NULL, data bytea NOT NULL,
            PRIMARY KEY (run, number)
        )
        """,
    ),
    Migration(
        1,
        """
        CREATE TABLE orchestrator.holds (
            run bigint NOT NULL, id text COLLATE "C" NOT NULL, number bigint GENERATED ALWAYS AS IDENTITY,
            unit bytea NOT NULL, path bytea NOT NULL, fence bigint NOT NULL,
            cost bigint NOT NULL, tokens bigint NOT NULL, turns bigint NOT NULL, accounts bytea NOT NULL,
            waits boolean NOT NULL, PRIMARY KEY (run, id)
        )
        """,
    ),
)

# Of the catalogue itself: a name that was looked up in vain before is remembered so until the transaction ends.
_FOUND = """
    SELECT EXISTS (
        SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'orchestrator' AND c.relname = 'migrations'
    )
    """
_VERSION = "SELECT coalesce(max(number), 0), coalesce(max(works_with), 0) FROM orchestrator.migrations"
_HOME = """
    SELECT encode(sha256(convert_to(mark::text || d.oid::text, 'UTF8')), 'hex')
    FROM orchestrator.journal, pg_database d WHERE d.datname = current_database()
    """


class FoundVersion(NamedTuple):
    """The number of the latest migration, and the oldest schema that a release must know to use the tables."""

    number: int
    works_with: int


async def prepare(connection: AsyncConnection[Any], *, create: bool) -> str:
    """Make the database a journal of this release, and return the mark of this journal in this database.

    One that is up to date is not written to. Raise `JournalMissing` where there is none and none is to be made,
    `JournalUnusable` where a later release made it, or no tables may be made.
    """
    found = await _version(connection)
    if found is None and not create:
        raise JournalMissing("there is no journal in it")
    if found is None or found.number < len(MIGRATIONS):
        try:
            await _migrate(connection)
        except InsufficientPrivilege as error:
            raise JournalUnusable(f"its tables cannot be made: {error.diag.message_primary}") from error
    else:
        _refuse_later(found)
    mark = await (await connection.execute(_HOME)).fetchone()
    assert mark is not None, "the migration made the row"
    return str(mark[0])[:24]


async def _version(connection: AsyncConnection[Any]) -> FoundVersion | None:
    row = await (await connection.execute(_FOUND)).fetchone()
    if not row or not row[0]:
        return None
    found = await (await connection.execute(_VERSION)).fetchone()
    return None if not found or not found[0] else FoundVersion(*found)


def _refuse_later(found: FoundVersion) -> None:
    if found.works_with > len(MIGRATIONS):
        known = f"schema {found.number}, which works from {found.works_with} on; this one knows {len(MIGRATIONS)}"
        raise JournalUnusable(f"it was written by a later release ({known})")


async def _migrate(connection: AsyncConnection[Any]) -> None:
    """Apply what is missing, all or nothing. Several processes may try at once: the others find it done."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        found = await _version(connection)
        if found is None:
            await connection.execute("CREATE SCHEMA IF NOT EXISTS orchestrator")
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS orchestrator.migrations (number integer PRIMARY KEY, "
                "works_with integer NOT NULL, release text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            found = FoundVersion(0, 0)
        _refuse_later(found)
        for number, migration in enumerate(MIGRATIONS[found.number :], found.number + 1):
            for statement in migration.statements.split(";"):
                await connection.execute(statement.encode())
            await connection.execute(
                "INSERT INTO orchestrator.migrations (number, works_with, release) VALUES (%s, %s, %s)",
                (number, migration.works_with, __version__),
            )
