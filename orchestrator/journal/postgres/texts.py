"""The large texts of records: read together, as few rounds as records refer to each other, then put in their places."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from typing import Any

from orchestrator.journal.codec import Unreadable, references, unpack
from orchestrator.journal.postgres.connecting import PostgresConnection
from orchestrator.journal.protocols import JournalDamaged
from orchestrator.journal.records import inflated

_BODIES = "SELECT digest, body FROM orchestrator.bodies WHERE digest = ANY(%b::bytea[])"


class Texts:
    """Values of records. Those that are alike share one value, which must not be changed: a run's events repeat
    themselves."""

    def __init__(self, bodies: dict[bytes, bytes]) -> None:
        self._bodies = bodies
        self._values: dict[bytes, Any] = {}

    @classmethod
    async def of(cls, connection: PostgresConnection, records: Iterable[bytes]) -> Texts:
        """Read all that these records refer to. Raise `JournalDamaged` for a text that is not what was written."""
        bodies: dict[bytes, bytes] = {}
        wanted = {digest: is_record for data in records for digest, is_record in references(data)}
        while wanted:
            rows = await connection.execute(_BODIES, (list(wanted),), binary=True)
            more: dict[bytes, bool] = {}
            async for digest, body in rows:
                bodies[digest] = _body(digest, body)
                if wanted[digest]:
                    more.update(references(bodies[digest]))
            wanted = {digest: is_record for digest, is_record in more.items() if digest not in bodies}
        return cls(bodies)

    def value(self, data: bytes) -> Any:
        """Return the value of a record. Raise `JournalDamaged`."""
        if data not in self._values:
            try:
                self._values[data] = unpack(data, self._text)
            except Unreadable as error:
                raise JournalDamaged(str(error)) from error
        return self._values[data]

    def _text(self, digest: bytes) -> bytes:
        if (found := self._bodies.get(digest)) is None:
            raise JournalDamaged("a text is missing")
        return found


def _body(digest: bytes, stored: bytes) -> bytes:
    try:
        body = inflated(stored)
    except zlib.error as error:
        raise JournalDamaged("a text is not what was written") from error
    if hashlib.sha256(body).digest() != digest:
        raise JournalDamaged("a text is not what was written")
    return body


async def value_in(connection: PostgresConnection, data: bytes) -> Any:
    """Return the value of one record."""
    return (await Texts.of(connection, (data,))).value(data)
