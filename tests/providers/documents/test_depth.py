"""Our own limit of nesting holds before any that the parser has."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers.documents.depth import too_deep
from tests.deep_yaml import DEEP, NAMES


def error_of(text: str) -> yaml.YAMLError | None:
    try:
        for _ in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            pass
    except yaml.YAMLError as error:
        return error
    return None


@pytest.mark.parametrize("text", DEEP, ids=NAMES)
def test_the_place_is_that_of_the_first_level_too_many(text: str):
    if error := error_of(text):
        event = too_deep(text, 50, error)
        assert event is not None
        assert (event.start_mark.line + 1, event.start_mark.column + 1) == DEEP[text]


@pytest.mark.parametrize("text", ["[" * 50, "[" * 50 + "}", "[[]]" * 60, "[]\n" * 60, "- [a, {b: c}]\n" * 60 + "]"])
def test_what_nests_less_passes(text: str):
    assert (error := error_of(text))
    assert too_deep(text, 50, error) is None


@given(st.text(alphabet="[]{}:,-? a\n&*'\"", max_size=80), st.integers(0, 5))
def test_what_stands_behind_the_error_does_not_count(text: str, levels: int):
    if error := error_of(text):
        event = too_deep(text, levels, error)
        assert event is None or event.start_mark.index < error.problem_mark.index
