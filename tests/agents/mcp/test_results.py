"""What a model reads of an MCP tool's answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agents.mcp.results import text_of


@pytest.mark.parametrize(
    ("structured", "read"),
    [
        (None, "3 EUR"),
        ({"result": "3 EUR"}, "3 EUR"),  # as the Python SDK wraps what a function returns
        ({"result": "4 EUR"}, '3 EUR\n\n{"result": "4 EUR"}'),
        ({"price": "3 EUR"}, '3 EUR\n\n{"price": "3 EUR"}'),
        ({"result": "3 EUR", "vat": 1}, '3 EUR\n\n{"result": "3 EUR", "vat": 1}'),
    ],
)
def test_a_structured_answer_that_a_text_says_is_told_once(structured: object, read: str) -> None:
    assert text_of([SimpleNamespace(type="text", text="3 EUR")], structured) == read
