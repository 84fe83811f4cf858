"""What is remembered: one record, where it came from, and how far it may be trusted. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.memory.caps import MOST_CHARS as MOST_CHARS
from agents.memory.query import folded
from providers.documents.secrets import hidden
from providers.documents.unicode import clean

RecordTrust = Literal["user", "agent", "untrusted"]
"""user: a person said it. agent: an agent wrote it. untrusted: it comes from what others wrote, or may."""
TRUST: tuple[RecordTrust, ...] = ("untrusted", "agent", "user")
"""From the least trusted to the most."""
MOST_TAGS, TAG_CHARS = 16, 64
SCOPE_CHARS = 200


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Where a record came from: the agent that wrote it, in which run and unit; or a person, or an import.

    `origin` is "agent", "person" or "import".
    """

    origin: str = "person"
    agent: str = ""
    run: str = ""
    unit: str = ""

    def __str__(self) -> str:
        if self.origin != "agent":
            return f"a {self.origin}" if self.origin == "person" else f"an {self.origin}"
        return f"{self.agent} in {self.run}" if self.run else self.agent


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """One thing remembered."""

    id: str
    """Follows from scope and text: what is remembered twice is one record."""
    text: str
    """What is remembered."""
    scope: str
    """A squad's name, or `squad/agent`."""
    trust: RecordTrust
    """Whose words it holds: see `RecordTrust`."""
    created: float
    """Epoch seconds UTC."""
    source: RecordSource = RecordSource()
    """Where it comes from: the agent, the run, the unit."""
    expires: float | None = None
    """Epoch seconds UTC; None: it stays until it is forgotten."""
    tags: tuple[str, ...] = ()
    """Words to find it by."""

    def is_over(self, now: float) -> bool:
        """Return whether it has expired at `now` (epoch seconds UTC)."""
        return self.expires is not None and self.expires <= now


class NotStorable(ValueError):
    """A text that no record can be made of; the message says why, and what can be done."""


def made_record(
    text: str,
    scope: str,
    trust: RecordTrust,
    now: float,
    *,
    source: RecordSource = RecordSource(),
    ttl_s: float | None = None,
    tags: Sequence[str] = (),
) -> MemoryRecord:
    """Return the record of a text, cleaned, what looks like a key masked. Raise `NotStorable`."""
    kept = hidden(clean(text).strip(), guess=False)
    if not kept:
        raise NotStorable("there is no text to remember")
    if len(kept) > MOST_CHARS:
        raise NotStorable(f"{len(kept):,} characters are too much for one record; keep what matters in {MOST_CHARS:,}")
    if not all(part.strip() for part in scope.split("/")) or len(scope) > SCOPE_CHARS:
        raise NotStorable(f"a scope is a squad, or squad/agent, of at most {SCOPE_CHARS} characters")
    named = tuple(dict.fromkeys(tag for one in tags if (tag := clean(one).strip()[:TAG_CHARS])))[:MOST_TAGS]
    expires = None if ttl_s is None else now + ttl_s
    return MemoryRecord(record_id(scope, kept), kept, clean(scope), trust, now, source, expires, named)


def record_id(scope: str, text: str) -> str:
    """Return the id of a record: equal for texts that differ in case, accents and blanks alone."""
    same = " ".join(folded(text).split())
    return "m-" + hashlib.sha256(f"{scope}\0{same}".encode("utf-8", "replace")).hexdigest()[:12]


def merged(old: MemoryRecord, new: MemoryRecord) -> MemoryRecord:
    """Return what is kept where a text is remembered again: the first source, the later end, all tags.

    A person's word makes a record a person's; else the lesser trust stays, so that nothing gains trust by being
    repeated. Tags of others do not stand in a person's record.
    """
    trust: RecordTrust = "user" if "user" in (old.trust, new.trust) else min(old.trust, new.trust, key=TRUST.index)
    ends = [one.expires for one in (old, new) if one.expires is not None]
    expires = max(ends) if len(ends) == 2 else None
    source = new.source if new.trust == "user" != old.trust else old.source
    tagged = [one.tags for one in (old, new) if trust != "user" or one.trust == "user"]
    tags = tuple(dict.fromkeys(tag for some in tagged for tag in some))[:MOST_TAGS]
    return MemoryRecord(old.id, old.text, old.scope, trust, old.created, source, expires, tags)
