"""Files that come with the pages: style sheets, the script, the icon. A browser keeps each until it is another one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

CSS = "text/css; charset=utf-8"
KINDS = {"page.css": CSS, "runs.css": CSS, "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
KEPT = "private, max-age=31536000, immutable"
"""How a browser may keep a file, asked for by an address that no other edition of it has."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent. `edition`: what its address ends with as long as it has these bytes."""

    body: bytes
    kind: str
    edition: str


@cache
def static_file(name: str) -> StaticFile:
    """Return a file. Raise `KeyError` where there is none of this name."""
    kind = KINDS[name]
    body = files("orchestrator.server.pages").joinpath("static", name).read_bytes()
    return StaticFile(body, kind, hashlib.sha256(body).hexdigest()[:12])


def address_of(name: str) -> str:
    """Return the address of a file as it is now."""
    return f"/static/{name}?v={static_file(name).edition}"
