"""The routing that a squad, or a command, runs under: of a file, of Python objects, or the built-in one.

It stands apart from squads, so that what only routes loads none of the rest that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from providers.catalog.file import load_catalog
from providers.catalog.model import Catalog
from providers.catalog.trust import file_source
from providers.documents.problems import Problem
from providers.documents.yaml import mapping_in, read_once
from providers.policy.model import Policy
from providers.policy.parse import default_policy, parse_policy

ROUTING_FILE = "agent_routing.yaml"


def load_routing(
    routing: Path | str | Mapping[str, Any] | None,
    catalog: Catalog | None = None,
    texts: dict[str, str] | None = None,
) -> tuple[Policy, Catalog]:
    """Return the policy and the catalog with its overlays: of a file, of a mapping, or the built-in ones.

    `catalog` is what is laid over, instead of the packaged one; `texts` keeps the text of a file that is read. Raises
    `SpecError` with every mistake in the file, each with its line and column.
    """
    if routing is None:
        return _built_in() if catalog is None else (default_policy(catalog), catalog)
    catalog = load_catalog() if catalog is None else catalog
    if isinstance(routing, Mapping):
        return parse_policy(routing, catalog)
    text = read_once(Path(routing), {} if texts is None else texts)
    read: list[Problem] = []
    return parse_policy(mapping_in(text, str(routing), read), catalog, read, file_source(Path(routing), named=True))


@cache
def _built_in() -> tuple[Policy, Catalog]:
    """Return what most squads run under, read once in a process."""
    catalog = load_catalog()
    return default_policy(catalog), catalog
