"""The events of the last run, kept in the state folder so that `explain` can read them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

NAME = "last-run.jsonl"


class LastRun:
    """Writes one run's events, a line each. Until the first one, the record of the run before stays.

    The file appears under its name at once and grows; where it cannot be written, `warn` says so, once.
    """

    def __init__(self, state: Path, warn: Callable[[str], None]) -> None:
        self._state = state
        self._warn = warn
        self._file: TextIO | None = None
        self._usable = True

    def write(self, document: Mapping[str, Any]) -> None:
        if not self._usable:
            return
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(json.dumps(document) + "\n")
        except OSError as error:
            self._usable = False
            self._warn(f"the run is not recorded, `explain` will not know it: {error}")

    def _open(self) -> TextIO:
        self._state.mkdir(parents=True, exist_ok=True)
        fresh = self._state / f"{NAME}.{os.getpid()}"
        file = fresh.open("w", encoding="ascii", buffering=1)
        fresh.replace(self._state / NAME)
        return file

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written is tried once more; that was told
                self._file.close()


def read_last_run(state: Path) -> Iterator[dict[str, Any]]:
    """Yield the recorded events. A last line that was cut short is left out. Raise `FileNotFoundError` without any."""
    with (state / NAME).open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                return
