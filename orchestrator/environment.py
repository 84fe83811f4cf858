"""Where keys come from: the process's environment, filled up from a `.env`. Nothing is written to `os.environ`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

from providers.catalog.trust import Layered, Source, file_source
from providers.documents.problems import Problem, SpecError

ENV_FILE = ".env"
MAX_BYTES = 1 << 20
NAME = re.compile("[A-Z][A-Z0-9_]*")
WHERE_TO_LOOK = ("ORCHESTRATOR_LOCAL_SERVERS", "OLLAMA_HOST")
"""Variables that say where a model server on this machine is looked for."""


class Environment(Layered):
    """Variables, and below them those of a file: what is set wins, be it to nothing. No repr shows a value."""

    __slots__ = ("_below", "_found", "_set", "file")

    def __init__(
        self, given: Mapping[str, str], below: Mapping[str, str], file: Path, found: Mapping[str, str] | None = None
    ) -> None:
        self._set, self._below, self.file, self._found = given, below, file, found or {}

    def __getitem__(self, name: str) -> str:
        if name in self._set:
            return self._set[name]
        return self._below[name] if name in self._below else self._found[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._set
        yield from (name for name in self._below if name not in self._set)
        yield from (name for name in self._found if name not in self._set and name not in self._below)

    def __len__(self) -> int:
        return len(self._set.keys() | self._below.keys() | self._found.keys())

    def over(self, found: Mapping[str, str]) -> Environment:
        """Return the same with variables below it that nobody set, `found` by looking for what they say."""
        return Environment(self._set, self._below, self.file, {**self._found, **found})

    def is_from_file(self, name: str) -> bool:
        """Whether it is the file that says what this variable is."""
        return name in self._below and name not in self._set

    def source(self, name: str) -> Source | None:
        """Return the file where it says what a variable is, or where to look for the server that was found."""
        looked_for = name in self._found and name not in self._set and name not in self._below
        said = any(map(self.is_from_file, WHERE_TO_LOOK)) if looked_for else self.is_from_file(name)
        return file_source(self.file) if said else None

    def now(self) -> Environment:
        """Return the same with the file as it stands now. Raise `SpecError`."""
        return environment_of(self.file.parent, self._set).over(self._found)


def environment_of(folder: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Environment:
    """Return `environ` (None: this process's) with what the `.env` in `folder` (None: the working folder) adds to it.

    Pass it on as the `environ` of `open_run`, `resume_run` or `open_manager`. Without such a file nothing is added.
    Raise `SpecError` with every line that is not `NAME=value`; no message shows what a line says.
    """
    file = Path(folder or ".") / ENV_FILE
    given = os.environ if environ is None else environ
    return Environment(given, _read(file) if file.is_file() else {}, file)


def _read(file: Path) -> dict[str, str]:
    """Return what the file says. Values are taken as they stand: `$` has no meaning in a key."""
    from dotenv.parser import parse_stream  # only needed where there is such a file

    said: dict[str, str] = {}
    wrong: list[Problem] = []
    for binding in parse_stream(StringIO(_text(file))):
        written = binding.original.string
        line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if binding.error:
            wrong.append(_problem(file, line, "this is not NAME=value", "quotes must be closed, names have no spaces"))
        elif binding.key is not None and binding.value is None:
            # What is not written as variables are may be a key that stands there without its name.
            named = binding.key if NAME.fullmatch(binding.key) else "the line"
            wrong.append(_problem(file, line, f"{named} has no value", "write NAME=value"))
        elif binding.key is not None:
            said[binding.key] = binding.value or ""
    if wrong:
        raise SpecError(wrong)
    return said


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError([_problem(file, 1, f"cannot read the file: {error.strerror or error}")]) from None
    if len(data) > MAX_BYTES:
        raise SpecError([_problem(file, 1, f"the file has more than {MAX_BYTES:,} bytes")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SpecError([_problem(file, line, "this is not UTF-8", "save the file as UTF-8")]) from None


def _problem(file: Path, line: int, message: str, hint: str = "") -> Problem:
    # Without the line's text: there may be a key in it.
    return Problem(str(file), line, 1, 0, "bad-env-file", message, hint=hint)
