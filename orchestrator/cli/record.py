"""The events of the last run, kept in the state folder so that `explain` can read them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

NAME = "last-run.jsonl"


class LastRun:
    """Writes one run's events. The file appears whole by name and grows by lines; where it cannot, `warn` says so."""

    def __init__(self, state: Path, warn: Any) -> None:
        self._file: TextIO | None = None
        self._warn = warn
        fresh = state / f"{NAME}.{os.getpid()}"
        try:
            state.mkdir(parents=True, exist_ok=True)
            self._file = fresh.open("w", encoding="ascii", buffering=1)
            fresh.replace(state / NAME)
        except OSError as error:
            self._give_up(error)

    def write(self, document: Mapping[str, Any]) -> None:
        if self._file is not None:
            try:
                self._file.write(json.dumps(document) + "\n")
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _give_up(self, error: OSError) -> None:
        self._file = None
        self._warn(f"the run is not recorded, `explain` will not know it: {error}")


def read_last_run(state: Path) -> Iterator[dict[str, Any]]:
    """Yield the recorded events. A last line that was cut short is left out. Raise `FileNotFoundError` without any."""
    with (state / NAME).open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                return
