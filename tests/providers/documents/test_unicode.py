"""Text that passes the door is fit for every encoder and terminal, and nothing that people write is harmed."""

from __future__ import annotations

import json
import sys
import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from providers.documents.unicode import (
    CleanStream,
    clean,
    clean_counted,
    clean_json,
    clean_json_text,
    cut,
    printable,
    utf8_decoder,
)

KEPT_CONTROLS = "\t\n\r"
BOM = "\ufeff"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
HUMAN = [
    "plain ASCII\twith tab\nand lines\r\n",
    f"families {FAMILY}, flags \U0001f1e9\U0001f1ea {SCOTLAND}, skin \U0001f44d\U0001f3fd, keycap 1\ufe0f\u20e3",
    "combining: e\u0301 a\u030a\u0323, precomposed: é ạ̊",
    "עברית \u200fRTL\u200e, العربية \u061c, نیم\u200cفاصله",
    "中文 日本語 한국어 \u1112\u1161\u11ab 𠮷野家",
    "हिन्दी क्\u200dष, தமிழ், ไทย",
    "math 𝕏 ∑ \u2062, private \ue000, noncharacter \ufffe, unassigned \U0003fffd",
]

text_with_surrogates = st.text(st.one_of(st.characters(exclude_categories=()), st.characters(categories=["Cs"])))
messy_text = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.characters(categories=["Cs", "Cc", "Cf"]),
        st.sampled_from("\x1b\x9b[]0;mPX^_\x07\\\x9c\u202e\u2066\u200d\U0001f468\u0301"),
    )
)


def is_safe(char: str) -> bool:
    category = unicodedata.category(char)
    return char in KEPT_CONTROLS or (category not in ("Cc", "Cs") and char != BOM)


def test_every_code_point_stays_or_goes_by_its_kind():
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        expected = char if is_safe(char) else "\ufffd" if 0xD800 <= code <= 0xDFFF else ""
        assert clean(char) == expected, hex(code)


@pytest.mark.long
def test_every_code_point_is_printed_or_not_by_its_kind():
    removed = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, 0xFFF9, 0xFFFA, 0xFFFB, ord("\r")}
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        expected = "" if code in removed or not is_safe(char) else char
        if 0xD800 <= code <= 0xDFFF:
            expected = "\ufffd"
        assert printable(char) == expected, hex(code)


@pytest.mark.parametrize("text", HUMAN)
def test_what_people_write_passes_untouched(text):
    assert clean(text) is text


@given(messy_text)
def test_clean_text_is_safe_and_stays_so(text):
    cleaned = clean(text)
    assert all(map(is_safe, cleaned))
    assert clean(cleaned) is cleaned
    cleaned.encode("utf-8")


@given(text_with_surrogates)
def test_surrogates_are_joined_or_counted(text):
    cleaned, replaced = clean_counted(text)
    lone = regex.sub(r"[\ud800-\udbff][\udc00-\udfff]", "", text)
    assert replaced == len(regex.findall(r"[\ud800-\udfff]", lone))
    assert cleaned.count("\ufffd") == text.count("\ufffd") + replaced


def test_a_pair_becomes_its_character():
    assert clean("a\ud83d\ude00b") == "a\U0001f600b"
    assert clean_counted("\ude00\ud83d") == ("\ufffd\ufffd", 2)
    # What stands between the halves is removed, but never makes a pair of strangers.
    assert clean("\ud83d\x00\ude00") == "\ufffd\ufffd"


@given(st.lists(text_with_surrogates))
def test_a_stream_of_pieces_cleans_to_the_same_text(pieces):
    stream = CleanStream()
    out = [stream.feed(piece) for piece in pieces]
    assert all(clean(piece) == piece for piece in out)
    assert "".join(out) + stream.finish() == clean("".join(pieces))


@given(st.text(), st.lists(st.integers(0, 400)))
def test_bytes_decode_the_same_however_they_are_split(text, cuts):
    data = text.encode("utf-8") + b"\xff\xf0\x9f"
    edges = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    decoder = utf8_decoder()
    out = "".join(decoder.decode(data[a:b]) for a, b in pairwise(edges)) + decoder.decode(b"", True)
    assert out == data.decode("utf-8", "replace")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), text_with_surrogates),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(text_with_surrogates, inner)),
    max_leaves=20,
)


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)


@given(json_values)
def test_nested_values_are_clean_in_every_string(value):
    cleaned = clean_json(value)
    assert all(clean(text) is text for text in strings_in(cleaned))
    json.dumps(cleaned, ensure_ascii=False).encode("utf-8")


@given(json_values)
def test_json_text_spells_nothing_unsafe(value):
    text = clean_json_text(json.dumps(value))
    assert all(clean(found) == found for found in strings_in(json.loads(text)))


def test_an_escaped_backslash_spells_nothing():
    text = r'{"pattern": "\\bword\\b \\u0000",  "n": 1.50}'
    assert clean_json_text(text) is text


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', '{"a": "\\ud83d', '{"big": 1e400, "emoji": "\\ud83d\\ude00"}'])
def test_json_text_without_a_lone_surrogate_means_the_same(text):
    try:
        expected = json.loads(text)
    except ValueError:
        assert clean_json_text(text) == text
    else:
        assert json.loads(clean_json_text(text)) == expected


@given(messy_text, st.integers(-1, 30))
def test_a_cut_never_splits_a_grapheme(text, limit):
    head = cut(text, limit)
    graphemes = regex.findall(r"\X", text)
    assert head == "".join(graphemes[: max(limit, 0)])


def test_a_cut_counts_what_a_reader_counts():
    assert cut(FAMILY + SCOTLAND + "e\u0301x", 3) == FAMILY + SCOTLAND + "e\u0301"
    assert cut("short", 100) == "short"


@given(messy_text)
def test_printed_text_holds_nothing_a_terminal_obeys(text):
    shown = printable(text)
    assert not regex.search(r"[\p{Cc}--[\t\n]]|\p{Cs}|[\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]", shown, regex.V1)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;ZXZpbA==\x07clip", "clip"),
        ("\x1bPq#0;2\x1b\\sixel", "sixel"),
        ("\x9b31mc1", "c1"),
        ("\x1b]0;never ends\nnext line", "\nnext line"),
        ("\x1bcreset", "reset"),
        ("over\rwrite\b\b", "overwrite"),
        ("if (admin\u202e \u2066// check\u2069\u2066)", "if (admin // check)"),
        ("tab\tand\nline", "tab\tand\nline"),
        (f"{FAMILY} עברית\u200f", f"{FAMILY} עברית\u200f"),
    ],
)
def test_terminal_tricks_become_data(text, shown):
    assert printable(text) == shown
