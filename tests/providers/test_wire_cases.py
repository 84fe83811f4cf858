"""Error replies that were once read wrong, from beside the checkout: each comes out as it was wanted.

They are not the project's: absent, we skip.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from providers.adapters import HttpReply
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Provider
from tests.providers.recordings import ADAPTERS

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "wire"
if not FOLDER.is_dir():
    pytest.skip("the cases are not beside this checkout", allow_module_level=True)

NOW = 1_800_000_000.0
MODEL = Model("some-model", 8000, 1000)
ROWS = load_catalog().providers
CASES = [path for path in sorted(FOLDER.glob("*.json")) if json.loads(path.read_text("utf-8"))["kind"] == "error class"]


def row(case: dict[str, Any], *, known: bool) -> Provider:
    """Return the provider's row of the catalog, or one of which only the dialect is known."""
    plain = Provider(case["provider"], case["dialect"], "http://vendor.test", None, {MODEL.name: MODEL})
    return ROWS.get(case["provider"], plain) if known else plain


@pytest.mark.parametrize("known", [True, False], ids=["row", "dialect"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_an_error_is_what_it_was_wanted_to_be(path: Path, known: bool):
    case = json.loads(path.read_text("utf-8"))
    reply = HttpReply(case["status"], case["headers"], case["body"].encode())
    error = ADAPTERS[case["dialect"]].classify(reply, Candidate(row(case, known=known), MODEL), NOW)
    if later := re.match(r"retry_at = now \+ (\d+) s", case["want"]):
        assert error.retry_at == NOW + int(later[1])
    else:
        assert type(error).__name__ in re.match(r"[\w/]+", case["want"])[0].split("/")
