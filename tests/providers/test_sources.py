"""What the code says of its sources leads somewhere, and the page forgets no provider."""

from __future__ import annotations

import re
from pathlib import Path

from providers.catalog.file import load_catalog

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sources.md").read_text("utf-8")
ANCHORS = {
    re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-") for line in PAGE.splitlines() if line[:3] == "## "
}


def test_every_heading_that_the_code_names_is_there():
    named = {
        (path.name, anchor)
        for path in (ROOT / "providers").rglob("*.py")
        for anchor in re.findall(r"docs/sources\.md#([a-z-]+)", path.read_text("utf-8"))
    }
    assert named
    assert {(name, anchor) for name, anchor in named if anchor not in ANCHORS} == set()


def test_every_provider_has_an_address_with_a_source():
    rows = PAGE.partition("## Endpoints")[2].partition("## ")[0]
    hosted = [name for name, provider in load_catalog().providers.items() if provider.base_url]
    assert [name for name in hosted if not re.search(rf"\| .*\b{name}\b", rows)] == []
