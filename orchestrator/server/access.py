"""Who may look at the server and who may change something: one-time links, session cookies, a token for programs.

A session is a signed cookie, so it outlives a restart; the secret that signs it and the token for programs are files in
the server's folder, readable by their owner alone. ClientKeys of the gateway open nothing here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from starlette.requests import Request as HttpRequest

AccessRole = Literal["viewer", "operator"]
COOKIE = "orchestrator_session"
SESSION_S = 7 * 86400
LINK_S = 600
"""How long a link may be followed, once."""
TOKEN_VARIABLE = "ORCHESTRATOR_SERVER_TOKEN"  # noqa: S105  # the name of a variable


class Access:
    """Gives links and sessions, and knows the role of a request. `clock` gives epoch seconds."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._secret = kept_secret(folder / "server-secret").encode()
        self.token = kept_secret(folder / "server-token")
        self._links: dict[str, tuple[AccessRole, float]] = {}

    def link(self, role: AccessRole) -> str:
        """Return the token of a link that logs in, once."""
        token = secrets.token_urlsafe(24)
        self._links[_digest(token)] = (role, self._clock() + LINK_S)
        return token

    def follow(self, token: str) -> str | None:
        """Return the cookie of the session that a link's token opens; None where it was used, or is too old."""
        role, until = self._links.pop(_digest(token), ("viewer", 0.0))
        return None if self._clock() > until else self.session(role)

    def session(self, role: AccessRole) -> str:
        """Return the cookie of a new session."""
        said = f"{role}.{int(self._clock()) + SESSION_S}.{secrets.token_hex(8)}"
        return f"{said}.{self._seal(said)}"

    def role_of(self, http: HttpRequest) -> AccessRole | None:
        """Return what the sender of a request may do; None: nothing."""
        scheme, _, token = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return "operator" if hmac.compare_digest(token.strip().encode(), self.token.encode()) else None
        return self._role_in(http.cookies.get(COOKIE, ""))

    def _role_in(self, cookie: str) -> AccessRole | None:
        said, _, seal = cookie.rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(said).encode()):
            return None
        role, until, _ = said.split(".")
        is_known = role in get_args(AccessRole) and self._clock() < int(until)
        return role if is_known else None  # type: ignore[return-value]  # it is one of them

    def _seal(self, said: str) -> str:
        return hmac.new(self._secret, said.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def kept_secret(path: Path) -> str:
    """Return the secret in a file, which is made with a new one where there is none."""
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:  # another process was quicker
        pass
    return path.read_text("utf-8").strip()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
