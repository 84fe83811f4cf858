"""What a vendor's word for the end of an answer means. Pure, and the same for every dialect.

The rule: only a word that says so ends an answer as whole. Words are known exactly, or by what they speak of (`error`,
`limit`, `stop`), since vendors coin new ones each month. A word that says nothing of that kind leaves the answer
standing, but as LENGTH: it may be a part, and nobody takes it for the whole. A word for a failure is a failure.
Sources: docs/sources.md#finish-reasons, 2026-11.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from providers.messages import FinishReason

FAULT: Final = "fault"
"""The server gave up: what was said is not the whole."""

_KNOWN: dict[str, FinishReason | Literal["fault"]] = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    # Anthropic stops long turns of its own tools, to be sent back as they are. None are offered: it is a beginning.
    "pause_turn": FinishReason.LENGTH,
    # Qwen's and vLLM's: the engine ended an answer that repeated itself.
    "repetition": FinishReason.LENGTH,
}
# The order is the point: `content_filter_error` is a filter, `incomplete` not complete, `max_tokens_stop` no stop.
_SPEAKS_OF: tuple[tuple[FinishReason | Literal["fault"], re.Pattern[str]], ...] = (
    (
        FinishReason.CONTENT_FILTER,
        re.compile(
            r"filter|safety|refus|recitation|prohibited|block(?:list|ed)|spii|guardrail|moderat|policy|toxic|sensitiv"
        ),
    ),
    (
        FAULT,
        re.compile(
            r"error|fail|fault|abort|cancel|timed?_?out|deadline|interrupt|insufficient|resource|overload|unavailab"
            r"|disconnect|exception|preempt|kill|crash|shutdown|malformed|unexpected|invalid|closed|lost|reject|evict"
            r"|rate_limit|user|client|forced?_"
        ),
    ),
    (
        FinishReason.LENGTH,
        re.compile(r"length|max|limit|budget|context|window|exceed|incomplete|unfinish|not_|truncat|partial"),
    ),
    (FinishReason.TOOL_CALLS, re.compile(r"tool|function")),
    (FinishReason.STOP, re.compile(r"^end|_end$|stop|eos|eot|complete|finish|done|success|^(?:ok|normal)$")),
)
_SAYS_NOTHING = ("none", "null", "finish_reason_unspecified")


def word_of(value: Any) -> str:
    """Return the word, "" where there is none. What is neither is a word that nobody knows."""
    if isinstance(value, dict):  # {"type": "stop"}
        value = value.get("type") or value.get("reason")
    if value is None or value is False:
        return ""
    word = value if isinstance(value, str) else str(value)[:40]
    return "" if word.strip().lower() in _SAYS_NOTHING else word.strip()


def meaning(word: str) -> FinishReason | Literal["fault"]:
    """Return what `word` means; of one that says nothing of its kind, LENGTH."""
    if (known := _KNOWN.get(word)) is not None:
        return known
    bare = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word[:80]).lower()).strip("_")
    if (known := _KNOWN.get(bare)) is not None:
        return known
    return next((found for found, speaks in _SPEAKS_OF if speaks.search(bare)), FinishReason.LENGTH)
