"""What a page is: a template, the path it stands at, the function that makes what it shows, what a form of it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import QueryParams

from orchestrator.server.access import AccessRole
from orchestrator.server.pages.forms import SentFile
from orchestrator.server.state import ServerState


class PageMissing(Exception):
    """What a page is asked for is not there; the words say what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A page as it is asked for. `path` has the values of the path's `{names}`; `form` and `files` what a POST sent."""

    state: ServerState
    role: AccessRole
    path: Mapping[str, str] = field(default_factory=dict)
    query: QueryParams = field(default_factory=QueryParams)
    form: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, SentFile] = field(default_factory=dict)

    @property
    def may_change(self) -> bool:
        """Whether who asks may do what the page's forms offer."""
        return self.role == "operator"


PageValues = Callable[[PageRequest], Awaitable[Mapping[str, Any]]]
PageAct = Callable[[PageRequest], Awaitable[str | Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page. `values` make what `{name}.html` shows, and raise `PageMissing` where there is nothing to show.

    `act`: what its forms do, which are sent to its own path. It returns the address to go on at, or what to add to the
    values of the page, which is shown again then (with status 422), as where something typed was wrong. `label`: its
    name in the navigation. `under`: the path of the navigation that it belongs to. Where it `is_live`, each block
    `part_*` of its template is kept up to date: an element whose id is what follows `part_`.
    """

    name: str
    path: str
    values: PageValues
    act: PageAct | None = None
    label: str = ""
    under: str = ""
    is_live: bool = True
