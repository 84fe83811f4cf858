"""The strict YAML reader: what scalars mean, where things stand, what is refused and how soon."""

from __future__ import annotations

import contextlib
import math
import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.documents.nodes import Node
from providers.documents.problems import SpecError
from providers.documents.scalars import scalar, write_tree
from providers.documents.yaml import (
    MAX_BYTES,
    MAX_NODES,
    decode,
    read_mapping,
    read_packaged,
    read_text,
    read_tree,
)
from tests.deep_yaml import DEEP, NAMES


def load(path: Path | str) -> Node:
    return read_tree(read_text(path), str(path))


def refused(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(SpecError) as caught:
        read_tree(text, "t.yaml")
    return [(p.line, p.column, p.code) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(word, True) for word in ("true", "True", "TRUE")],
        *[(word, False) for word in ("false", "False", "FALSE")],
        *[(word, None) for word in ("", "~", "null", "Null", "NULL")],
        *[(word, word) for word in ("yes", "No", "on", "off", "y", "n", "tRUE", "nUll", "none")],
        *[
            (word, word)
            for word in ("12:30", "2024-01-01", "0123", "-07", "1_000", "0b1", "1.2.3", "+", "-", ".", "0x")
        ],
        ("0", 0),
        ("-7", -7),
        ("+12", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("12e03", 12000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("9" * 5000, math.inf),
    ],
)
def test_scalars_are_yaml_1_2(text: str, value: object) -> None:
    got = scalar(text)
    assert got == value
    assert type(got) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(scalar(".nan"))  # type: ignore[arg-type]


def test_quotes_make_text() -> None:
    tree = read_tree("""[1, '1', "true", |\n  2\n]""".replace("|\n  2\n", "'2'"), "t.yaml")
    assert tree.plain() == [1, "1", "true", "2"]


def test_marks_count_characters_from_one() -> None:
    tree = read_tree("größe: 1\n😀b: é  # c\nl:\n  - x\n", "t.yaml")
    assert tree.keys["😀b"][:3] == (2, 1, 2)
    assert tree.at(["😀b"]).mark[:3] == (2, 5, 1)
    assert tree.at(["l", 0]).mark[:3] == (4, 5, 1)
    assert tree.at(["l", 1]) is None
    assert tree.at(["größe", "x"]) is None


def test_a_byte_order_mark_counts_no_column() -> None:
    assert read_tree("\ufeffa: 1", "t.yaml").keys["a"][:2] == (1, 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    tree = read_tree(end.join(["a: 1", "b:", "  c: 2"]), "t.yaml")
    assert tree.at(["b", "c"]).mark[:2] == (3, 6)
    assert tree.source.lines == ("a: 1", "b:", "  c: 2")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("k: say ${{ x }}", 1, 12),
        ("k: &a say ${{ x }}", 1, 15),
        ("k: 'it''s ${{ x }}'", 1, 15),
        (r'k: "tab\t \u00e9 ${{ x }}"', 1, 22),
        ("k: |\n  one\n  ${{ x }}\n", 3, 7),
        ("k: >-\n  one\n\n  two ${{ x }}\n", 4, 11),
        ("k: one\n  two ${{ x }}\n", 2, 11),
        ('k: "one\n  two \\\n  ${{ x }}"', 3, 7),
    ],
)
def test_a_place_inside_a_text(text: str, line: int, column: int) -> None:
    node = read_tree(text, "t.yaml").at(["k"])
    assert node is not None
    assert node.place(node.value.index("x"), 1)[:3] == (line, column, 1)  # type: ignore[union-attr,call-arg,arg-type]


def test_all_that_leaves_the_rest_readable_is_reported_at_once() -> None:
    text = "a: 1\na: 2\n1: x\n? [k]\n: v\nb: !t x\n<<: {c: 1}\nd: *no\ne: &e [*e]\n"
    assert refused(text) == [
        (2, 1, "duplicate-key"),
        (3, 1, "bad-key"),
        (4, 3, "bad-key"),
        (6, 4, "tag"),
        (7, 1, "merge-key"),
        (8, 4, "unknown-alias"),
        (9, 8, "recursive-alias"),
    ]


