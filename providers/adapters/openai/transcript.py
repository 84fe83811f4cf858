"""A transcript as Chat Completions demands it: every call answered at once, every result called for, nothing empty.

A message's bytes are made once and kept by the message. What depends on its neighbours is decided at each turn: which
call a result answers, and, for vendors with `strict_turns`, whose word may follow whose. Sources:
docs/sources.md#turns, checked 2026-11.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from providers.adapters.encoding import NO_RESULT, to_json
from providers.adapters.shapes import decode_json
from providers.catalog.quirks import Quirks
from providers.documents.arguments import history_object
from providers.documents.unicode import clean, clean_json
from providers.errors import Unsupported
from providers.messages import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_ID = 40  # "string too long. Expected a string with maximum length 40"
DETAILS = "reasoning_details"
"""The reasoning field that takes what the provider sent there, as JSON, instead of the text."""

# Content must say something: vendors answer 400 to "" (Mistral, Z.ai) and to white space (Anthropic and Bedrock behind
# aggregators: "text content blocks must contain non-whitespace text").
EMPTY = "(empty)"
BLANK = " "
SPEAKERS = frozenset(("user", "assistant", "tool"))
_of_kimi = re.compile(r"functions\.[\w.-]{1,64}:\d{1,4}").fullmatch
_alnum9 = re.compile(r"[A-Za-z0-9]{9}").fullmatch
_fit_name = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_not_in_a_name = re.compile(r"[^A-Za-z0-9_-]+").sub


class Said(NamedTuple):
    """One message on the wire: its role and its JSON object."""

    role: str
    body: bytes


class ResultMessage(NamedTuple):
    """A tool's result: the transcript's id of its call, its content as JSON, and what is said where no call stands."""

    call: str
    content: bytes
    orphan: Said


class ChatFragment(NamedTuple):
    """What a `Message` becomes, but for its neighbours.

    `calls` are pairs: the transcript's id, the wire's as JSON. `awaits` are the former where the latter follow from
    them, `answers` what answers such calls in `answered`: so a plain turn is paired by one comparison.
    """

    results: tuple[ResultMessage, ...] = ()
    said: Said | None = None
    calls: tuple[tuple[str, bytes], ...] = ()
    awaits: tuple[str, ...] | None = None
    answered: tuple[str, ...] = ()
    answers: tuple[Said, ...] = ()


# Where strict turns want a message that the transcript does not have.
BEGIN, GO_ON, SEEN = (
    Said(role, to_json({"role": role, "content": text}))
    for role, text in (("user", "Begin."), ("user", "Go on."), ("assistant", "Understood."))
)


def fit_name(name: str) -> str:
    """Return `name` as OpenAI takes it, `^[a-zA-Z0-9_-]{1,64}$`: models of other vendors call names like `a.b:c`."""
    name = clean(name)
    return name if _fit_name(name) else _not_in_a_name("_", name)[:64] or "unnamed"


def fragment(message: Message, quirks: Quirks, maker: str, names: Mapping[str, str]) -> ChatFragment:
    """Return `message` on the wire. Raise `Unsupported` for an image outside a user's message.

    Reasoning goes back only to the model that made it, `maker`, and only where `quirks` name a field for it. `names`
    are those of tools that have another on the wire.
    """
    if message.role != "assistant" and len(message.parts) == 1 and isinstance(message.parts[0], Text):
        return ChatFragment(said=_spoken(message, message.parts, quirks))  # the usual case by far
    told = [part for part in message.parts if isinstance(part, ToolResult)]
    rest = tuple(part for part in message.parts if not isinstance(part, ToolResult))
    if message.role == "assistant" and (rest or not told):
        wires = tuple(_wire_ids(message.tool_calls, quirks))
        said: Said | None = _said(_assistant(rest, wires, quirks, maker, names))
    else:
        wires = ()
        said = _spoken(message, rest, quirks) if rest or not told else None
    plain = all(wire == _fit_id(clean(own), quirks) for own, wire in wires)
    results = tuple(map(_result, told))
    return ChatFragment(
        results,
        said,
        tuple((own, to_json(wire)) for own, wire in wires),
        tuple(own for own, _ in wires) if plain else None,
        tuple(result.call for result in results),
        tuple(_answer(to_json(_fit_id(clean(each.call), quirks)), each.content) for each in results),
    )


def paired(fragments: Iterable[ChatFragment]) -> list[Said]:
    """Return the messages in order, with every call answered before the next message of another role.

    A call that a broken turn left open gets a stand-in: an unanswered id is a 400 everywhere. A result whose call is
    not there, or was answered already, is told as the user's words.
    """
    said: list[Said] = []
    late: list[Said] = []  # waits until the open calls are answered
    calls: list[tuple[str, bytes]] = []
    awaits: tuple[str, ...] | None = None
    for each in fragments:
        if each.results:
            if each.answered == awaits:
                said += each.answers
                calls = []
            else:
                _match(each.results, calls, said, late)
            awaits = None
            if each.said is None:
                continue
            if calls and not each.calls:
                late.append(each.said)
                continue
        if calls or late:
            said += _closed(calls, late)
            calls, late, awaits = [], [], None
        if each.said is not None:
            said.append(each.said)
        if each.calls:
            calls, awaits = list(each.calls), each.awaits
    return said + _closed(calls, late)


def _match(
    results: Iterable[ResultMessage], calls: list[tuple[str, bytes]], said: list[Said], late: list[Said]
) -> None:
    """Add each result to `said`, and take its call from `calls`; one without a call to `late`."""
    for result in results:
        call = next((call for call in calls if call[0] == result.call), None)
        if call is None:
            late.append(result.orphan)
        else:
            calls.remove(call)
            said.append(_answer(call[1], result.content))


def in_strict_turns(transcript: Iterable[Said], *, prefill: bool = False) -> list[Said]:
    """Return `transcript` in the order that Mistral and most chat templates enforce.

    One system message, first; later ones become the user's words. No role speaks twice in a row. An assistant's word
    stands between a tool's and a user's, a user's before the first of an assistant. The last word is a user's or a
    tool's; with `prefill` it may be an assistant's, which the model is to continue.
    """
    out: list[Said] = []
    before = ""
    for each in transcript:
        late_system = each.role not in SPEAKERS and before in SPEAKERS
        said = _system_as_user(each) if late_system else each
        if said.role == before != "tool":
            out[-1] = _merged(out[-1], said)
            continue
        if said.role == "user" and before == "tool":
            out.append(SEEN)
        elif said.role == "assistant" and before not in SPEAKERS:
            out.append(BEGIN)
        out.append(said)
        before = said.role
    return out if before in ("user", "tool") or (prefill and before == "assistant") else [*out, GO_ON]


def _closed(calls: list[tuple[str, bytes]], late: list[Said]) -> list[Said]:
    return [_answer(wire, to_json(NO_RESULT)) for _, wire in calls] + late


def _said(fields: Mapping[str, Any]) -> Said:
    return Said(fields["role"], to_json(fields))


def _word(role: str, text: str) -> Said:
    return Said(role, b'{"role":%b,"content":%b}' % (to_json(role), to_json(text)))


def _answer(call: bytes, content: bytes) -> Said:
    return Said("tool", b'{"role":"tool","tool_call_id":%b,"content":%b}' % (call, content))


def _system_as_user(said: Said) -> Said:
    return _word("user", f"System: {json.loads(said.body)['content']}")


def _merged(one: Said, two: Said) -> Said:
    """Return both as one message. Only an assistant's second may hold calls: results follow those of the first."""
    first, second = json.loads(one.body), json.loads(two.body)
    said = [first["content"], second["content"]]
    if any(isinstance(content, list) for content in said):
        content: Any = [item for content in said for item in _items(content)]
    else:
        content = "\n\n".join(text for text in said if text and text != EMPTY) or said[1]
    both = {key: first[key] + second[key] for key in first.keys() & second.keys() - {"role", "content"}}
    return _said({**first, **second, **both, "content": content})


