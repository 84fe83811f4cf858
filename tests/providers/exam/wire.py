"""What each dialect says on the wire of one short answer, in parts."""

from __future__ import annotations

import json
from typing import Any

TEXT = "Hello there."


def event(value: Any, name: str = "") -> bytes:
    lines = f"event: {name}\n" if name else ""
    return f"{lines}data: {json.dumps(value)}\n\n".encode()


def spoken(dialect: str, text: str = TEXT) -> bytes:
    """Return the part of a stream that speaks."""
    if dialect == "openai-chat":
        return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
    if dialect == "gemini":
        return event({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]})
    usage = {"input_tokens": 12, "output_tokens": 1}
    return b"".join(
        event(each, each["type"])
        for each in (
            {"type": "message_start", "message": {"content": [], "stop_reason": None, "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": 0},
        )
    )


def finished(dialect: str) -> bytes:
    """Return what says why a stream ended."""
    if dialect == "openai-chat":
        return event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if dialect == "gemini":
        usage = {"promptTokenCount": 12, "candidatesTokenCount": 7}
        return event({"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": usage})
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    return event(stop, "message_delta")


USAGE = event({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 7}})
DONE = b"data: [DONE]\n\n"
OVER = {
    "openai-chat": USAGE + DONE,
    "anthropic-messages": event({"type": "message_stop"}, "message_stop"),
    "gemini": b"",
}
"""What stands behind the reason."""


def body(dialect: str, text: str = TEXT) -> bytes:
    """Return a whole answer."""
    if dialect == "openai-chat":
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 12, "completion_tokens": 7}}).encode()
    if dialect == "gemini":
        found = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 12, "candidatesTokenCount": 7}
        return json.dumps({"candidates": [found], "usageMetadata": usage}).encode()
    said = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
    return json.dumps({**said, "stop_reason": "end_turn", "usage": {"input_tokens": 12, "output_tokens": 7}}).encode()
