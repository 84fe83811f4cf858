"""Which files may be sub-squads: those beside or below the squad that names them, each once on the way down."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path

from orchestrator.squad.schemas import path_fault
from orchestrator.squad.subsquads import MOST_LEVELS, UnusableSquad


def refuse_unfit(
    path: str, file: Path, above: tuple[str, ...], *, on_disk: bool, folder: Path | None = None
) -> tuple[str, ...]:
    """Return `above`, the files of the squads around this one. Raise `UnusableSquad` where it cannot be one of theirs.

    `path` is what the innermost of them says, `file` where that is. One `on_disk` may be no link out of the `folder`.
    """
    if "${{" in path:
        hint = "choose among tasks: switch, or if"
        raise UnusableSquad("unsafe-path", "the file cannot be chosen by an expression", hint)
    if fault := path_fault(path):
        raise UnusableSquad("unsafe-path", fault.replace("the run's folder", "the folder of this file"))
    folder = _real(Path(above[-1])).parent if folder is None else _real(folder)
    if on_disk and not _real(file).is_relative_to(folder):
        raise UnusableSquad("unsafe-path", f"'{path}' is a link to a file elsewhere", "put the file beside this one")
    names = [_real(Path(one)) for one in above]
    if _real(file) in names:
        ring = [*above[names.index(_real(file)) :], str(file)]
        raise UnusableSquad("cycle", f"these files are a part of each other: {' -> '.join(ring)}")
    if len(above) >= MOST_LEVELS:
        raise UnusableSquad("unbounded", f"more than {MOST_LEVELS} files within each other: {' -> '.join(above)}")
    return above


def refuse_clashes(path: str, outer: Mapping[str, Hashable], inner: Mapping[str, Hashable]) -> None:
    """Raise `UnusableSquad` for what one run of both squads could not tell apart.

    Each maps what it has to what that is.
    """
    for what, it in inner.items():
        if outer.get(what, it) != it:
            message = f"'{path}' {what}, which is another one here"
            raise UnusableSquad("duplicate-name", message, "give one of them another name")


def _real(file: Path) -> Path:
    return Path(os.path.realpath(file))
