"""Swapping a model without a restart: a provider manager that follows its routing file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.environment import Environment
from orchestrator.events import RoutingReread
from providers.catalog.model import Candidate, Catalog
from providers.catalog.trust import Consent, KeyUse, NotTrusted, of_the_program, refused
from providers.client.manager import ProviderManager
from providers.documents.problems import SpecError
from providers.documents.secrets import recordable
from providers.documents.yaml import read_text
from providers.embeddings import Embeddings
from providers.emit import Emit, ignore
from providers.messages import Hear, Request, Response
from providers.policy.model import Policy

Stamp = tuple[int, int, int] | None


class HotReload:
    """Answers as its manager does, and reads a routing file that has changed before the next turn begins.

    So it does with the `.env` of an `environ` that has one. A file is taken whole or not at all: one with mistakes, or
    one that is gone, leaves everything as it was. Either way the turn that found it emits one `RoutingReread`.

    An address, the name of a key's variable, or a header that no file had when the manager was opened is taken only
    where `trust` allows it, even where no key goes there: what is asked would go there.
    """

    def __init__(
        self,
        manager: ProviderManager,
        file: Path | None,
        read: Callable[[], tuple[Policy, Catalog]],
        environ: Mapping[str, str],
        trust: Consent = of_the_program,
    ) -> None:
        self._manager, self._read, self._environ, self._routing = manager, read, environ, file
        self._trust, self._allowed = trust, _steered(manager.candidates)
        keys = environ.file if isinstance(environ, Environment) else None
        self._stamps = {each: _stamp(each) for each in (file, keys) if each is not None}

    def room(self, request: Request) -> int | None:
        """Return what the manager knows of the room for a request, as of the last turn."""
        return self._manager.room(request)

    async def complete(self, request: Request, *, emit: Emit = ignore, **more: Any) -> Response:
        self._follow(emit)
        return await self._manager.complete(request, emit=emit, **more)

    def stream(self, request: Request, *, emit: Emit = ignore, **more: Any) -> Any:
        self._follow(emit)
        return self._manager.stream(request, emit=emit, **more)

    async def relay(self, request: Request, hear: Hear, *, emit: Emit = ignore, **more: Any) -> Response:
        self._follow(emit)
        return await self._manager.relay(request, hear, emit=emit, **more)

    async def embed(self, texts: Sequence[str], *, emit: Emit = ignore, **more: Any) -> Embeddings:
        self._follow(emit)
        return await self._manager.embed(texts, emit=emit, **more)

    def _follow(self, emit: Emit) -> None:
        changed = {file: now for file, stamp in self._stamps.items() if (now := _stamp(file)) != stamp}
        if not changed:
            return
        self._stamps |= changed
        adopted = self._adopt() if any(changed.values()) else None
        for file, stamp in changed.items():
            error = f"{file} is gone" if stamp is None else adopted
            # Of the routing file alone: the other one holds keys.
            text = self._text() if file == self._routing and error is None else ""
            emit(RoutingReread(str(file), error, text))

    def _text(self) -> str:
        try:
            return recordable(read_text(self._routing)) if self._routing is not None else ""
        except SpecError:  # gone again since it was adopted
            return ""

    def _adopt(self) -> str | None:
        """Go on as the files say; return why not where they have mistakes."""
        try:
            environ = self._environ
            if isinstance(environ, Environment) and self._stamps[environ.file] is not None:
                environ = environ.now()  # one that is gone leaves its keys as they were
            policy, catalog = self._read()
            brought = _steered(catalog.candidates(environ)) - self._allowed
            if strange := refused((replace(each.use, needed=True) for each in brought), self._trust):
                raise NotTrusted(sorted(strange, key=str))
            self._manager.adopt(policy, catalog, environ)
        except SpecError as error:
            return "\n".join(map(str, error.problems))
        except NotTrusted as error:
            return f"{error}\n`orchestrator trust` allows it; the file is then to be saved again"
        self._environ = environ
        self._allowed |= brought
        return None


class _Steered(NamedTuple):
    """What a file has sent where, and in which headers."""

    use: KeyUse
    headers: frozenset[tuple[str, str]]
    key_header: str | None


def _steered(candidates: Iterable[Candidate]) -> set[_Steered]:
    """Return all that files have a say in: the headers count, too, of a row that a file touches."""
    found = set()
    for candidate in candidates:
        quirks = candidate.provider.quirks
        headers = frozenset(quirks.extra_headers.items())
        found |= {_Steered(use, headers, quirks.key_header) for use in candidate.uses}
    return found


def _stamp(file: Path) -> Stamp:
    """Return what changes when the file is written or replaced; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
