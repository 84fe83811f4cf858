"""What inputs are when they are files, images, objects and lists, and how what cannot be read is told."""

from __future__ import annotations

import base64
import copy
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.journal.codec import pack, unpack
from orchestrator.squad.given import input_value, structured
from orchestrator.squad.given_files import FILE_BYTES, read_given
from orchestrator.squad.given_values import InputFile, InputImage, RawInput, UnreadInput
from providers.messages import Image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)
CLOSED = {"properties": {"a": {}}, "additionalProperties": False}


def squad_of(declared: dict[str, Any], text: str = "${{ inputs.x }}", **more: Any) -> Squad:
    tasks = {"t": {"agent": "ann", "description": text}}
    agents = {"ann": {"role": "Looks."}}
    return Squad.from_mapping({"name": "s", "inputs": {"x": declared}, "agents": agents, "tasks": tasks, **more})


def value(declared: dict[str, Any], given: Any) -> Any:
    return squad_of(declared).plan({"x": given}).inputs["x"]


def told(declared: dict[str, Any], given: Any) -> str:
    with pytest.raises(PlanError) as caught:
        value(declared, given)
    (one,) = caught.value.problems
    assert one.code == "invalid-input"
    return f"{one.message} {one.hint}"


def test_a_file_is_its_text_and_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("\ufeffZoë\r\n{{ 1 }}\n".encode())
    made = value({"type": "file"}, tmp_path / "a.md")
    assert (made, made.name) == ("Zoë\r\n{{ 1 }}\n", "a.md")
    plan = squad_of({"type": "file"}, "${{ inputs.x.name }}: ${{ inputs.x | upper }}").plan({"x": tmp_path / "a.md"})
    assert plan.tasks["t"].work.description.render({"inputs": plan.inputs}) == "a.md: ZOË\r\n{{ 1 }}\n"


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("file", "words", "words"),
        ("file", b"words\n", "words\n"),
        ("string", b"words\r\n", "words"),
        ("integer", b" 12\n", 12),
        ("boolean", b"true\n", True),
        ("object", b'{"a": [1]}', {"a": [1]}),
        ("object", b"a: 1\nb: {c: x}\n", {"a": 1, "b": {"c": "x"}}),
        ("list", b"[1, 2]", [1, 2]),
        ("list", b"- a\n- b\n", ["a", "b"]),
        ("list", b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("list", b"one\n\n two \n", ["one", "two"]),
        ("list", b"", []),
    ],
)
def test_bytes_are_read_as_the_type_says(kind: str, given: Any, expected: Any) -> None:
    assert value({"type": kind}, given) == expected


@pytest.mark.parametrize(
    ("begin", "kind"),
    [(PNG, "png"), (b"\xff\xd8\xff\xe0", "jpeg"), (b"GIF89a", "gif"), (b"RIFF\0\0\0\0WEBPVP8 ", "webp")],
)
def test_an_image_is_known_by_its_first_bytes(begin: bytes, kind: str) -> None:
    made = value({"type": "image"}, begin)
    assert (made.media_type, made.data, made) == (f"image/{kind}", begin, "[image: x]")


def test_an_image_may_be_a_part_of_a_message_or_an_url() -> None:
    assert value({"type": "image"}, Image("image/png", PNG)).part == Image("image/png", PNG)
    assert value({"type": "image"}, f"data:image/png;base64,{base64.b64encode(PNG).decode()}").data == PNG


@pytest.mark.few(8)
@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("file", PNG, "is an image (image/png), not text declare the input as type: image"),
        ("file", b"%PDF-1.7 ...", "is a PDF"),
        ("file", b"PK\x03\x04", "is a ZIP archive"),
        ("file", b"\xff\xfea\0", "UTF-16"),
        ("file", b"a\0b", "NUL bytes"),
        ("file", b"caf\xe9", "not UTF-8 text (line 1, column 4: byte 0xe9) save it as UTF-8"),
        ("file", b"\xef\xbb\xbfcaf\xe9", "line 1, column 4"),
        ("file", "é\nöx".encode() + b"\x80", "not UTF-8 text (line 2, column 3: byte 0x80)"),
        ("file", b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\n", "holds keys"),
        ("image", b"", "is empty"),
        ("image", b"<svg/>", "not PNG, JPEG, GIF or WebP"),
        ("image", "photo.png", "a text is not an image"),
        ("image", "data:image/png;base64,?", "not base64"),
        ("object", b"[1]", "holds a list, not an object"),
        ("object", b"{", "neither JSON nor YAML"),
        ("object", "a: [", "of type object"),
        ("object", {1: 2}, "of type object"),
        ("list", b"a: 1", "holds a mapping, not a list"),
        ("list", b"[" * 99, "neither JSON nor YAML"),
        ("integer", b"1.5", "of type integer"),
        ("string", None, "given was null"),
        ("file", 12, "of type file; given was 12"),
    ],
)
def test_what_cannot_be_read_is_told(kind: str, given: Any, words: str) -> None:
    assert words in told({"type": kind}, given)


def test_a_schema_holds_for_what_is_given_and_for_the_default() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    declared = {"type": "object", "schema": schema}
    assert value(declared, {"a": 1}) == {"a": 1}
    assert "does not fit its schema: at a: 'x' is not of type 'integer'" in told(declared, {"a": "x"})
    with pytest.raises(PlanError, match="the default of 'x' does not fit its schema"):
        squad_of({**declared, "default": {}})
    with pytest.raises(PlanError, match="bad-schema"):
        squad_of({**declared, "schema": {"type": "objekt"}})


