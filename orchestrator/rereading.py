"""Swapping a model without a restart: a provider manager that follows its routing file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import SpecError
from orchestrator.events import RoutingReread
from providers.catalog import Catalog
from providers.errors import CatalogError
from providers.events import Emit, ignore
from providers.messages import Request, Response
from providers.policy import Policy
from providers.router import ProviderManager

Stamp = tuple[int, int, int] | None


class Rereading:
    """Answers as its manager does, and reads a routing file that has changed before the next turn begins.

    A file is taken whole or not at all: one with mistakes, or one that is gone, leaves everything as it was. Either way
    the turn that found it emits one `RoutingReread`.
    """

    def __init__(
        self,
        manager: ProviderManager,
        file: Path,
        read: Callable[[], tuple[Policy, Catalog]],
        environ: Mapping[str, str],
    ) -> None:
        self._manager, self._file, self._read, self._environ = manager, file, read, environ
        self._stamp = _stamp(file)

    async def complete(self, request: Request, *, emit: Emit = ignore, **more: Any) -> Response:
        self._follow(emit)
        return await self._manager.complete(request, emit=emit, **more)

    def stream(self, request: Request, *, emit: Emit = ignore, **more: Any) -> Any:
        self._follow(emit)
        return self._manager.stream(request, emit=emit, **more)

    def _follow(self, emit: Emit) -> None:
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._manager.adopt(*self._read(), self._environ)
        except (SpecError, CatalogError) as error:
            emit(RoutingReread(str(self._file), str(error)))
        else:
            emit(RoutingReread(str(self._file), None))


def _stamp(file: Path) -> Stamp:
    """Return what changes when the file is written or replaced; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
