"""Who may look at the server and who may change something: one-time links, session cookies, a token for programs.

A session is a signed cookie, so it outlives a restart; the secret that signs it and the token for programs are files in
the server's folder, readable by their owner alone. Keys of the gateway open nothing here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Literal, get_args

from starlette.requests import Request as HttpRequest

from orchestrator.kept_file import put

AccessRole = Literal["viewer", "operator"]
COOKIE = "orchestrator_session"
"""How the name of every session's cookie begins. A browser sends a host's cookies to each of its ports, so that servers
on one machine need a name each: it ends with eight digits that the server's secret gives."""
SESSION_S = 7 * 86400
LINK_S = 600
"""How long a link may be followed, once."""
MOST_LINKS = 1000
TOKEN_VARIABLE = "ORCHESTRATOR_SERVER_TOKEN"  # noqa: S105  # the name of a variable
TOKEN_FILE = "server-token"  # noqa: S105  # the name of a file
ENDED_FILE = "server-sessions-ended.json"
TRIES, TRIES_S, MOST_TRYING = 10, 60.0, 1000
"""How many wrong tokens the login takes from one address, in how many seconds; how many addresses are remembered."""


class Access:
    """Gives links and sessions, and knows the role of a request. `clock` gives epoch seconds.

    `token` is that of programs; None: the one in the folder, which is made where there is none.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], token: str | None = None) -> None:
        self._clock = clock
        self._secret = kept_secret(folder / "server-secret").encode()
        self.cookie_name = f"{COOKIE}_{hashlib.sha256(self._secret).hexdigest()[:8]}"
        self.token = token or kept_secret(folder / TOKEN_FILE)
        self._links: dict[str, tuple[AccessRole, float]] = {}
        self._ended = _EndedSessions(folder / ENDED_FILE)
        self._wrong: dict[str, deque[float]] = {}

    def link(self, role: AccessRole) -> str:
        """Return the token of a link that logs in, once."""
        now, token = self._clock(), secrets.token_urlsafe(24)
        self._links = {digest: one for digest, one in self._links.items() if one[1] > now}
        while len(self._links) >= MOST_LINKS:
            del self._links[next(iter(self._links))]
        self._links[_digest(token)] = (role, now + LINK_S)
        return token

    def follow(self, token: str) -> str | None:
        """Return the cookie of the session that a link's token opens; None where it was used, or is too old."""
        role, until = self._links.pop(_digest(token), ("viewer", 0.0))
        return None if self._clock() > until else self.session(role)

    def log_in(self, token: str, address: str) -> str | None:
        """Return the cookie of an operator's session for the token of programs; None where it is another one."""
        if self._is(token):
            return self.session("operator")
        wrong = self._wrong.pop(address, deque[float](maxlen=TRIES))
        wrong.append(self._clock())
        self._wrong[address] = wrong  # the last one: those that have not tried for long are forgotten first
        if len(self._wrong) > MOST_TRYING:
            del self._wrong[next(iter(self._wrong))]
        return None

    def rest(self, address: str) -> float:
        """Return for how many seconds no token is taken from an address: too many were wrong."""
        wrong = self._wrong.get(address)
        return max(0.0, wrong[0] + TRIES_S - self._clock()) if wrong and len(wrong) == TRIES else 0.0

    def session(self, role: AccessRole) -> str:
        """Return the cookie of a new session."""
        said = f"{role}.{int(self._clock()) + SESSION_S}.{secrets.token_hex(8)}"
        return f"{said}.{self._seal(said)}"

    def end(self, cookie: str) -> None:
        """End a session for good, wherever its cookie is kept."""
        if self._role_in(cookie) is not None:
            _, until, ident, _ = cookie.split(".")
            self._ended.add(ident, int(until), self._clock())

    def cookie_of(self, http: HttpRequest) -> str:
        """Return the cookie of the session that a request came with; empty where it has none."""
        return http.cookies.get(self.cookie_name, "")

    def role_of(self, http: HttpRequest) -> AccessRole | None:
        """Return what the sender of a request may do; None: nothing."""
        scheme, _, token = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return "operator" if self._is(token.strip()) else None
        return self._role_in(self.cookie_of(http))

    def _is(self, token: str) -> bool:
        return hmac.compare_digest(_digest(token), _digest(self.token))

    def _role_in(self, cookie: str) -> AccessRole | None:
        said, _, seal = cookie.rpartition(".")
        if not hmac.compare_digest(seal.encode("utf-8", "replace"), self._seal(said).encode()):
            return None
        role, until, ident = said.split(".")
        is_known = role in get_args(AccessRole) and self._clock() < int(until) and ident not in self._ended.until
        return role if is_known else None  # type: ignore[return-value]  # it is one of them

    def _seal(self, said: str) -> str:
        return hmac.new(self._secret, said.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class _EndedSessions:
    """Sessions that were logged out before their time, in a file: a restart does not bring them back."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.until: dict[str, int] = {}
        with suppress(OSError, ValueError, AttributeError):
            self.until = {str(ident): int(until) for ident, until in json.loads(file.read_text("utf-8")).items()}

    def add(self, ident: str, until: int, now: float) -> None:
        self.until = {**{one: end for one, end in self.until.items() if end > now}, ident: until}
        put(self._file, self.until)


def kept_secret(path: Path) -> str:
    """Return the secret in a file, which is made with a new one where there is none. An empty one is none."""
    with suppress(FileNotFoundError):
        if kept := path.read_text("utf-8").strip():
            return kept
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = mkstemp(dir=path.parent, prefix=f".{path.name}-")  # its owner's alone
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        os.link(beside, path)  # whole, or not at all
    except FileExistsError:  # another process was quicker
        pass
    finally:
        Path(beside).unlink()
    return path.read_text("utf-8").strip()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
