"""What the deltas of a stream come to, beside the answer that its end gives."""

from __future__ import annotations

from collections.abc import Iterable

from providers.documents.unicode import clean_json_text
from providers.messages import Delta, FinishReason, Reasoning, ReasoningDelta, Response, TextDelta, ToolCallDelta


def assert_told(deltas: Iterable[Delta], answer: Response) -> None:
    """Assert that who joins the deltas has the answer: its text, its thoughts, and its calls in their order."""
    deltas = list(deltas)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == answer.text
    thoughts = "".join(part.text for part in answer.message.parts if isinstance(part, Reasoning))
    assert "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta)) == thoughts
    calls: dict[int, tuple[str, str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            name, arguments = calls.get(delta.index, ("", ""))
            calls[delta.index] = name + delta.name, arguments + delta.arguments
    told = [(name, clean_json_text(arguments)) for _, (name, arguments) in sorted(calls.items())]
    if answer.finish is not FinishReason.CONTENT_FILTER:  # which takes calls back
        assert told == [(call.name, call.arguments) for call in answer.tool_calls]
