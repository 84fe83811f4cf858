"""What the commands of `memory` share: the store that they open, and how records are shown."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import click

from agents.memory.records import MemoryRecord
from agents.memory.store import MemoryStore
from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.exits import NothingSelected
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console
from orchestrator.run.memory_setting import FILE
from providers.documents.unicode import cut, printable

P = ParamSpec("P")
SHOWN = 100
"""Characters of a text in a table."""
SCHEMA_VERSION = 1

scope_option = click.option(
    "--scope", "scopes", metavar="NAME", multiple=True, help="Only this squad, or squad/agent; may be repeated."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON Lines.")


@dataclass(frozen=True, slots=True)
class OpenMemory:
    """The memory in the state folder, opened for one command."""

    store: MemoryStore
    console: Console
    now: float

    def meant(self, scopes: Sequence[str]) -> list[str]:
        """Return the scopes that are meant: all where none is named; a squad means its agents' as well."""
        known = [one.scope for one in self.store.scopes(self.now)]
        return [one for one in known if not scopes or one in scopes or one.partition("/")[0] in scopes]


def uses_memory(work: Callable[Concatenate[OpenMemory, P], int | None]) -> Callable[..., int | None]:
    """Make a command of a function: it gets the memory opened as its first argument."""
    return _opening(work, create=False)


def makes_memory(work: Callable[Concatenate[OpenMemory, P], int | None]) -> Callable[..., int | None]:
    """Make a command of a function, like `uses_memory`, that makes the memory where there is none."""
    return _opening(work, create=True)


def _opening(work: Callable[..., int | None], *, create: bool) -> Callable[..., int | None]:
    @click.pass_context
    @functools.wraps(work)
    def command(context: click.Context, /, **arguments: Any) -> int | None:
        with _opened(settings_of(context), create=create) as memory:
            return work(memory, **arguments)

    return command


@contextmanager
def _opened(settings: Settings, *, create: bool) -> Iterator[OpenMemory]:
    """Open the memory. Raise `NothingSelected` where there is none, and none is to be made."""
    path = settings.state_folder / FILE
    if not create and not path.exists():
        raise NothingSelected(
            f"nothing is remembered here: there is no {path}",
            "an agent with `memory: true` remembers; `orchestrator memory add SQUAD TEXT` does so for you",
        )
    with MemoryStore.open(path) as store:
        yield OpenMemory(store, Console(settings), time.time())


def show(memory: OpenMemory, records: Sequence[MemoryRecord], *, as_json: bool, scores: Sequence[float] = ()) -> None:
    """Write records to stdout: JSON Lines, or a table."""
    if as_json:
        for i, record in enumerate(records):
            score = {"score": round(scores[i], 4)} if scores else {}
            click.echo(json.dumps({**document(record), **score}, ensure_ascii=False))
    elif records:
        rows = [
            (one.id, one.scope, one.trust, _day(one.created), _end(one, memory.now), _short(one)) for one in records
        ]
        click.echo(columns([("ID", "SCOPE", "TRUST", "SINCE", "EXPIRES", "TEXT"), *map(_printable, rows)]))


def document(record: MemoryRecord) -> dict[str, Any]:
    """Return a record as JSON has it. Times are epoch seconds."""
    source = record.source
    return {
        "schema_version": SCHEMA_VERSION,
        "id": record.id,
        "scope": record.scope,
        "text": record.text,
        "trust": record.trust,
        "created": record.created,
        "expires": record.expires,
        "tags": list(record.tags),
        "source": {"origin": source.origin, "agent": source.agent, "run": source.run, "unit": source.unit},
    }


def _printable(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(printable, row))


def _short(record: MemoryRecord) -> str:
    text = " ".join(record.text.split())
    short = cut(text, SHOWN)
    return short if short == text else f"{short}..."


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _end(record: MemoryRecord, now: float) -> str:
    if record.expires is None:
        return "never"
    days = (record.expires - now) / 86400
    return f"in {days:.0f} d" if days >= 2 else f"in {days * 24:.0f} h"
