"""A transcript as the Messages dialect demands it: two roles in turn, every call answered, nothing empty.

A message's blocks are made once and kept by the message. The ids of calls and results are written later, for they must
be unique within a transcript, and vendors without ids of their own count from 0 in every answer.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from providers.adapters.anthropic.decode import REDACTED
from providers.adapters.encoding import NO_RESULT, to_json
from providers.documents.arguments import history_object
from providers.documents.unicode import clean
from providers.errors import Unsupported
from providers.messages import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult

MEDIA_TYPES = {"image/jpeg", "image/png", "image/gif", "image/webp"}
# The first words must be the user's, and the newer models answer 400 to a transcript that ends in the assistant's.
BEGIN, GO_ON = "Begin.", "Go on."

_UNANSWERED = b',"content":%b,"is_error":true' % to_json(NO_RESULT)

_fit_id = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_not_in_a_name = re.compile(r"[^a-zA-Z0-9_-]+").sub


@dataclass(frozen=True, slots=True)
class CallBlock:
    """A tool_use block but for its id on the wire. `tail` is what follows the id."""

    id: str
    tail: bytes


@dataclass(frozen=True, slots=True)
class ResultBlock:
    """A tool_result block but for the id of its call. `text` says the same where there is no such call."""

    id: str
    tail: bytes
    text: bytes


ContentBlock = bytes | CallBlock | ResultBlock
"""`bytes` are one or more blocks, joined by commas."""


def fragment(message: Message, maker: str, names: Mapping[str, str]) -> tuple[ContentBlock, ...]:
    """Return the blocks of `message`, none where it says nothing. Raise `Unsupported` for an image that can't be sent.

    Reasoning goes back only to the model that made it, `maker`, and only with its signature. `names` are
    those of tools that have another on the wire.
    """
    parts = message.parts
    if message.name is not None and message.role == "user" and any(map(_says, parts)):
        # The dialect has no field for the speaker.
        parts = (Text(f"{message.name}: "), *parts)
    groups = [list(group) for _, group in groupby(parts, type)]
    blocks = [block for group in groups for block in _blocks(group, message, maker, names)]
    if message.role == "assistant":
        blocks = _without_last_thoughts(blocks)
    return tuple(_joined(blocks))


def _joined(blocks: list[ContentBlock]) -> Iterator[ContentBlock]:
    """Yield `blocks`, neighbouring bytes as one: most messages are one."""
    run: list[bytes] = []
    for block in blocks:
        if isinstance(block, bytes):
            run.append(block)
            continue
        if run:
            yield b",".join(run)
            run = []
        yield block
    if run:
        yield b",".join(run)


def text_block(text: str) -> bytes:
    """Return `text` as a block, nothing where it is blank: the dialect answers 400 to that."""
    text = clean(text)
    return to_json({"type": "text", "text": text}) if text.strip() else b""


def _says(part: Part) -> bool:
    return isinstance(part, Image) or (isinstance(part, Text) and bool(clean(part.text).strip()))


def _blocks(parts: list[Part], message: Message, maker: str, names: Mapping[str, str]) -> Iterator[ContentBlock]:
    """Yield the blocks of neighbouring parts of one type. Texts become one block, as `Message.text` joins them."""
    if isinstance(parts[0], Text):
        if block := text_block("".join(part.text for part in parts if isinstance(part, Text))):
            yield block
        return
    assistant = message.role == "assistant"
    for part in parts:
        match part:
            case Image():
                if assistant:
                    raise Unsupported("this dialect takes images in a user's message only")
                yield _image(part)
            case Reasoning(_, opaque, made_by) if opaque and made_by == maker and assistant:
                yield _thought(part.text, opaque)
            case ToolCall():
                yield _call(part, names) if assistant else text_block(f"Call of {part.name}: {part.arguments}")
            case ToolResult():
                yield _result(part).text if assistant else _result(part)


def _without_last_thoughts(blocks: list[ContentBlock]) -> list[ContentBlock]:
    """Return `blocks` without the thinking at their end: a turn may not end in it, a message that is cut short may."""
    while blocks and isinstance(last := blocks[-1], bytes) and not last.startswith(b'{"type":"text"'):
        blocks = blocks[:-1]
    return blocks


def _image(image: Image) -> bytes:
    if image.media_type not in MEDIA_TYPES or not image.data:
        raise Unsupported(f"this dialect takes no image of type {clean(image.media_type)!r} or without bytes")
    data = base64.b64encode(image.data).decode("ascii")
    return to_json({"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": data}})


def _thought(text: str, opaque: str) -> bytes:
    if opaque.startswith(REDACTED):
        return to_json({"type": "redacted_thinking", "data": clean(opaque.removeprefix(REDACTED))})
    return to_json({"type": "thinking", "thinking": clean(text), "signature": clean(opaque)})


def _call(call: ToolCall, names: Mapping[str, str]) -> CallBlock:
    name = names.get(call.name) or _not_in_a_name("_", call.name)[:64] or "tool"
    return CallBlock(
        clean(call.id), b'"name":' + to_json(name) + b',"input":' + history_object(call.arguments)[1].encode()
    )


def _result(result: ToolResult) -> ResultBlock:
    content = clean(result.content)
    # Empty content is a 400, none at all is not.
    tail = b',"content":' + to_json(content) if content.strip() else b""
    if result.is_error:
        tail += b',"is_error":true'
    failed = " (failed)" if result.is_error else ""
    shown = text_block(f"Result of {result.name or 'a tool'}{failed}: {content}")
    return ResultBlock(clean(result.call_id), tail, shown)


def turns(
    said: Iterable[tuple[Literal["user", "assistant"], tuple[ContentBlock, ...]]], *, prefill: bool = False
) -> list[bytes]:
    """Return the messages: the user's first and last, roles in turn, results right behind their calls.

    A call without a result gets one that says so. A result without a call is told as text. With `prefill` the last
    words may be the assistant's, which the model is to continue.
    """
    transcript = _Transcript()
    for role, blocks in said:
        if blocks:
            transcript.add(role, blocks)
    return transcript.finish(prefill=prefill)


class _Transcript:
    """Turns in the making."""

    def __init__(self) -> None:
        self._turns: list[bytes] = []
        self._role = ""
        self._blocks: list[bytes] = []
        self._results: list[bytes] = []
        self._open: dict[str, list[bytes]] = {}  # id in the messages -> ids on the wire that wait for their results
        self._numbers: dict[str, int] = {}  # id on the wire -> the highest number that was put behind it

    def add(self, role: str, blocks: tuple[ContentBlock, ...]) -> None:
        if role != self._role:
            self._turn_to(role)
        for block in blocks:
            if isinstance(block, bytes):
                self._blocks.append(block)
            elif isinstance(block, CallBlock):
                self._blocks.append(b'{"type":"tool_use","id":"%b",%b}' % (self._opened(block.id), block.tail))
            elif waiting := self._open.get(block.id):
                self._results.append(_answer(waiting.pop(0), block.tail))
            else:
                self._blocks.append(block.text)

    def finish(self, *, prefill: bool) -> list[bytes]:
        if self._role != "user" and not (prefill and self._role and not any(self._open.values())):
            self._turn_to("user")
            if not any(self._open.values()):
                self._blocks.append(text_block(GO_ON if self._turns else BEGIN))
        self._close()
        return self._turns

    def _turn_to(self, role: str) -> None:
        if self._role:
            self._close()
        elif role == "assistant":
            self._role, self._blocks = "user", [text_block(BEGIN)]
            self._close()
        self._role = role

    def _close(self) -> None:
        if self._open and self._role == "user":
            for waiting in self._open.values():
                self._results += [_answer(call, _UNANSWERED) for call in waiting]
            self._open = {}
        content = b",".join(self._results + self._blocks)
        self._turns.append(b'{"role":"%b","content":[%b]}' % (self._role.encode(), content))
        self._blocks, self._results = [], []

    def _opened(self, call_id: str) -> bytes:
        """Return an id on the wire that no other call has: its own where that will do, else always the same one."""
        fit = call_id if _fit_id(call_id) else "call_" + hashlib.sha256(call_id.encode()).hexdigest()[:24]
        number, unique = self._numbers.get(fit, 1), fit
        while unique in self._numbers:
            number += 1
            unique = f"{fit}_{number}"
        self._numbers[fit] = number
        self._numbers.setdefault(unique, 1)
        self._open.setdefault(call_id, []).append(unique.encode())
        return unique.encode()


def _answer(call: bytes, tail: bytes) -> bytes:
    return b'{"type":"tool_result","tool_use_id":"%b"%b}' % (call, tail)
