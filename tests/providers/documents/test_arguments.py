"""A tool call's arguments, as models write them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.documents.arguments import history_object, read_object
from providers.messages import ToolCall

DEEP = "[" * 100_000

MEANT = [
    ("", {}),
    (" \n", {}),
    ("null", {}),
    (" null ", {}),
    ("{}", {}),
    ('"{}"', {}),
    ('"null"', {}),
    ('""', {}),
    ('"{\\"a\\": 1}"', {"a": 1}),
    (json.dumps(json.dumps(json.dumps({"a": "ü"}))), {"a": "ü"}),
    ('{"a": 1, "a": 2}', {"a": 2}),
    ('{"o": {"a": 1, "a": 2}}', {"o": {"a": 2}}),
    ('{"code": "a\n\tb"}', {"code": "a\n\tb"}),
    ('{"a": "\\ud83d"}', {"a": "\ufffd"}),
    ('{"a": "\ud83d"}', {"a": "\ufffd"}),
    ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    ('{"a\\u0000": "\x00x"}', {"a": "x"}),
    ('"{\\"a\\": \\"\\\\ud83d\\"}"', {"a": "\ufffd"}),
    ('{"a": "one\ntwo \\ud83d"}', {"a": "one\ntwo \ufffd"}),
    ('\ufeff{"a": 1}', {"a": 1}),
    ('```json\n{"a": "```"}\n```', {"a": "```"}),
    ('``` {"a": 1}```', {"a": 1}),
    ('{"a": [1, 2,\n], "b": ",}",}', {"a": [1, 2], "b": ",}"}),
    (
        "{'a': True, 'b': None, 'c': 'say \"no\", it\\'s', \"d\": \"it's\", 'e': 'None'}",
        {"a": True, "b": None, "c": 'say "no", it\'s', "d": "it's", "e": "None"},
    ),
    ("{'a': 'one\n\\ttwo \\ud83d'}", {"a": "one\n\ttwo \ufffd"}),
]
"""What a text means, though many of these are answered 400 or 500 as they stand."""

NO_OBJECT = [
    '{"city": "Ber',
    '{"a": 1',
    "{'a': 'Ber",
    "{'a': '\\x41'}",
    "{'a': 'it's'}",
    "{a: 1}",
    '{"a": 1,, "b": 2}',
    "{,}",
    "nope",
    "[]",
    '[{"a": 1}]',
    "7",
    "1.5",
    "true",
    '"words"',
    '"[1]"',
    '"{\\"a\\": "',
    '{"a": NaN}',
    '{"a": -Infinity}',
    '{"a": 1e999}',
    '{"a": ' + "9" * 5000 + "}",
    '{} {"a": 1}',
    '```json\n{"a": 1}',
    '```json\n{"a": 1}\n``` and more',
    "\ud83d",
    DEEP,
    '{"a":' * 100_000,
    '\\"' * 30_000,
    "\\'" * 30_000,
    "," * 30_000,
]


@pytest.mark.parametrize(("text", "meant"), MEANT)
def test_what_a_text_plainly_says_is_taken(text: str, meant: dict) -> None:
    assert ToolCall("1", "f", text).parse() == meant
    assert json.loads(history_object(text)[1]) == meant


@pytest.mark.parametrize("text", NO_OBJECT)
def test_nothing_is_made_up_for_what_is_no_object(text: str) -> None:
    with pytest.raises(ValueError, match=r"not JSON|not an object"):
        ToolCall("1", "f", text).parse()
    kept, written = history_object(text)
    assert json.loads(written) == kept == {"arguments": text.replace("\ud83d", "\ufffd")}


@pytest.mark.parametrize(
    "text", ['{"at":  1.50, "big": 123456789012345678901234567890}', '{ "b": "a\\nb", "a": [null, true, 1E2] }', "{}"]
)
def test_a_sound_object_stays_as_it_was_written(text: str) -> None:
    assert read_object(text)[1] == text


def _pairs_are_unique(items: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(items)) == len(items)
    return dict(items)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.integers(0, 40), st.text(max_size=5), st.integers(0, 3))
def test_any_text_goes_out_as_an_object(value: object, cut: int, behind: str, wrapped: int) -> None:
    text = json.dumps(value, ensure_ascii=wrapped % 2 == 0)
    for _ in range(wrapped):
        text = json.dumps(text)
    for each in (text, text[:cut], text + behind, behind):
        kept, written = history_object(each)
        found = json.loads(
            written.encode(), object_pairs_hook=_pairs_are_unique, parse_constant=pytest.fail, parse_float=float
        )
        assert found == kept
        assert isinstance(found, dict)
