"""How two requests differ, field by field, as people read it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import unified_diff
from itertools import zip_longest
from typing import Any, NamedTuple

from providers.messages import Image, Message, Reasoning, Request, Text, ToolCall, ToolResult

AROUND = 2
"""Lines of context around each changed place."""
NOTHING = "(nothing)"


class Change(NamedTuple):
    """One field that is another: `messages[0] (system)`, `tools.note.description`, `temperature`."""

    field: str
    recorded: str
    now: str

    def lines(self) -> list[str]:
        """Return the change as a unified diff, or in one line where both texts are short."""
        if max(len(self.recorded), len(self.now)) <= 60 and "\n" not in self.recorded + self.now:
            return [f"{self.field}: {self.recorded or NOTHING} -> {self.now or NOTHING}"]
        before, after = self.recorded.splitlines(), self.now.splitlines()
        return [f"{self.field}:", *unified_diff(before, after, "recorded", "now", n=AROUND, lineterm="")]


def changes_between(recorded: Request, now: Request) -> list[Change]:
    """Return the fields of a request that differ; none where only who answers, or what is shortened, does."""
    pairs = [*_messages(recorded, now), *_tools(recorded, now), *_settings(recorded, now)]
    return [Change(*pair) for pair in pairs if pair[1] != pair[2]]


def _messages(recorded: Request, now: Request) -> Iterator[tuple[str, str, str]]:
    for i, (old, new) in enumerate(zip_longest(recorded.messages, now.messages)):
        roles = dict.fromkeys(message.role for message in (old, new) if message is not None)
        names = [message.name or "" for message in (old, new) if message is not None]
        yield f"messages[{i}] ({' -> '.join(roles)})", _said(old), _said(new)
        yield f"messages[{i}].name", names[0], names[-1]


def _said(message: Message | None) -> str:
    return "" if message is None else "\n".join(_shown(part) for part in message.parts)


def _shown(part: Any) -> str:
    match part:
        case Text(text):
            return text
        case Reasoning(text):
            return f"[reasoning] {text}"
        case ToolCall(name=name, arguments=arguments):
            return f"[calls {name}] {arguments}"
        case ToolResult(name=name, content=content, is_error=is_error):
            return f"[{name} {'failed' if is_error else 'answered'}] {content}"
        case Image(media_type, data):
            return f"[{media_type}, {len(data)} bytes]"
    return str(part)


def _tools(recorded: Request, now: Request) -> Iterator[tuple[str, str, str]]:
    old, new = ({tool.name: tool for tool in request.tools} for request in (recorded, now))
    for name in {**old, **new}:
        if name not in old or name not in new:
            yield f"tools.{name}", name if name in old else "", name if name in new else ""
            continue
        yield f"tools.{name}.description", old[name].description, new[name].description
        yield f"tools.{name}.parameters", _json(old[name].parameters), _json(new[name].parameters)
    if set(old) == set(new):
        yield "tools", ", ".join(old), ", ".join(new)


def _settings(recorded: Request, now: Request) -> Iterator[tuple[str, str, str]]:
    schemas = [request.output_schema for request in (recorded, now)]
    yield "output_schema", *("" if one is None else _json(one.schema) for one in schemas)  # type: ignore[misc]  # of two
    for name in ("tool_choice", "max_output_tokens", "temperature", "stop", "seed", "effort"):
        old, new = (getattr(request, name) for request in (recorded, now))
        yield name, "" if old is None else str(old), "" if new is None else str(new)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
