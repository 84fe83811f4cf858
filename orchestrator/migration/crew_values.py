"""Single values of a CrewAI project: shown, and taken as far as a squad takes them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from orchestrator.migration.crew_python import PythonCode
from orchestrator.migration.notes import MigrationNotes


def number_within(value: Any, least: float, most: float) -> int | float | None:
    """Return a number of YAML that is within bounds; None for anything else, such as `true` and `.inf`."""
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_one and least <= value <= most else None


def shown(value: Any) -> str:
    """Return a value as a note shows it."""
    match value:
        case PythonCode(text=text):
            return text
        case str():
            return value if len(value) <= 60 else f"{value[:60]}…"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)[:40]
        case dict():
            return "a mapping"
        case list():
            names = [one.text if isinstance(one, PythonCode) else one for one in value]
            texts = [name for name in names if isinstance(name, str)]
            return ", ".join(texts)[:60] if len(texts) == len(value) else "a list"
    return type(value).__name__


def file_in_run(place: str, written: str, notes: MigrationNotes) -> str | None:
    """Return the path of an output file in the folder of a run's files; None where it names none."""
    path = written.replace("\\", "/")
    parts = PurePosixPath(path).parts
    is_inside = not path.startswith("/") and ".." not in parts and ":" not in (parts or ("",))[0]
    kept = str(PurePosixPath(*(part for part in parts if part != "."))) if is_inside else PurePosixPath(path).name
    kept = re.sub(r'[<>:"|?*\x00-\x1f\x7f]', "_", kept)
    if kept in ("", ".", ".."):
        notes.add("missing", f"{place}.output_file", f"{written} names no file", "output_file: NAME")
        return None
    if kept != written:
        notes.add("changed", f"{place}.output_file", f"{written} is {kept}, in the folder of the run's files")
    return kept


def once_each(tasks: Mapping[str, dict[str, Any]], notes: MigrationNotes) -> None:
    """Leave each file to the last task that writes it, whose text stood there in the end."""
    last = {fields["output_file"]: name for name, fields in tasks.items() if "output_file" in fields}
    for name, fields in tasks.items():
        if "output_file" in fields and last[fields["output_file"]] != name:
            file = fields.pop("output_file")
            told = f"{file} is written by {last[file]} later, so by that task alone"
            notes.add("changed", f"tasks.{name}.output_file", told)
