"""What a tool returned is told in bounded text, whatever it is: values as people's functions return them."""

from __future__ import annotations

import json
import tracemalloc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, field_serializer
from pydantic_core import PydanticSerializationError

from agents.results import CYCLE, MAX_DEPTH, TOO_DEEP, told


class Colour(Enum):
    RED = "red"


class Report(BaseModel):
    day: date
    secret: str = "x"

    @field_serializer("secret")
    def _hidden(self, _: str) -> str:
        return "***"


@dataclass
class Row:
    report: Report


def ring() -> list[Any]:
    made: list[Any] = []
    made.append({"inner": made})
    return made


DAY = Report(day=date(2026, 1, 2))
TOLD = {"day": "2026-01-02", "secret": "***"}


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, {"a": [1, 2.5, None, True, "é"]}),
        (DAY, TOLD),
        ([Row(DAY)], [{"report": TOLD}]),
        (
            {Colour.RED: Colour.RED, 3: {1}, (1, 2): (1,), None: 0},
            {"Colour.RED": "red", "3": [1], "(1, 2)": [1], "null": 0},
        ),
        (MappingProxyType({"a": frozenset({1})}), {"a": [1]}),
        ({"a": deque([1])}, {"a": [1]}),
        (map(str, [1, 2]), ["1", "2"]),
        (ring(), [{"inner": CYCLE}]),
        ([b"text", b"\xff"], ["text", "[bytes that are no text: 1 bytes, which cannot be shown]"]),
        ([DAY, DAY], [TOLD, TOLD]),  # twice is no cycle
        ([10**50_000], ["[a whole number of about 50,000 digits]"]),
        ([{}, [], ""], [{}, [], ""]),
    ],
)
def test_plain_values_are_json_and_odd_ones_are_told_in_words(value: Any, says: Any) -> None:
    assert json.loads(told(value, 1000)) == says


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 1992, "[a PNG image: 2,000 bytes, which cannot be shown]"),
        (memoryview(b"RIFF1234WEBP"), "[a WebP image: 12 bytes, which cannot be shown]"),
        (b"a\0b", "[bytes that are no text: 3 bytes, which cannot be shown]"),
        (("é" * 900).encode(), "é" * 99 + "\n[cut: the first 99 characters of 404]"),
        ("plain", "plain"),
        (float("nan"), "NaN"),
        (None, "null"),
    ],
)
def test_bytes_are_told_as_what_they_are(value: Any, says: str) -> None:
    shown = told(value, 100)
    assert shown == says or shown.startswith("é" * 99 + "\n[cut: the first 99 characters")


def test_what_is_nested_without_end_has_one() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert told(deep, 10_000) == "[" * MAX_DEPTH + f'"{TOO_DEEP}"' + "]" * MAX_DEPTH


def test_no_more_is_made_than_is_told() -> None:
    taken: list[int] = []

    def rows() -> Iterator[str]:
        for number in range(10**9):
            taken.append(number)
            yield "x" * 100

    huge = ["y" * 1000] * 10**6  # a gigabyte as JSON
    tracemalloc.start()
    assert told(rows(), 1000).endswith("[cut: the first 999 characters; there is more]")
    assert told(huge, 1000).startswith('["yyy')
    assert told({"a": "z" * 10**6, "b": object()}, 1000).startswith('{"a": "zzz')
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(taken) < 20
    assert peak < 3_000_000


def test_what_is_no_data_raises() -> None:
    with pytest.raises(PydanticSerializationError, match="object"):
        told({"a": object()}, 100)