def _items(content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content != EMPTY else []


def _result(result: ToolResult) -> ResultMessage:
    # The dialect has no flag for a failed call.
    text = clean(f"error: {result.content}" if result.is_error else result.content)
    orphan = f"Result of the tool {clean(result.name)}: {text}"
    return ResultMessage(result.call_id, to_json(_visible(text)), _word("user", orphan))


def _assistant(
    parts: tuple[Part, ...],
    ids: tuple[tuple[str, str], ...],
    quirks: Quirks,
    maker: str,
    names: Mapping[str, str],
) -> dict[str, Any]:
    _no_images(parts)
    wished = [part for part in parts if isinstance(part, ToolCall)]
    calls = [_call(call, wire, quirks, names) for call, (_, wire) in zip(wished, ids, strict=True)]
    text = clean(_text(parts))
    said: dict[str, Any] = {"role": "assistant", "content": text if text.strip() else _nothing(calls, quirks)}
    if quirks.reasoning_field is not None:
        own = [part for part in parts if isinstance(part, Reasoning) and part.made_by == maker]
        said.update(_thought(own, quirks.reasoning_field))
    if calls:
        said["tool_calls"] = calls
    return said


def _thought(own: list[Reasoning], field: str) -> Iterator[tuple[str, Any]]:
    if field == DETAILS:
        if details := [item for part in own for item in _details(part.opaque)]:
            yield field, details
        return
    # DeepSeek demands the field of every assistant's message in a tool turn, also of those that others wrote.
    yield field, clean("".join(part.text for part in own)) or BLANK


def _details(opaque: str | None) -> list[Any]:
    try:
        found = decode_json(opaque or "[]")
    except (ValueError, RecursionError):  # what another dialect left under the same provider's name
        return []
    return clean_json(found) if isinstance(found, list) else []


def _nothing(calls: list[Mapping[str, Any]], quirks: Quirks) -> str | None:
    if not calls:
        return EMPTY
    return None if quirks.null_content else ""


def _spoken(message: Message, parts: tuple[Part, ...], quirks: Quirks) -> Said:
    role = quirks.system_role if message.role == "system" else "user"
    if role != "user":
        _no_images(parts)
    text = clean(_text(parts))
    if message.name is not None and role == "user":
        # The dialect has a `name` field, but Groq, Mistral and others answer 400 to it; models read a prefix well.
        text = f"{clean(message.name)}: {text}"
    images = [_image(part) for part in parts if isinstance(part, Image)]
    if not images:
        return _word(role, _visible(text))
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    return _said({"role": role, "content": content + images})


def _no_images(parts: tuple[Part, ...]) -> None:
    if any(isinstance(part, Image) for part in parts):
        raise Unsupported("this dialect takes images in a user's message only")


def _image(image: Image) -> dict[str, Any]:
    data = base64.b64encode(image.data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{clean(image.media_type)};base64,{data}"}}


def _visible(text: str) -> str:
    return text if text.strip() else EMPTY


def _text(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def _call(call: ToolCall, wire: str, quirks: Quirks, names: Mapping[str, str]) -> Mapping[str, Any]:
    function = {"name": names.get(call.name) or fit_name(call.name), "arguments": history_object(call.arguments)[1]}
    return {"id": wire, "type": "function", "function": function, **quirks.tool_call_extra}


def _wire_ids(calls: Iterable[ToolCall], quirks: Quirks) -> Iterator[tuple[str, str]]:
    """Yield each call's id and the one on the wire: of the vendor's form, and no two alike in one message."""
    taken = set[str]()
    for at, call in enumerate(calls):
        wanted = clean(call.id) or f"call_{at}"
        while (wire := _fit_id(wanted, quirks)) in taken:
            wanted = f"{wanted}_{at}"
        taken.add(wire)
        yield call.id, wire


def _fit_id(call_id: str, quirks: Quirks) -> str:
    """Return the id as the vendor takes it; a foreign one maps, always the same. Mistral's have nine characters.

    In templates those of Kimi are the other ones that are not any: they name and number their tool.
    """
    if quirks.tool_ids == "template" and _of_kimi(call_id):
        return call_id
    if quirks.tool_ids == "opaque":
        return call_id if len(call_id) <= MAX_ID else f"call_{_hashed(call_id, 24)}"
    return call_id if _alnum9(call_id) else _hashed(call_id, 9)


def _hashed(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[: length - 1])
    return "".join(ALPHABET[number // 62**place % 62] for place in range(length))
