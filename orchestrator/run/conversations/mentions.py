"""Whom a text mentions: `@ann`, outside of code, quotations and addresses. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.run.conversations.blocks import QUOTED, outside_blocks
from orchestrator.run.conversations.names import name_at_start
from orchestrator.squad.plan import ConversationPlan

_AT = re.compile(r"(?<![\w.@/+-])[@＠](?=[^\W_])")
NAME_CHARS = 80
MOST = 50
"""Mentions of one text that are read."""


def mentioned(text: str, plan: ConversationPlan) -> tuple[str, ...]:
    """Return which participants a text mentions, in its order: by id, by their persona's name, or by a word of it.

    A name that may mean several mentions nobody.
    """
    if "@" not in text and "＠" not in text:
        return ()
    found: dict[str, None] = {}
    for rest in _after_marks("\n".join(outside_blocks(text, plan.edition))):
        if (name := name_at_start(rest, plan)) is not None:
            found[name] = None
    return tuple(found)


def _after_marks(text: str) -> Iterator[str]:
    for number, mark in enumerate(_AT.finditer(QUOTED.sub(" ", text))):
        if number >= MOST:
            return
        yield mark.string[mark.end() : mark.end() + NAME_CHARS]
