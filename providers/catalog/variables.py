"""Environment variables as a row's address and key are read from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from providers.documents.problems import variable_problem
from providers.errors import CatalogError

PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


def filled(url: str, account: int, environ: Mapping[str, str]) -> str | None:
    """Return the URL with its placeholders filled, an account's own value first; None where one is not set."""
    for variable in PLACEHOLDER.findall(url):
        value = (variable_of(environ, f"{variable}_{account}") if account > 1 else "") or variable_of(environ, variable)
        if not value:
            return None
        url = url.replace(f"{{{variable}}}", quote(value, safe=""))
    return url.rstrip("/")


def variable_of(environ: Mapping[str, str], variable: str) -> str:
    """Return the variable, stripped; empty where it is not set. Its value stands in no error: it may be a key."""
    value = environ.get(variable, "").strip()
    if not value.isascii() or not value.isprintable():
        text = "the value holds control characters or other letters than ASCII: paste it again"
        raise CatalogError([variable_problem(variable, text)])
    return value
