"""What an MCP tool answered, as the text that a model reads. Pure: parts are told by their shape alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

MOST_PARTS = 1000


def text_of(content: Sequence[Any], structured: Any) -> str:
    """Return the parts of an answer as one text. What is no text is named, with its kind and size.

    A structured answer is told as JSON, unless a text says the same, as the protocol asks servers to do.
    """
    texts = list(_told(content[:MOST_PARTS]))
    if len(content) > MOST_PARTS:
        texts.append(f"[{len(content) - MOST_PARTS} more parts are left out]")
    if structured is not None and not any(_says(text, structured) for text in texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    return "\n\n".join(texts)


def _told(content: Sequence[Any]) -> Iterator[str]:
    for part in content:
        match part.type:
            case "text":
                yield part.text
            case "image" | "audio" as kind:
                yield f"[{kind}, {part.mime_type}, {len(part.data) * 3 // 4:,} bytes: not shown]"
            case "resource":
                yield _resource(part.resource)
            case "resource_link":
                about = f": {part.description}" if part.description else ""
                yield f"[link: {part.name} <{part.uri}>{about}]"
            case kind:
                yield f"[a part of the kind {kind}: not shown]"


def _resource(resource: Any) -> str:
    text = getattr(resource, "text", None)
    if text is not None:
        return f"[{resource.uri}]\n{text}"
    size = len(getattr(resource, "blob", "")) * 3 // 4
    return f"[resource {resource.uri}, {resource.mime_type or 'of no stated kind'}, {size:,} bytes: not shown]"


def _says(text: str, structured: Any) -> bool:
    if structured == {"result": text}:  # how the protocol's Python SDK wraps the text of a function
        return True
    try:
        return bool(json.loads(text) == structured)
    except (ValueError, RecursionError):
        return False
