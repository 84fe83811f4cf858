"""Tools that read tables and JSON."""

from __future__ import annotations

import csv
import io
import json
from itertools import islice
from typing import Any

from agents.toolbox.workspace import Files, read_file_of, text_of, told_as_whose
from agents.tools import Tool, tool
from providers.documents.tables import delimiter_of

ROWS = 200


def data_tools(files: Files) -> tuple[Tool, ...]:
    """Return `read_csv` and `read_json`."""

    @tool(idempotent=True, risk="read_only")
    def read_csv(
        path: str, first_row: int = 1, rows: int = 100, columns: list[str] | None = None, delimiter: str | None = None
    ) -> Any:
        """Return rows of a CSV file whose first line names its columns: at most 200 at once, from `first_row` on."""
        text = text_of(path, read_file_of(files, path))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or delimiter_of(text))
        header = next(reader, [])
        wanted = header if columns is None else columns
        if unknown := [name for name in wanted if name not in header]:
            raise ValueError(f"{path} has no column {unknown[0]!r}; it has: {', '.join(header)}")
        places = [(name, header.index(name)) for name in wanted]
        start = max(first_row, 1) - 1
        found = [
            {name: row[place] if place < len(row) else "" for name, place in places}
            for row in islice(reader, start, start + min(max(rows, 0), ROWS))
        ]
        total = start + len(found) + sum(1 for _ in reader) if found or not start else None
        return told_as_whose(files, path, {"columns": header, "rows": found, "rows_in_all": total})

    @tool(idempotent=True, risk="read_only")
    def read_json(path: str, pointer: str = "") -> Any:
        """Return the value of a JSON file, or the part of it at a JSON pointer: /items/0/name"""
        if pointer and not pointer.startswith("/"):
            raise ValueError(f"{pointer!r} is no JSON pointer: it begins with /, as in /items/0/name")
        try:
            value: Any = json.loads(text_of(path, read_file_of(files, path)))
        except RecursionError:
            raise ValueError(f"{path} is nested too deeply") from None
        for step in pointer.split("/")[1:] if pointer else ():
            value = _inside(value, step.replace("~1", "/").replace("~0", "~"), pointer)
        return told_as_whose(files, path, value)

    return (read_csv, read_json)


def _inside(value: Any, step: str, pointer: str) -> Any:
    match value:
        case dict() if step in value:
            return value[step]
        case list() if step.isdecimal() and int(step) < len(value):
            return value[int(step)]
    raise ValueError(f"there is nothing at {pointer!r}: no {step!r}")