def test_a_duplicate_key_names_the_first_line() -> None:
    with pytest.raises(SpecError, match="'a' appears again; it is already on line 1"):
        read_tree("a: 1\nb: 2\na: 3\n", "t.yaml")


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read_tree("'<<': 1", "t.yaml").plain() == {"<<": 1}


def test_aliases_are_values() -> None:
    tree = read_tree("a: &x {k: [1]}\nb: *x\nc: &x 2\nd: *x\n*x : 3\n", "t.yaml", found := [])
    assert tree.plain() == {"a": {"k": [1]}, "b": {"k": [1]}, "c": 2, "d": 2}
    assert [p.code for p in found] == ["bad-key"]


def test_directives_are_fine() -> None:
    assert read_tree("%YAML 1.2\n---\na: 1\n...\n", "t.yaml").plain() == {"a": 1}


@pytest.mark.parametrize("text", DEEP, ids=NAMES)
def test_depth_ends_reading_at_once(text: str) -> None:
    began = time.process_time()
    assert refused(text) == [(*DEEP[text], "too-large")]
    assert time.process_time() - began < 0.5


def test_depth_is_told_with_what_helps() -> None:
    with pytest.raises(SpecError) as caught:
        read_tree("[" * 1500, "t.yaml")
    (problem,) = caught.value.problems
    assert problem.message == "the file has more than 50 levels"
    assert problem.hint == "put fewer lists and mappings inside each other"


def test_a_mistake_behind_sound_depth_is_told_as_itself() -> None:
    assert refused("a: " + "[" * 40 + "}") == [(1, 44, "bad-yaml")]


@pytest.mark.parametrize(
    "text", ["[" * 50 + "}", "[[]]" * 60, "[]\n" * 60, "- [a, {b: c}]\n" * 60 + "]", "[" * 50 + "}" + "[" * 60]
)
def test_a_mistake_in_what_nests_less_is_told_as_itself(text: str) -> None:
    assert [code for *_, code in refused(text)] == ["bad-yaml"]


def test_an_alias_bomb_ends_reading_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 20))
    assert refused(bomb) == [(5, 10, "too-large")]


def test_aliases_cannot_hide_depth() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
    assert [code for *_, code in refused(chain)] == ["too-large"]


def test_values_are_capped() -> None:
    flat = "\n".join(f"k{i}: {i}" for i in range(MAX_NODES - 1))
    assert len(read_tree(flat, "t.yaml").plain()) == MAX_NODES - 1
    assert [code for *_, code in refused(flat + "\nx: 1")] == ["too-large"]


