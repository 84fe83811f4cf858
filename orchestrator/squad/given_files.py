"""Reads the files that a run is given, each with a cap, and none that holds keys."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.paths import holds_keys
from orchestrator.squad.given import FILE_BYTES, IMAGE_BYTES, InputType, secret
from orchestrator.squad.given_values import RawInput, UnreadInput
from orchestrator.squad.spec import InputSpec
from providers.documents.problems import nearest
from providers.documents.unicode import printable

_LITERAL = "@@ is a plain @"
_MISSING = dict.fromkeys(("file", "image"), "a path counts from the folder that you are in; - reads what is piped in")
SHOWN = 200
"""Characters of a path that a message has room for."""
NEIGHBOURS = 2000
"""Names of a folder among which a missing file's is looked for."""


def read_given(path: str | Path, kind: InputType) -> RawInput | UnreadInput:
    """Return what a file holds, or why it cannot be given to an input of this type. A pipe counts as a file."""
    file = Path(path).expanduser() if str(path).startswith("~") else Path(path)
    shown = printable(str(path)[:SHOWN])
    try:
        if holds_keys(str(file)) or holds_keys(str(file.resolve())):
            return secret(shown)
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            return UnreadInput(f"'{shown}' is a folder", "give one file of it")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            return UnreadInput(f"'{shown}' is a device, not a file")
        cap = cap_of(kind)
        with file.open("rb") as opened:
            data = opened.read(cap + 1)
    except FileNotFoundError:
        return UnreadInput(f"there is no file '{shown}'", _near(file) or _MISSING.get(kind, _LITERAL))
    except (OSError, ValueError, RuntimeError) as error:
        return UnreadInput(f"'{shown}' cannot be read: {getattr(error, 'strerror', None) or error}")
    return too_large(shown, cap) if len(data) > cap else RawInput(file.name, data)


def cap_of(kind: InputType) -> int:
    """Return how many bytes an input of this type may have."""
    return IMAGE_BYTES if kind == "image" else FILE_BYTES


def too_large(shown: str, cap: int) -> UnreadInput:
    return UnreadInput(f"'{shown}' has more than {cap / 1_000_000:g} MB, which is the most an input may have")


def _near(file: Path) -> str:
    try:
        with os.scandir(file.parent) as found:
            names = [entry.name for entry, _ in zip(found, range(NEIGHBOURS), strict=False)]
    except OSError:
        return ""
    hint = nearest(file.name, names)
    return hint if hint.startswith("did you mean") else ""


def read_paths(declared: Mapping[str, InputSpec], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with what the files hold that were given as a `Path`."""
    return {
        name: read_given(value, declared[name].type) if isinstance(value, Path) and name in declared else value
        for name, value in given.items()
    }


def read_named(declared: Mapping[str, InputSpec], given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return inputs that stand in a document, with what its texts name as files, from the `folder` that it lies in.

    Only for a file and an image `@notes.md` is a name, and `@@` an `@`; any other text is what it says.
    """

    def read(name: str, value: Any) -> Any:
        kind = declared[name].type if name in declared else "string"
        if kind not in ("file", "image") or not isinstance(value, str) or not value.startswith("@"):
            return value
        return value[1:] if value.startswith("@@") else read_given(_from(folder, value[1:]), kind)

    return {name: read(name, value) for name, value in given.items()}


def _from(folder: Path, path: str) -> str | Path:
    return path if path.startswith("~") else folder / path


def unfit_below(folder: Path, path: str) -> str:
    """Return why a file that a squad itself names is not read, empty where it may be.

    It lies below the folder of the squad, links resolved, and holds no keys: a squad of a stranger must not hand the
    rest of the disk to a model.
    """
    file = folder / path
    try:
        if Path(path).is_absolute() or not file.resolve().is_relative_to(folder.resolve()):
            return "it lies outside the squad's folder"
        if file.is_fifo():
            return "it is a pipe, which would be waited for"
        return (
            "it holds keys, which no model may read" if holds_keys(str(file)) or holds_keys(str(file.resolve())) else ""
        )
    except (OSError, ValueError, RuntimeError) as error:
        return str(error)


def read_default(folder: Path, path: str, kind: InputType) -> RawInput | UnreadInput:
    """Return the file that stands in a squad as the default of an input: below the folder of the squad."""
    if why := unfit_below(folder, path):
        return UnreadInput(f"'{path}' cannot be the default: {why}", "a default is a file below the squad's folder")
    return read_given(folder / path, kind)
