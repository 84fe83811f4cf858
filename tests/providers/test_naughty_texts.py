"""Texts that break programs, through every dialect: out in every place that takes a text, and in from every stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import Adapter
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.documents.unicode import clean
from providers.errors import BadReply
from providers.messages import (
    OutputSchema,
    Reasoning,
    Request,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolSpec,
    assistant,
    system,
    tool,
    user,
)

NAUGHTY = (
    # Surrogates: alone, turned round, doubled, a pair in halves.
    "\ud83d", "\ude00", "a\ud83db", "\ude00\ud83d", "\ud83d\ud83d\ude00", "\ud83d\ude00", "\udfff\ud800",
    # Controls, marks that nobody sees, line ends that programs disagree on.
    "\x00", "a\x00b", "\x1b[31mred\x1b[0m", "\x07\x08\x7f", "\x85\x9b31m", "\ufeffBOM", "a\ufeffb",
    "\u200b\u2060\u00ad", "a\r\nb\rc\nd", "\u2028\u2029\x0b\x0c", "\t tab \t", "\ufffe\uffff\U0010ffff",
    # Emoji that are many code points, flags, tags, modifiers, keycaps.
    "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇺🇳🇺", "👍🏽", "1️⃣", "❤️‍🔥", "🛒",
    # Scripts: right to left, joined, stacked, combining, wide, ancient, halves of ligatures.
    "שלום, עולם", "مرحبا بالعالم", "\u202egnirts\u202c", "क्षत्रिय", "ตัวอย่าง", "日本語テキスト", "한글", "ﷺ", "𓀀𝕬𐍈",
    "Z̸̡͖̩̊a̷͇͐l̴̰̽g̵̹͋o̶̜͝", "e\u0301", "\u0301alone", "ﬁ", "İıſẞß",
    # What looks like syntax to somebody.
    '"', "\\", '\\"', "\\u0000", "\\ud83d", "{", "}]}", "null", "NaN", "true", "[DONE]", "data: [DONE]\n\n",
    "event: error\n", "\n\ndata: {}\n\n", ": comment", "</think>", "<|im_end|><|im_start|>system", "{{ 7 * 7 }}",
    "${{ inputs.x }}", "%s%n%x",
    "'; DROP TABLE runs; --", "<script>alert(1)</script>", "&lt;&amp;&#0;", "$(reboot)", "`id`", "../../etc/passwd",
    # Numbers and words that are something else elsewhere; nothing at all; a lot.
    "1e999", "-0", "0x10", "1_000", "２３", "١٢٣", "NULL", "undefined", "nil", "", " ", "\u3000",
    "a" * 5000, "é" * 3000,
)  # fmt: skip
CATALOG = load_catalog()
ADAPTERS: dict[str, Adapter] = {
    "openai-chat": OpenAIChat(),
    "anthropic-messages": AnthropicMessages(),
    "gemini": Gemini(),
}
ROWS = ["openai", "mistral", "deepseek", "openrouter", "cloudflare", "anthropic", "gemini"]
ASK = Request((user("hi"),))


def candidate(row: str) -> Candidate:
    provider = CATALOG.providers[row]
    return Candidate(provider, next(iter(provider.models.values())), "key")


def everywhere(text: str, maker: str) -> Request:
    """Return a request that says `text` wherever a text may stand."""
    arguments = json.dumps({text: [text]})
    details = json.dumps([{"type": "reasoning.text", "text": text}])
    return Request(
        (
            system(text),
            user(text, name=text),
            assistant(Reasoning(text, details, maker), text, ToolCall(text, text, arguments, text, maker)),
            tool(ToolResult(text, text, text), ToolResult("gone", text, text, is_error=True)),
            user("go on"),
        ),
        tools=(ToolSpec("look", text, {"type": "object", "properties": {text: {"description": text}}}),),
        output_schema=OutputSchema({"type": "object", "title": text, "properties": {text: {"enum": [text]}}}, text),
        stop=(text,),
    )


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("text", NAUGHTY, ids=lambda text: ascii(text)[1:20])
def test_it_leaves_clean_and_whole(text: str, row: str):
    who = candidate(row)
    body = ADAPTERS[who.provider.dialect].encode(everywhere(text, row), who, stream=True).body
    said = list(strings(json.loads(body.decode("utf-8"))))
    assert all(clean(each) == each for each in said)
    if mended := clean(text).strip():
        # The system's, the user's, the assistant's, the tool's and its stray sister's; Mistral's joins the last two.
        assert sum(mended in each for each in said) >= 4


# ---- what comes in


def chat(pieces: list[str], ascii_only: bool) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return b"".join(event(chunk, ascii_only) for chunk in [*chunks, last]) + b"data: [DONE]\n\n"


def messages(pieces: list[str], ascii_only: bool) -> bytes:
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return b"".join(b"event: %b\n%b" % (each["type"].encode(), event(each, ascii_only)) for each in events)


def contents(pieces: list[str], ascii_only: bool) -> bytes:
    chunks = [{"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}}]} for piece in pieces]
    last = {"candidates": [{"finishReason": "STOP"}]}
    return b"".join(event(chunk, ascii_only) for chunk in [*chunks, last]).replace(b"\n", b"\r\n")


def event(value: Any, ascii_only: bool) -> bytes:
    # A lone surrogate has no bytes of its own: it can only be spelt.
    return b"data: %b\n\n" % json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")


STREAMS = {"openai": chat, "anthropic": messages, "gemini": contents}


@pytest.mark.parametrize("row", STREAMS)
@given(text=st.sampled_from(NAUGHTY), spelt=st.booleans(), at=st.integers(0, 50), cuts=st.lists(st.integers(0, 9000)))
def test_it_arrives_clean_and_whole_however_it_is_cut(row: str, text: str, spelt: bool, at: int, cuts: list[int]):
    pieces = [text[:at], text[at:]]
    body = STREAMS[row](pieces, spelt or any("\ud800" <= char <= "\udfff" for char in text))
    who = candidate(row)
    decoder = ADAPTERS[who.provider.dialect].stream_decoder(ASK, who, 0.0)
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    deltas = [delta for start, end in pairwise(edges) for delta in decoder.feed(body[start:end])]
    if not clean(text).strip():
        with pytest.raises(BadReply):
            decoder.finish()
        return
    told = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    assert decoder.finish().text == clean(text)
    # Half a pair at the very end waits for the other half, and is mended when nothing more comes.
    assert clean(text) in (told, told + "\ufffd")
