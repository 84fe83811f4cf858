"""What a model was asked and answered, as the GenAI conventions have it in attributes: JSON texts. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from providers.messages import Image, Message, Part, Reasoning, Request, Response, Text, ToolCall, ToolResult

Mask = Callable[[str], str]


def system_instructions(request: Request, mask: Mask) -> str:
    """Return what the model is told of its part."""
    told = [message for message in request.messages if message.role == "system"]
    return _json([_part(part, mask) for message in told for part in message.parts])


def input_messages(request: Request, mask: Mask) -> str:
    """Return what it is asked: all that was said so far."""
    return _json(_messages((one for one in request.messages if one.role != "system"), mask))


def output_messages(response: Response, mask: Mask) -> str:
    """Return what it answered."""
    (message,) = _messages([response.message], mask)
    return _json([{**message, "finish_reason": response.finish.value}])


def _messages(messages: Iterable[Message], mask: Mask) -> list[dict[str, Any]]:
    return [{"role": one.role, "parts": [_part(part, mask) for part in one.parts]} for one in messages]


def _part(part: Part, mask: Mask) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "content": mask(text)}
        case Reasoning(text):
            return {"type": "reasoning", "content": mask(text)}
        case ToolCall(ident, name, arguments):
            return {"type": "tool_call", "id": ident, "name": name, "arguments": mask(arguments)}
        case ToolResult(ident, _, content):
            return {"type": "tool_call_response", "id": ident, "response": mask(content)}
        case Image(media_type, data):  # its bytes would fill a trace, and tell nobody anything
            return {"type": "blob", "modality": "image", "mime_type": media_type, "content": f"{len(data)} bytes"}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
