"""What `-i` and `--inputs` take: texts, files, standard input."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)
SQUAD = """\
name: looks
inputs:
  diff: {type: file}
  photo: {type: image}
  text: {default: none}
  config: {type: object, default: {a: 1}}
  names: {type: list, default: []}
agents: {ann: {instructions: "You look."}}
tasks:
  look: {agent: ann, description: "${{ inputs.diff }} ${{ inputs.photo }} ${{ inputs }}"}
outputs:
  all: "${{ inputs.diff.name }}|${{ inputs.diff }}|${{ inputs.text }}|${{ inputs.config.a }}|${{ inputs.names }}"
"""
GIVEN = ("-i", "diff=@a.diff", "-i", "photo=@x.png")


@pytest.fixture
def looks(folder: Path) -> Path:
    (folder / "looks.yaml").write_text(SQUAD)
    (folder / "a.diff").write_text("+ ${{ inputs.text }}\n")
    (folder / "x.png").write_bytes(PNG)
    return folder


def outputs(call, *arguments: str) -> str:
    made = call("run", "looks.yaml", "--offline", *arguments)
    assert made.code == 0, made.err
    return made.out


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ((), "a.diff|+ ${{ inputs.text }}\n|none|1|[]"),
        (("-i", "diff=a.diff", "-i", "text=@@ann"), "a.diff|+ ${{ inputs.text }}\n|@ann|1|[]"),
        (("-i", "config={a: [2]}", "-i", "names=[x, y z]"), 'a.diff|+ ${{ inputs.text }}\n|none|[2]|["x", "y z"]'),
        (("-i", "names=@a.diff", "-i", "text=@a.diff"), None),
    ],
)
def test_an_input_is_a_text_a_file_or_yaml(looks, call, more, expected) -> None:
    made = outputs(call, *GIVEN, *more)
    assert expected is None or expected in made


def test_standard_input_is_read_for_one_input(looks, spawn) -> None:
    made = spawn("run", "looks.yaml", "--offline", "-i", "photo=@x.png", "-i", "diff=-", stdin="+ Zoë\n".encode())
    assert made.returncode == 0, made.stderr
    assert "stdin|+ Zoë\n|none" in made.stdout.decode()
    twice = spawn("validate", "looks.yaml", "-i", "photo=@x.png", "-i", "diff=-", "-i", "text=-", stdin=b"x")
    assert twice.returncode == 1
    assert b"standard input is read once, and 'diff' has it" in twice.stdout


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal of its own; run it on Linux or macOS")
def test_a_terminal_is_not_waited_for(looks, call, monkeypatch) -> None:
    _, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        made = call("validate", "looks.yaml", *GIVEN, "-i", "text=-")
    assert "standard input is a terminal" in made.out


def test_a_file_of_inputs_names_files_from_where_it_lies(looks, call) -> None:
    (looks / "sub").mkdir()
    (looks / "sub" / "b.diff").write_text("- b\n")
    given = {"diff": "@b.diff", "photo": "@../x.png", "text": "@ann", "config": {"a": 3}}
    (looks / "sub" / "given.json").write_text(json.dumps(given))
    assert "b.diff|- b\n|@ann|3|[]" in outputs(call, "--inputs", "sub/given.json")
    (looks / "sub" / "given.json").write_text(json.dumps({**given, "diff": "@@own text"}))
    assert "diff|@own text|@ann" in outputs(call, "--inputs", "sub/given.json")


def test_all_that_cannot_be_read_is_told_at_once(looks, call) -> None:
    (looks / ".env").write_text("KEY=1")
    made = call(
        "validate", "looks.yaml", "-i", "diff=@b.diff", "-i", "photo=a.diff", "-i", "text=@.env", "-i", "names=@"
    )
    assert made.code == 1
    for words in ("there is no file 'b.diff'", "'a.diff' is not PNG", "'.env' holds keys", "no file is named"):
        assert words in made.out
    assert "looks.yaml:3:3" in made.out


def test_a_recorded_run_needs_its_files_no_more(looks, call) -> None:
    before = outputs(call, *GIVEN, "--run-id", "one", "--db", "j.db")
    (looks / "a.diff").unlink()
    (looks / "x.png").unlink()
    assert call("runs", "replay", "one", "--db", "j.db").code == 0
    made = call("runs", "fork", "one", "--from", "look", "--run-id", "two", "--db", "j.db")
    assert (made.code, made.out) == (0, before)


def test_another_image_of_the_same_name_is_another_input(looks, call) -> None:
    outputs(call, *GIVEN, "--run-id", "one", "--db", "j.db")
    again = call("runs", "fork", "one", *GIVEN, "--db", "j.db", "--dry-run")
    assert "nothing of one would run again" in again.err
    (looks / "x.png").write_bytes(PNG[:-1] + b"x")
    edited = call("runs", "fork", "one", *GIVEN, "--db", "j.db", "--dry-run")
    assert (edited.code, "look" in edited.out, "input photo" in edited.out) == (0, True, True)


def test_a_file_is_no_default_of_the_squad_that_config_prints(looks, call) -> None:
    made = call("config", "looks.yaml", *GIVEN, "-i", "text=@a.diff", "-i", "names=[a]")
    assert made.code == 0
    (looks / "made.yaml").write_text(made.out)
    assert "the default of 'diff' stays" in made.err
    again = call("config", "made.yaml")
    assert (again.out, "+ ${{ inputs.text }}" in again.out) == (made.out, True)


def test_a_dry_run_shows_who_has_no_persona(looks, call) -> None:
    made = call("run", "looks.yaml", *GIVEN, "--dry-run", "--offline")
    assert ["ann", "-", "default"] in [line.split()[:3] for line in made.out.splitlines()]
    document = json.loads(call("run", "looks.yaml", *GIVEN, "--dry-run", "--offline", "--json").out)
    assert document["agents"][0]["persona"] is None


def test_the_rows_of_a_table_are_a_list(looks, call) -> None:
    (looks / "people.csv").write_text('name,note\nZoë,"a, b"\n', "utf-8")
    assert '|[{"name": "Zoë", "note": "a, b"}]' in outputs(call, *GIVEN, "-i", "names=@people.csv")


@pytest.mark.parametrize("name", ["names", "config"])
def test_a_file_that_is_named_without_its_mark_is_told(looks, call, name) -> None:
    (looks / "a.json").write_text("[]")
    made = call("run", "looks.yaml", "--offline", *GIVEN, "-i", f"{name}=a.json")
    assert made.code == 1
    assert f"input '{name}': 'a.json' is a text, and a file has this name" in made.err
    assert f"-i {name}=@a.json reads the file" in made.err
    assert '|["b.json"]' in outputs(call, *GIVEN, "-i", "names=b.json")
    assert '|["a.json"]' in outputs(call, *GIVEN, "-i", "names=[a.json]")
