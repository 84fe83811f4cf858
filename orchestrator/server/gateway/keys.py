"""Keys of the gateway's clients: made once, shown once, kept as digests alone, with what each may ask and spend."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast, get_args

from orchestrator.kept_file import held, put

PREFIX = "sk-orch-"
FILE = "gateway-keys.json"
SHOWN = 4
"""Characters of a key's end by which a person tells it from others."""
Period = Literal["hour", "day", "month"]
_BUDGET = re.compile(r"\$?\s*([0-9]+(?:\.[0-9]+)?)\s*(?:usd|\$)?\s*/\s*([a-z]+)", re.IGNORECASE)
_NAME = re.compile(r"[\w.@-]{1,64}")
_TAG = re.compile(r"[\w.-]{1,64}=[^\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, slots=True)
class KeyBudget:
    """What a key may spend in each period: `usd` of every hour, day or month."""

    usd: float
    per: Period

    def __str__(self) -> str:
        return f"{self.usd:g}usd/{self.per}"

    @classmethod
    def read(cls, text: str) -> KeyBudget:
        """Return what `5usd/day`, `$5/day` or `0.5/hour` means. Raise `ValueError`."""
        match = _BUDGET.fullmatch(text.strip())
        if match is None or match[2].lower() not in get_args(Period):
            raise ValueError(f"{text!r} is not a budget: write 5usd/day, 0.50usd/hour or 100usd/month")
        return cls(float(match[1]), cast(Period, match[2].lower()))


@dataclass(frozen=True, slots=True)
class Key:
    """One client's key. `digest` is the SHA-256 of its text, which ends in `ends`.

    `models` are patterns of names as they are published, none: all. `rpm` are requests and `tpm` tokens in any minute,
    `at_once` requests at work together; None: any number. `budgets` all hold. Its whole answers are kept for `cache_s`
    seconds; 0: only where a request asks for it. `tags` (`team=web`) are told with what it spends.
    """

    name: str
    digest: str
    models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    created: float = 0.0
    ends: str = ""
    rpm: int | None = None
    tpm: int | None = None
    at_once: int | None = None
    budgets: tuple[KeyBudget, ...] = ()
    cache_s: float = 0.0

    def may_ask(self, *names: str) -> bool:
        """Return whether it may ask a model that has these names."""
        return not self.models or any(fnmatchcase(name, pattern) for name in names for pattern in self.models)


class ClientKeys:
    """The keys of a file, which is made with the first one, for its owner alone. Read anew when it changes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._read_at: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def all(self) -> tuple[Key, ...]:
        """Return the keys, in the order in which they were made. Raise `ValueError` for a file that holds none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._read_at:
            self._keys = _read(self.path)
            self._read_at = stamp
        return self._keys

    def make(self, name: str, now: float, **more: Any) -> str:
        """Return a new key's text: it is shown now and never again. `more` are fields of `Key`.

        Raise `ValueError` for a name that is taken, and for a name or a tag that is none.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a key: letters, digits, . _ @ and -, at most 64")
        for tag in more.get("tags", ()):
            if not _TAG.fullmatch(tag):
                raise ValueError(f"{tag!r} is not a tag: write NAME=VALUE, such as team=web")
        text = PREFIX + secrets.token_urlsafe(32)
        key = replace(Key(name, _digest(text), created=now, ends=text[-SHOWN:]), **more)
        with held(self.path, 0o700):
            known = self.all()
            if any(one.name == name for one in known):
                raise ValueError(f"a key is called '{name}' already")
            self._write((*known, key))
        return text

    def revoke(self, name: str) -> bool:
        """Take a key out; return whether there was one of this name."""
        with held(self.path, 0o700):
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
        put(self.path, {"version": 1, "keys": [asdict(key) for key in keys]})
        self._read_at = None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _read(path: Path) -> tuple[Key, ...]:
    try:
        return tuple(_key_of(one) for one in json.loads(path.read_text("utf-8"))["keys"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} holds no keys ({error}): restore it, or remove it to start again") from None


def _key_of(one: Mapping[str, Any]) -> Key:
    """Return a key as it stands in the file. A file of an earlier release says less of it."""
    fields = {name: one[name] for name in ("ends", "rpm", "tpm", "at_once", "cache_s") if name in one}
    budgets = tuple(KeyBudget(float(each["usd"]), each["per"]) for each in one.get("budgets", ()))
    models, tags = tuple(one["models"]), tuple(one["tags"])
    return Key(str(one["name"]), str(one["digest"]), models, tags, float(one["created"]), budgets=budgets, **fields)
