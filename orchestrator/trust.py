"""What a user has allowed: which of their keys may go where the files of a folder send them.

It is kept in the user's own configuration, never in a project: a folder that is cloned brings no consent of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.kept_file import held, put
from providers.catalog.trust import Consent, KeyUse, NotTrusted

VARIABLE = "ORCHESTRATOR_TRUST_FILE"
"""Names another file. It is read from the process's environment alone, never from a `.env`."""
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class CodeUse(KeyUse):
    """Code that a folder's files name and that would run on this machine: a Python file, a command, a server.

    It is asked of the same `Consent` as a key. What is allowed is the folder and the digest: after any change it is
    asked for anew. `variable` is empty and `address` is "sha256:..." of the code.
    """

    what: str = field(default="", compare=False)
    """What would run, in words."""

    @classmethod
    def of(cls, folder: Path, what: str, sha256: str, file: str) -> CodeUse:
        """Return the use of code that `file` names, in a folder without links in its path."""
        return cls(str(folder), f"{CODE}{sha256}", "", file=file, named=True, what=what)

    def __str__(self) -> str:
        return f"{self.what}, named by {self.file}" if self.file else self.what


CODE = "sha256:"


class CodeNotTrusted(NotTrusted):
    """A folder's files name code that was not allowed to run here. Nothing was run. `uses` are which."""

    def __init__(self, uses: Iterable[KeyUse]) -> None:
        super().__init__(uses)
        lines = "\n".join(f"  {use}" for use in self.uses)
        self.args = (f"files of this folder would run or ask what you have not allowed:\n{lines}",)


def refuse_code(uses: Iterable[CodeUse], trust: Consent) -> None:
    """Raise `CodeNotTrusted` with what may not run."""
    if missing := [use for use in dict.fromkeys(uses) if not trust(use)]:
        raise CodeNotTrusted(missing)


@dataclass(frozen=True, slots=True)
class TrustFile:
    """The file that keeps what was allowed. Each call reads it anew: what is allowed meanwhile counts at once."""

    file: Path

    def allows(self, use: KeyUse) -> bool:
        """Return whether this key may go to this address, or this code may run, for the files of this folder."""
        return _row(use) in {_row(_use(row)) for row in self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        """Return what is allowed, oldest first. A file that others may write, or that is damaged, allows nothing."""
        try:
            with self.file.open("rb") as stream:
                if os.name == "posix" and os.fstat(stream.fileno()).st_mode & 0o022:
                    return []
                document = json.loads(stream.read(MAX_BYTES))
            return [_checked(row) for row in document["allowed"]]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return []

    def allow(self, uses: Iterable[KeyUse]) -> None:
        """Remember these. Raise `OSError` where the file cannot be written."""
        with held(self.file, 0o700):
            rows = {_row(_use(row)): row for row in self.rows()}
            for use in uses:
                told = {"what": use.what} if isinstance(use, CodeUse) else {}
                row = {"folder": use.folder, "address": use.address, "variable": use.variable, "at": _now(), **told}
                rows.setdefault(_row(use), row)
            put(self.file, _document(list(rows.values())))

    def forget(self, folder: str | None) -> int:
        """Forget what was allowed for a folder (None: everywhere), and return how much that was. Raise `OSError`."""
        if not self.rows():
            return 0
        with held(self.file, 0o700):
            rows = self.rows()
            kept = [] if folder is None else [row for row in rows if row["folder"] != folder]
            if len(kept) < len(rows):
                put(self.file, _document(kept))
            return len(rows) - len(kept)


def trust_file(environ: Mapping[str, str] | None = None) -> TrustFile:
    """Return the user's own: `ORCHESTRATOR_TRUST_FILE`, else `orchestrator/trust.json` below `XDG_CONFIG_HOME`, else
    below `~/.config`. `environ` is the process's own environment (None), not one that a `.env` adds to."""
    said = os.environ if environ is None else environ
    if named := said.get(VARIABLE, "").strip():
        return TrustFile(Path(named))
    home = said.get("XDG_CONFIG_HOME", "").strip()
    # As its standard says: a path that is not absolute is ignored. It would lead into the working folder.
    below = Path(home) if home and Path(home).is_absolute() else _own_folder()
    return TrustFile(below / "orchestrator" / "trust.json")


def _own_folder() -> Path:
    try:
        return Path.home() / ".config"
    except RuntimeError:  # a user without a home: nothing is remembered
        return Path(os.devnull)


def _checked(row: Any) -> dict[str, Any]:
    """Return a row that allows something. Raise `KeyError` or `TypeError` for any other."""
    if not all(isinstance(row[name], str) for name in ("folder", "address", "variable")):
        raise TypeError("a row of the trust file holds texts")
    return dict(row)


def _row(use: KeyUse) -> tuple[str, str, str]:
    """Return what of a use is allowed: a file's row is no other class of use than the one that asks."""
    return use.folder, use.address, use.variable


def _use(row: Mapping[str, Any]) -> KeyUse:
    return KeyUse(row["folder"], row["address"], row["variable"])


def _document(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"version": 1, "allowed": rows}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
