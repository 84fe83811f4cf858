"""What vendors' refusals mean, by their wording: quoted in public reports or documented, and read in every dialect.

Where the words are those that servers share, the three dialects must agree: each of them has compatible servers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from providers.adapters import HttpReply
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Provider
from providers.errors import ProviderError
from tests.providers.recordings import ADAPTERS

NOW = 1_800_000_000.0  # Friday, 2027-01-15 08:00:00 UTC
MODEL = Model("m", 8000, 1000)
DIALECTS = tuple(ADAPTERS)
ROWS = load_catalog().providers


def classified(dialect: str, status: int, body: object, headers: dict[str, str] | None = None) -> ProviderError:
    row = Provider("vendor", dialect, "https://api.test/v1", None, {"m": MODEL})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ADAPTERS[dialect].classify(HttpReply(status, headers or {}, data), Candidate(row, MODEL), NOW)


def verdict(error: ProviderError) -> str:
    """Return the class of an error, and in brackets what is to follow for the model or the account."""
    marks = [mark for mark in ("gone", "money", "edge") if getattr(error, mark, False)]
    return type(error).__name__ + "".join(f" ({mark})" for mark in marks)


def said(message: str, code: object = None, kind: str = "", param: object = None) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def cases() -> Iterator[object]:
    told = yaml.safe_load(Path(__file__).with_name("vendor_words.yaml").read_text("utf-8"))
    for wanted, refusals in told.items():
        for who, status, words in refusals:
            yield pytest.param(status, words, wanted, id=f"{who} {status}")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("status", "words", "wanted"), list(cases()))
def test_shared_words_mean_the_same_in_every_dialect(dialect, status, words, wanted):
    error = classified(dialect, status, said(words))
    assert verdict(error) == wanted
    assert error.status == status
