"""What the URL of a PostgreSQL database shows to people: never a password. Pure, and loads no client."""

from __future__ import annotations

import re

SCHEMES = ("postgresql://", "postgres://")
HIDDEN = "***"
_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?://)(?:(?P<user>[^:@/?#]*)(?P<password>:[^@/?#]*)?@)?(?P<rest>[^@?#]*)(?P<query>\?[^@#]*)?"
)
_SECRET = re.compile(r"([?&][^=&]*(?:password|passfile|secret|key)[^=&]*)=[^&]*", re.IGNORECASE)


def without_password(url: str) -> str:
    """Return the URL with every secret in it as `***`; itself, where it holds none.

    One that is not well-formed may hold a secret anywhere: nothing of it is shown but its scheme.
    """
    if not url.startswith(SCHEMES):
        return url
    found = _URL.fullmatch(url)
    if found is None:
        return f"{url.partition('://')[0]}://{HIDDEN}"
    user = "" if found["user"] is None else found["user"] + (f":{HIDDEN}" if found["password"] else "") + "@"
    return found["scheme"] + user + found["rest"] + _SECRET.sub(rf"\1={HIDDEN}", found["query"] or "")
