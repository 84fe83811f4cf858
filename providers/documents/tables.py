"""CSV texts: the rows of one, each a mapping by the names in its first line, and the text of such rows. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from providers.documents.values import kind_of_value

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


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)\s*")
MOST_WORDS = 3
"""Of a first line that names one column: one of more words is a sentence of a text that is no table."""
BEGINNING = 60
"""Characters of a text without a table, in the message."""


def table_in(text: str, delimiter: str = "") -> list[dict[str, str]]:
    """Return the rows of the table that a text is, or that stands in its one fence of Markdown, as models write it.

    Raises `ValueError`, with the beginning of the text, where it holds no table.
    """
    fences = list(_fences(text))
    of_tables = [inner for language, inner in fences if language in ("csv", "tsv")]
    if len(of_tables) > 1:
        raise ValueError(f"the text holds {len(of_tables)} fences of CSV: it may hold one table")
    is_alone = len(fences) == 1 and fences[0][0] in ("", "text")
    table = of_tables[0] if of_tables else fences[0][1] if is_alone else text
    try:
        first = next(filter(None, map(str.strip, table.splitlines())), "")
        if not delimiter and len(first.split()) > MOST_WORDS and not any(sign in first for sign in DELIMITERS):
            raise ValueError("its first line is a sentence, and names no columns")
        rows = csv_rows(table, delimiter)
    except ValueError as error:
        shown = " ".join(text.split())
        shown = f"{shown[:BEGINNING]}..." if len(shown) > BEGINNING else shown
        raise ValueError(f"no table can be read in the text {shown!r}: {error}") from None
    return rows


def _fences(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the inside of each fence that is closed."""
    sign, language, inner = "", "", list[str]()
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line)
        if not sign and fence is not None:
            sign, language, inner = fence[1], fence[2].lower(), []
        elif sign and fence is not None and not fence[2] and fence[1].startswith(sign):
            yield language, "\n".join(inner)
            sign = ""
        else:
            inner.append(line)


def csv_text(rows: Any, delimiter: str = ",") -> str:
    """Return the CSV text of a list of flat mappings, the opposite of `csv_rows`: the first line names the columns.

    The columns are the keys of all rows, in the order in which they occur first. Cells are text, numbers, `true` and
    `false`; none and a missing key are empty. Quotation marks are those of RFC 4180, and lines end with a line feed.
    A text that a spreadsheet takes for a formula, such as `=1+1`, stays as it is. No rows make an empty text. Raises
    `ValueError`, with the row, for what is no such list, or is larger than the caps of this module.
    """
    _check_delimiter(delimiter)
    if not isinstance(rows, list | tuple):
        raise ValueError(f"{kind_of_value(rows)} is not a table: a table is a list of mappings, one for each row")
    names: dict[str, None] = {}
    for place, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise ValueError(f"row {place} is {kind_of_value(row)}: each row of a table is a mapping, by column")
        names.update(dict.fromkeys(map(str, row)))
        if place > MOST_ROWS or len(names) > MOST_COLUMNS or place * len(names) > MOST_CELLS:
            most = f"{MOST_ROWS:,} rows, {MOST_COLUMNS:,} columns and {MOST_CELLS:,} cells"
            raise ValueError(f"the table is too large: at most {most} are written")
    if not names:
        return ""
    lines = [[_written(name, delimiter) for name in names]]
    for place, row in enumerate(rows, 1):
        by_name = {str(name): value for name, value in row.items()}
        lines.append([_written(_cell(by_name.get(name), name, place), delimiter) for name in names])
    return "".join(f"{delimiter.join(line)}\n" for line in lines)


def _cell(value: Any, name: str, place: int) -> str:
    match value:
        case str():
            return str.__str__(value)
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    raise ValueError(
        f"row {place} has {kind_of_value(value)} as {name!r}: a cell is text, a number, true, false or none"
    )


def _written(cell: str, delimiter: str) -> str:
    """Return a cell as it stands in a line. Blanks at its ends are in quotation marks: readers drop them else."""
    if cell == cell.strip() and not any(sign in cell for sign in (delimiter, '"', "\r", "\n")):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def delimiter_of(text: str) -> str:
    """Return what separates the columns of a text's first line."""
    line = text.partition("\n")[0]
    return max(DELIMITERS, key=line.count) if any(one in line for one in DELIMITERS) else ","


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each line that is not empty, with the number of its last line in the text."""
    separator = delimiter or delimiter_of(text.lstrip("\r\n"))
    _check_delimiter(separator)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        what = "a quotation mark is not closed" if "unexpected end" in str(error) else str(error)
        raise ValueError(f"line {reader.line_num} is not CSV: {what}") from None


def _check_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or delimiter in '"\r\n ':
        raise ValueError(f"{delimiter!r} cannot be a delimiter: it is one character, such as , or ;")


def _columns(cells: list[str]) -> list[str]:
    if len(cells) > MOST_COLUMNS:
        raise ValueError(f"the table has {len(cells):,} columns; at most {MOST_COLUMNS:,} are read")
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells, 1)]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{times} columns are called {name!r}: the names in the first line must differ")
    return names
