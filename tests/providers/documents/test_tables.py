"""Rows of CSV texts: how they are read, and what is told where they cannot be."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.documents.tables import MOST_COLUMNS, MOST_ROWS, csv_rows, csv_text, table_in


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("name,age\n", []),
        ("name,age\nAnn,30\nBen,\n", [{"name": "Ann", "age": "30"}, {"name": "Ben", "age": ""}]),
        ("\ufeffname;age\r\nAnn;30\r\n", [{"name": "Ann", "age": "30"}]),
        ("\n\nname\tage\n\nAnn\t30\n \t \n", [{"name": "Ann", "age": "30"}]),
        ('name,note\nAnn,"two\nlines, and ""quotes"""\n', [{"name": "Ann", "note": 'two\nlines, and "quotes"'}]),
        ('name, note\nAnn, "a, b"\n', [{"name": "Ann", "note": "a, b"}]),
        ("name,,\nAnn,b,\n", [{"name": "Ann", "column_2": "b", "column_3": ""}]),
        ("name,age\nAnn\nBen,3,,\n", [{"name": "Ann", "age": ""}, {"name": "Ben", "age": "3"}]),
        ("ñame\n王小明\nO'Neil\u2028x\n", [{"ñame": "王小明"}, {"ñame": "O'Neil\u2028x"}]),
    ],
)
def test_the_first_line_names_the_columns(text, rows):
    assert csv_rows(text) == rows


def test_a_delimiter_may_be_given():
    assert csv_rows("a#b,c\n1#2", "#") == [{"a": "1", "b,c": "2"}]


@pytest.mark.parametrize(
    ("text", "delimiter", "told"),
    [
        ("a,b\n1,2\n1,2,3\n", "", "line 3 has 3 cells, but there are 2 columns: put a cell"),
        ("a,b,a\n", "", "2 columns are called 'a'"),
        ('a,b\n1,"2\n', "", "line 2 is not CSV: a quotation mark is not closed"),
        ('a,b\n1,"2"x\n', "", "line 2 is not CSV"),
        ("a\n" + "x" * 200_000, "", "line 2 is not CSV: field larger than field limit"),
        ("a,b", "--", "'--' cannot be a delimiter"),
        ("," * MOST_COLUMNS + "a", "", "at most 1,000 are read"),
        ("a\n" + "x\n" * (MOST_ROWS + 1), "", "at most 100,000 rows"),
        (",".join(f"c{i}" for i in range(900)) + "\n" + "x\n" * 3000, "", "2,000,000 cells"),
    ],
)
def test_what_is_no_table_is_told_with_its_line(text, delimiter, told):
    with pytest.raises(ValueError, match=told):
        csv_rows(text, delimiter)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], ""),
        ([{"name": "Ann", "n": 1.5, "ok": True, "left": None}], "name,n,ok,left\nAnn,1.5,true,\n"),
        ([{"a": "x"}, {"b": "y"}], "a,b\nx,\n,y\n"),
        ([{"a": 'say "x"', "b": "two\nlines, and more"}], 'a,b\n"say ""x""","two\nlines, and more"\n'),
        ([{"a": "=1+1", "b": " x"}], 'a,b\n=1+1," x"\n'),
    ],
)
def test_a_table_is_written_as_csv(rows, text):
    assert csv_text(rows) == text


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"a": 1}, "a mapping is not a table"),
        ("a", "text is not a table"),
        ([{"a": 1}, "x"], "row 2 is text: each row of a table is a mapping"),
        ([{"a": 1}, None], "row 2 is nothing"),
        ([{"a": 1}, {"a": [1]}], "row 2 has a list as 'a': a cell is text"),
        ([{str(i): 1 for i in range(MOST_COLUMNS + 1)}], "the table is too large"),
        ([{"a": 1}] * (MOST_ROWS + 1), "the table is too large"),
    ],
)
def test_what_no_table_can_hold_is_told_with_its_row(rows, told):
    with pytest.raises(ValueError, match=told):
        csv_text(rows)


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_what_is_written_is_read_by_others_as_it_was(pairs):
    rows = [{"a": one, "b": other} for one, other in pairs]
    text = csv_text(rows)
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == rows
    assert not rows or csv_rows(text, ",") == [row for row in rows if any(cell.strip() for cell in row.values())]


FENCED = "```csv\na;b\n1;2\n```"


@pytest.mark.parametrize(
    "text",
    [
        "a;b\n1;2",
        FENCED,
        f"Here is the table:\n\n{FENCED}\n\nAsk me for more, or less.",
        FENCED.replace("csv", "").replace("\n", "\r\n"),
        FENCED.replace("```", "~~~~"),
        f"```sh\nls\n```\n{FENCED}",
    ],
)
def test_a_table_is_found_in_its_fence(text):
    assert table_in(text) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("OFFLINE STUB - no model was asked\n\nName\nAnn", "text 'OFFLINE STUB - .*its first line is a sentence"),
        ("I am sorry, I cannot.\n\nAsk a, b, or c.", "in the text 'I am sorry.*line 3 has 3 cells"),
        ("x" * 100 + ",b\n1,2,3", "in the text 'x{60}[.]{3}'"),
        (f"{FENCED}\n{FENCED}", "2 fences of CSV"),
    ],
)
def test_a_text_without_a_table_is_told_by_its_beginning(text, told):
    with pytest.raises(ValueError, match=told):
        table_in(text)


cell = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8).map(str.strip)


@given(st.lists(st.tuples(cell, cell), max_size=6))
def test_what_a_program_wrote_is_read_back(rows):
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    assert csv_rows(written.getvalue()) == [{"a": a, "b": b} for a, b in rows if a or b]
