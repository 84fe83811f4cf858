"""How a problem is shown, to people and to machines."""

from __future__ import annotations

import json

import pytest

from providers.documents.problems import CODES, Problem, in_order, nearest, to_github, to_json, to_sarif, to_text


def problem(source: str, column: int, length: int, **more: object) -> Problem:
    return Problem("sprint.yaml", 31, column, length, "unknown-field", "what is wrong", source=source, **more)  # type: ignore[arg-type]


def test_text_is_as_the_format_promises() -> None:
    message = "'agnt' is not a field of a task"
    shown = Problem(
        "sprint.yaml", 31, 5, 4, "unknown-field", message, hint="did you mean 'agent'?", source="    agnt: mary"
    )
    assert to_text([shown]) == (
        "sprint.yaml:31:5: error[unknown-field]: 'agnt' is not a field of a task\n"
        "   31 |     agnt: mary\n"
        "      |     ^^^^ did you mean 'agent'?"
    )


@pytest.mark.parametrize(
    ("source", "column", "length", "line", "caret"),
    [
        ("語: bad", 4, 3, "語: bad", "    ^^^"),
        ("a: 語語", 4, 2, "a: 語語", "   ^^^^"),
        ("😀: bad", 4, 3, "😀: bad", "    ^^^"),
        ("e\u0301: bad", 5, 3, "e\u0301: bad", "   ^^^"),
        ("\ta: bad", 5, 3, "    a: bad", "       ^^^"),
        ("a:", 3, 0, "a:", "  ^"),
        ("a: \x1b[2J\u202e", 4, 1, "a: \ufffd[2J\ufffd", "   ^"),
    ],
)
def test_the_caret_stands_below(source: str, column: int, length: int, line: str, caret: str) -> None:
    _, shown, below = to_text([problem(source, column, length)]).split("\n")
    assert shown == f"   31 | {line}"
    assert below == f"      | {caret}"


def test_long_lines_are_cut_around_the_caret() -> None:
    source = "k: " + "a" * 5000 + "bad" + "c" * 5000
    _, line, caret = to_text([problem(source, 5004, 3)]).split("\n")
    assert len(line) < 120
    at = caret.index("^")
    assert line[at : at + 3] == "bad"
    assert line.endswith("…")


def test_a_file_without_lines_has_no_caret() -> None:
    gone = Problem("no.yaml", 1, 1, 0, "unreadable-file", "cannot read the file")
    assert to_text([gone]) == "no.yaml:1:1: error[unreadable-file]: cannot read the file"


def test_json() -> None:
    [document] = json.loads(to_json([problem("x", 1, 1, hint="h")]))
    assert document == {
        "file": "sprint.yaml",
        "line": 31,
        "column": 1,
        "code": "unknown-field",
        "severity": "error",
        "message": "what is wrong",
        "hint": "h",
    }


def test_github_commands_are_escaped() -> None:
    wrong = Problem("a,b:c.yaml", 3, 2, 4, "cycle", "50%\nof it", severity="warning", hint="x: y")
    assert to_github([wrong]) == (
        "::warning file=a%2Cb%3Ac.yaml,line=3,col=2,endColumn=6,title=cycle::50%25%0Aof it (x: y)"
    )


def test_sarif() -> None:
    log = json.loads(to_sarif([problem("x", 2, 3), problem("x", 1, 0)]))
    [run] = log["runs"]
    assert log["version"] == "2.1.0"
    assert run["tool"]["driver"]["rules"] == [
        {"id": "unknown-field", "shortDescription": {"text": CODES["unknown-field"]}}
    ]
    [first, second] = run["results"]
    assert first["ruleId"] == "unknown-field"
    assert first["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "sprint.yaml"}
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 31, "startColumn": 2, "endColumn": 5}
    assert second["locations"][0]["physicalLocation"]["region"]["endColumn"] == 2


def test_nothing_wrong_is_a_document_too() -> None:
    assert to_text([]) == ""
    assert json.loads(to_json([])) == []
    assert json.loads(to_sarif([]))["runs"][0]["results"] == []


def test_each_problem_once_in_the_order_of_the_file() -> None:
    late, early = problem("x", 9, 1), problem("x", 2, 1)
    assert in_order([late, early, late]) == [early, late]


def test_the_nearest_name() -> None:
    assert nearest("Jhon", ["john", "mary"]) == "did you mean 'john'?"
    assert nearest("zzz", ["john", "mary"]) == "known here: john, mary"
    assert nearest("zzz", []) == ""
    assert nearest("zzz", [f"name{i}" for i in range(99)]) == ""
