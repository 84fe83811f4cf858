"""The rows of a CSV text, each a mapping by the names in its first line. Pure."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

MOST_ROWS = 100_000
MOST_COLUMNS = 1_000
MOST_CELLS = 2_000_000
"""Rows times columns: what a text of many short lines grows to."""
DELIMITERS = ",;\t|"


def csv_rows(text: str, delimiter: str = "") -> list[dict[str, str]]:
    """Return the rows of a CSV text whose first line names its columns. All cells are text.

    Without a `delimiter` it is the one of `,`, `;`, tab and `|` that the first line has most of. Empty lines are left
    out, missing cells at the end of a row are empty texts, and a column without a name is called `column_3` by its
    place. Raises `ValueError`, with the line, where a row has more cells than there are columns, two columns have one
    name, a quotation mark is not closed, or the table is larger than the caps of this module.
    """
    lines = _lines(text.removeprefix("\ufeff"), delimiter)
    header: list[str] = []
    rows: list[dict[str, str]] = []
    for line, cells in lines:
        if not header:
            header = _columns(cells)
            continue
        if any(cells[len(header) :]):
            raise ValueError(
                f"line {line} has {len(cells)} cells, but there are {len(header)} columns: "
                'put a cell that holds the delimiter into quotation marks, "like, this"'
            )
        if len(rows) == MOST_ROWS or (len(rows) + 1) * len(header) > MOST_CELLS:
            raise ValueError(f"the table is too large: at most {MOST_ROWS:,} rows and {MOST_CELLS:,} cells are read")
        rows.append({name: cells[place] if place < len(cells) else "" for place, name in enumerate(header)})
    return rows


def delimiter_of(text: str) -> str:
    """Return what separates the columns of a text's first line."""
    line = text.partition("\n")[0]
    return max(DELIMITERS, key=line.count) if any(one in line for one in DELIMITERS) else ","


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each line that is not empty, with the number of its last line in the text."""
    separator = delimiter or delimiter_of(text.lstrip("\r\n"))
    if len(separator) != 1 or separator in '"\r\n ':
        raise ValueError(f"{delimiter!r} cannot be a delimiter: it is one character, such as , or ;")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        what = "a quotation mark is not closed" if "unexpected end" in str(error) else str(error)
        raise ValueError(f"line {reader.line_num} is not CSV: {what}") from None


def _columns(cells: list[str]) -> list[str]:
    if len(cells) > MOST_COLUMNS:
        raise ValueError(f"the table has {len(cells):,} columns; at most {MOST_COLUMNS:,} are read")
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells, 1)]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{times} columns are called {name!r}: the names in the first line must differ")
    return names