@pytest.mark.long
def test_bytes_are_capped(tmp_path: Path) -> None:
    assert refused("é" * (MAX_BYTES // 2 + 1)) == [(1, 1, "too-large")]
    for letter in ("x", "é", "語"):
        big = tmp_path / "big.yaml"
        big.write_text(letter * (MAX_BYTES + 9), "utf-8")
        with pytest.raises(SpecError, match="too-large"):
            load(big)


@pytest.mark.parametrize(
    ("data", "line", "column", "code"),
    [
        (b"a: 1\nb: \xff\n", 2, 4, "not-utf8"),
        ("a: é\nbc: ".encode() + b"\xe9", 2, 5, "not-utf8"),
        ("a: 1".encode("utf-16"), 1, 1, "not-utf8"),
        (b"a: \x00", 1, 4, "control-character"),
        (b"a: \x1b[31m", 1, 4, "control-character"),
        ("a: x\u0085y".encode(), 1, 5, "control-character"),
        ("a: 1\n\ufeffb: 2".encode(), 2, 1, "control-character"),
        (b"", 1, 1, "empty-file"),
        (b"\xef\xbb\xbf", 1, 1, "empty-file"),
        (b"---\n...\n", 1, 1, "empty-file"),
        (b"a: 'x\ny: z\n", 1, 4, "bad-yaml"),
        (b"a: x\n  b: y\n", 2, 4, "bad-yaml"),
        (b"%YAML 3.0\n---\na: 1\n", 1, 1, "bad-yaml"),
    ],
)
def test_files_that_are_no_yaml(tmp_path: Path, data: bytes, line: int, column: int, code: str) -> None:
    file = tmp_path / "t.yaml"
    file.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load(file)
    assert [(p.line, p.column, p.code) for p in caught.value.problems] == [(line, column, code)]
    assert caught.value.problems[0].file == str(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "a second ': ' on the line"),
        ("name:x\nagents: y\n", "a space is missing behind this ':'"),
        ("t:\n  a:x\n  b: y\n", "a space is missing behind this ':'"),
        ("t:\n  a: x\n    b: y\n", "a field may not be indented deeper than the value above it"),
        ("a: x\r\n  b: y\r\n", "a field may not be indented deeper than the value above it"),
        ("a:\n\tb: 1\n", "a tab may not indent"),
        ("a:\n  b:\n    c: 1\n\td: 2\n", "a tab may not indent"),
        ("a: [\n", "the text ends before a '[' or '{' is closed"),
        ("a: {b: [1,\n", "the text ends before a '[' or '{' is closed"),
        ("a: [,]\n", "a value is missing here"),
        ("a: @x\n", "a value may not start with @"),
        ('a: "\\q"\n', "a backslash sequence that YAML does not know"),
        ("a: 'x\n", "the quote that opens here is never closed"),
    ],
)
def test_mistakes_of_writing_are_told_in_words_for_people(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_tree(text, "t.yaml")
    assert [p.message for p in caught.value.problems] == [message]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.yaml", tmp_path / "a\0b"):
        with pytest.raises(SpecError, match="unreadable-file"):
            load(path)


def test_a_mapping_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("\ufeffa: {b: 1}\n", "utf-8")
    tree = read_mapping(file)
    assert tree.plain() == {"a": {"b": 1}}
    file.write_text("- a\n", "utf-8")
    with pytest.raises(SpecError, match="must be a mapping"):
        read_mapping(file)


texts = st.text(st.sampled_from("ab1:-?[]{},&*!|>'\"%@`#~<\\ \n\t\r😀é0.xu"), max_size=60)


@given(texts)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tree = read_tree(text, "t.yaml")
    except SpecError:
        return
    assert read_tree(write_tree(tree.plain()), "again.yaml").plain() == tree.plain()


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(SpecError):
        read_tree(decode(data, "t.yaml"), "t.yaml")


words = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@example({"a": "1e3", "0o17": "0x1", "yes": "<<", "<<": [True, 1e22, -0.0, "\x85\u2028\ufeff\x07"]})
@given(st.dictionaries(words, values, min_size=1, max_size=4))
def test_what_is_written_reads_back(value: dict) -> None:
    assert read_tree(write_tree(value), "t.yaml").plain() == value


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_quoted_text_comes_back(text: str) -> None:
    escaped = "".join(f"\\U{ord(character):08x}" for character in text)
    assert read_tree(f'k: "{escaped}"', "t.yaml").plain() == {"k": text}


ROOT = Path(__file__).parents[3]
PACKAGED = [ROOT / "providers/policy/agent_routing.yaml", *sorted((ROOT / "personas/library").glob("*.yaml"))]


@pytest.mark.parametrize("file", PACKAGED, ids=[file.stem for file in PACKAGED])
def test_packaged_files_mean_to_the_strict_reader_what_they_mean_to_the_fast_one(file: Path) -> None:
    assert read_packaged(file) == load(file).plain()


def test_the_packaged_catalog_has_nothing_that_the_strict_reader_refuses_but_merge_keys() -> None:
    file, found = ROOT / "providers/catalog/catalog.yaml", []
    strict = read_tree(read_text(file), str(file), found).plain()
    assert {p.code for p in found} == {"merge-key"}
    assert not differing(strict, read_packaged(file))


def differing(strict: object, fast: object) -> bool:
    """Whether two trees differ in anything but keys that were merged in; dates are text to the strict reader."""
    if isinstance(strict, dict) and isinstance(fast, dict):
        return any(differing(value, fast[key]) for key, value in strict.items())
    if isinstance(strict, list) and isinstance(fast, list):
        return len(strict) != len(fast) or any(map(differing, strict, fast))
    return strict != (str(fast) if isinstance(fast, date) else fast)
