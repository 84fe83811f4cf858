"""ClientKeys of the gateway's clients: made once, shown once, kept as digests alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

PREFIX = "sk-orch-"
FILE = "gateway-keys.json"


@dataclass(frozen=True, slots=True)
class Key:
    """One client's key. `digest` is the SHA-256 of its text; `models` are patterns, none: all."""

    name: str
    digest: str
    models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    created: float = 0.0

    def may_ask(self, model: str) -> bool:
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)


class ClientKeys:
    """The keys of a file, which is made with the first one, for its owner alone. Read anew when it changes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._read_at: tuple[int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def all(self) -> tuple[Key, ...]:
        """Return the keys, in the order in which they were made. Raise `ValueError` for a file that holds none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._read_at:
            self._keys = tuple(_key_of(one) for one in json.loads(self.path.read_text("utf-8"))["keys"])
            self._read_at = stamp
        return self._keys

    def make(self, name: str, now: float, models: Sequence[str] = (), tags: Sequence[str] = ()) -> str:
        """Return a new key's text: it is shown now and never again. Raise `ValueError` for a name that is taken."""
        known = self.all()
        if any(key.name == name for key in known):
            raise ValueError(f"a key is called '{name}' already")
        text = PREFIX + secrets.token_urlsafe(32)
        self._write((*known, Key(name, _digest(text), tuple(models), tuple(tags), now)))
        return text

    def revoke(self, name: str) -> bool:
        """Take a key out; return whether there was one of this name."""
        known = self.all()
        left = tuple(key for key in known if key.name != name)
        if len(left) < len(known):
            self._write(left)
        return len(left) < len(known)

    def of(self, text: str) -> Key | None:
        """Return the key of this text, in the same time whichever it is; None: it is none."""
        digest, found = _digest(text), None
        for key in self.all():
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _write(self, keys: Sequence[Key]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"version": 1, "keys": [asdict(key) for key in keys]}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self._read_at = None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _key_of(one: Any) -> Key:
    return Key(one["name"], one["digest"], tuple(one["models"]), tuple(one["tags"]), one["created"])
