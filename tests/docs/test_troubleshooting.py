"""Each message that docs/troubleshooting.md quotes still stands in the source."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
QUOTED = [heading.strip("` ") for heading in re.findall(r"^### (`.*`)$", PAGE, re.MULTILINE)]
SHORTEST = 4
"""Characters of a part between two `...`: a shorter one is found anywhere."""


@cache
def source() -> str:
    """The source of all packages; literals that stand one below the other are joined, as Python joins them."""
    rooms = ("orchestrator", "agents", "personas", "providers")
    text = "\n".join(file.read_text("utf-8") for room in rooms for file in sorted((ROOT / room).rglob("*.py")))
    return re.sub(r"""["']\s*\n\s*[rf]?["']""", "", text)


def stable_parts(message: str) -> list[str]:
    return [part.strip(" `") for part in message.split("...") if len(part.strip(" `")) >= SHORTEST]


def test_the_page_quotes_messages():
    assert len(QUOTED) > 35
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_stands_in_the_source(message):
    parts = stable_parts(message)
    assert any(len(part) >= 8 for part in parts)
    for part in parts:
        is_there = part in source()  # apart: pytest would show the whole of it
        assert is_there, f"no message says {part!r} any more: correct docs/troubleshooting.md"