@pytest.mark.parametrize(
    ("declared", "read", "words"),
    [
        ({"type": "file"}, "inputs.x.nme", "did you mean 'name'?"),
        ({"type": "image"}, "inputs.x.data", "has no 'data'"),
        ({}, "inputs.x.name", "is text and has no 'name'"),
        (
            {"type": "object", "schema": {"properties": {"a": {}}, "additionalProperties": False}},
            "inputs.x.b",
            "no 'b'",
        ),
    ],
)
def test_what_an_input_has_not_is_told_before_a_run(declared: dict[str, Any], read: str, words: str) -> None:
    with pytest.raises(PlanError, match="unknown-attribute") as caught:
        squad_of(declared, f"${{{{ {read} }}}}")
    assert words in str(caught.value)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", ".ssh/config", "id_rsa", "server.key", "a.PEM", ".aws/credentials", ".netrc", "sub/.npmrc"],
)
def test_a_file_that_holds_keys_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("KEY=1")
    (tmp_path / "link.txt").symlink_to(tmp_path / name)
    for path in (tmp_path / name, tmp_path / "link.txt"):
        made = read_given(path, "file")
        assert isinstance(made, UnreadInput)
        assert "holds keys" in made.why


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    expected = {"nodes.md": "did you mean 'notes.md'?", ".": "is a folder", "a\0b": "cannot be read", "notes.md/x": ""}
    for name, words in expected.items():
        made = read_given(tmp_path / name, "file")
        assert isinstance(made, UnreadInput), name
        assert words in f"{made.why} {made.hint}"
    assert isinstance(read_given("/dev/zero", "image"), UnreadInput)


def test_a_file_is_read_up_to_its_cap(tmp_path: Path) -> None:
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(FILE_BYTES + 1)
    made = read_given(tmp_path / "large.txt", "file")
    assert isinstance(made, UnreadInput)
    assert "more than 16 MB" in made.why


@pytest.mark.long
def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"words",))
    writer.start()
    assert read_given(tmp_path / "pipe", "file") == RawInput("pipe", b"words")
    writer.join()


def test_a_default_is_a_file_below_the_squad(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "week.csv").write_text("a,b\n")
    (tmp_path / "other.csv").write_text("c")
    (home / "out.csv").symlink_to(tmp_path / "other.csv")
    text = (
        "name: s\ninputs: {x: {type: file, default: PATH}}\nagents: {ann: {role: Looks.}}\n"
        "tasks: {t: {agent: ann, description: '${{ inputs.x }}'}}\n"
    )
    (home / "s.yaml").write_text(text.replace("PATH", "data/week.csv"))
    squad = Squad.from_file(home / "s.yaml")
    made = squad.plan().inputs["x"]
    assert (made, made.name) == ("a,b\n", "week.csv")
    assert squad.plan({"x": "own"}).inputs["x"] == "own"
    for path in ("../other.csv", "out.csv", str(tmp_path / "other.csv"), "data/none.csv", ".env"):
        (home / "s.yaml").write_text(text.replace("PATH", path))
        squad = Squad.from_file(home / "s.yaml")  # a run whose record holds the file needs it no more
        with pytest.raises(PlanError, match="invalid-input"):
            squad.plan()
        with pytest.raises(PlanError, match="invalid-input"):
            squad.foresee()


def test_a_record_holds_files_and_images_whole() -> None:
    given = {"f": InputFile("a.md", "word " * 100), "i": InputImage("x.png", "image/png", PNG)}
    packed = pack(given)
    read = unpack(packed.data, packed.bodies.__getitem__)
    assert [(type(one), str(one), one.name) for one in read.values()] == [
        (type(one), str(one), one.name) for one in given.values()
    ]
    assert read["i"].data == PNG
    assert copy.deepcopy(given["i"]).data == PNG


def test_lists_and_objects_may_be_yaml_on_the_command_line() -> None:
    assert structured("list", "[a, b c]") == ["a", "b c"]
    assert structured("object", "{a: 1}") == {"a": 1}
    assert structured("object", "words") == "words"
    assert input_value("x", "string", InputFile("a", "b")) == "b"


def test_a_table_in_a_file_is_a_list_of_its_rows() -> None:
    rows = [{"name": "Ann", "note": "a, b"}, {"name": "王", "note": ""}]
    text = '\ufeffname,note\r\nAnn,"a, b"\r\n王,\r\n'.encode()
    assert input_value("x", "list", RawInput("people.CSV", text)) == rows
    assert input_value("x", "list", RawInput("people.tsv", b"a,b\tc\n1\t2\n")) == [{"a,b": "1", "c": "2"}]
    assert input_value("x", "list", RawInput("people.txt", b"a,b\n1,2\n")) == ["a,b", "1,2"]
    unread = input_value("x", "list", RawInput("people.csv", "name;fee\nJörg;5 €\n".encode("cp1252")))
    assert isinstance(unread, UnreadInput)
    assert "'people.csv' is not UTF-8 text (line 2, column 2: byte 0xf6)" in unread.why
    assert "CSV UTF-8" in unread.hint
    unread = input_value("x", "list", RawInput("people.csv", b"a,b\n1,2,3\n"))
    assert isinstance(unread, UnreadInput)
    assert "'people.csv': line 2 has 3 cells" in unread.why
