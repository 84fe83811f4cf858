"""Vectors as values: which endpoints a name means, how many texts go into one request, what a reply may hold."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest

from providers.adapters import HttpReply
from providers.adapters.gemini.embeddings import GeminiEmbeddings
from providers.adapters.openai.embeddings import OpenAIEmbeddings
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.embeddings import EmbeddingRequest, batches, embedding_model, endpoints, shortened
from providers.errors import BadReply, ContextTooLong, ProviderError, Unsupported
from providers.messages import Message, Request, Usage, estimate_tokens, user

KNOWN = ("openai/text-embedding-3-small", "openrouter/openai/text-embedding-3-small", "gemini/gemini-embedding-001")
PROVIDERS = ("openai", "openrouter", "gemini", "ollama")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (["openai/text-embedding-3-small"], KNOWN[:1]),
        (["text-embedding-3-small"], KNOWN[:2]),
        (["openai/text-embedding-3-small", "Text-Embedding-3-small"], KNOWN[:2]),
        (["ollama/bge-m3:latest", "gemini/bge-m3"], ("ollama/bge-m3:latest", "gemini/bge-m3")),
        (["BAAI/bge-m3"], ("BAAI/bge-m3",)),
        ([], ()),
    ],
)
def test_a_name_means_its_provider_or_all_that_serve_the_model(wanted: list[str], meant: tuple[str, ...]) -> None:
    assert endpoints(wanted, KNOWN, PROVIDERS) == meant


def test_names_of_several_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"openai/a and gemini/b are several"):
        endpoints(["openai/a", "gemini/b"], KNOWN, PROVIDERS)
    assert embedding_model("openai/Text-Embedding-3-small", 256) == "text-embedding-3-small@256"


def test_texts_go_into_as_few_requests_as_fit_in_their_order() -> None:
    assert [*batches([5, 5, 5, 5], 3, 100)] == [slice(0, 3), slice(3, 4)]
    assert [*batches([5, 5, 99, 5], 9, 10)] == [slice(0, 2), slice(2, 3), slice(3, 4)]
    assert [*batches([], 9, 10)] == []


@pytest.mark.parametrize("text", ["word " * 4000, "é" * 9000, "東" * 9000, "🛒" * 5000, "short"])
def test_a_text_is_cut_at_its_end_between_two_characters(text: str) -> None:
    cut = shortened(text, 100)
    assert text.startswith(cut)
    assert estimate_tokens(cut) <= 100
    assert cut == text or estimate_tokens(cut) >= 90


def candidate(provider: str, model: str) -> Candidate:
    row = load_catalog().providers[provider]
    return Candidate(row, row.embeddings[model], "sk-secret")


SMALL, LARGE = candidate("openai", "text-embedding-3-small"), candidate("openai", "text-embedding-3-large")
GEMINI, NEWER = candidate("gemini", "gemini-embedding-001"), candidate("gemini", "gemini-embedding-2")
MISTRAL = candidate("mistral", "mistral-embed")


def wanted(*texts: str, **more: Any) -> EmbeddingRequest:
    return EmbeddingRequest(tuple(map(user, texts)), **more)


def test_what_openai_is_sent() -> None:
    sent = OpenAIEmbeddings().encode(wanted("a\ud800", "b", dimensions=256), SMALL, stream=False)
    assert sent.url == "https://api.openai.com/v1/embeddings"
    assert sent.headers["authorization"] == "Bearer sk-secret"
    assert json.loads(sent.body) == {
        "model": "text-embedding-3-small",
        "input": ["a\ufffd", "b"],
        "dimensions": 256,
        "encoding_format": "base64",
    }
    assert json.loads(OpenAIEmbeddings().encode(wanted("a", dimensions=1024), MISTRAL, stream=False).body) == {
        "model": "mistral-embed",
        "input": ["a"],
    }


def test_what_gemini_is_sent() -> None:
    sent = GeminiEmbeddings().encode(wanted("a", "b", dimensions=768, purpose="query"), GEMINI, stream=False)
    assert sent.url.endswith("/v1beta/models/gemini-embedding-001:batchEmbedContents")
    assert sent.headers["x-goog-api-key"] == "sk-secret"
    more = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 768}
    rows = [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": t}]}, **more} for t in "ab"]
    assert json.loads(sent.body) == {"requests": rows}
    assert b"taskType" not in GeminiEmbeddings().encode(wanted("a", purpose="document"), NEWER, stream=False).body


def test_what_cannot_be_asked_for_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Unsupported, match="1024 dimensions, and no other"):
        OpenAIEmbeddings().encode(wanted("a", dimensions=256), MISTRAL, stream=False)
    with pytest.raises(Unsupported, match="answers no turn"):
        OpenAIEmbeddings().encode(Request((user("a"),)), SMALL, stream=False)
    with pytest.raises(Unsupported, match="stream"):
        GeminiEmbeddings().stream_decoder(wanted("a"), GEMINI, 0.0)


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def openai_reply(*rows: Any, **more: Any) -> HttpReply:
    return HttpReply(200, {}, json.dumps({"object": "list", "data": rows, **more}).encode())


def row(index: Any, vector: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": vector}


def test_vectors_come_in_the_order_of_their_texts_as_decimals_or_in_base64() -> None:
    reply = openai_reply(row(1, [0, 1.5]), row(0, packed(2, -3)), usage={"prompt_tokens": 7, "total_tokens": 7})
    made = OpenAIEmbeddings().decode(reply, wanted("a", "b"), SMALL, 0.0)
    assert [list(vector) for vector in made.vectors] == [[2, -3], [0, 1.5]]
    assert (made.usage, made.cost) == (Usage(7), None)
    bare = openai_reply({"embedding": [1]}, {"embedding": [2]}, usage="odd")
    made = OpenAIEmbeddings().decode(bare, wanted("a", "b"), SMALL, 0.0)
    assert ([list(vector) for vector in made.vectors], made.usage) == ([[1], [2]], Usage())


NAN = b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}'


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (openai_reply(), "0 vectors for 1 text"),
        (openai_reply(row(0, [1]), row(1, [1])), "2 vectors for 1 text"),
        (openai_reply(row(0, [])), "empty"),
        (openai_reply(row(1, [1])), "not numbered"),
        (openai_reply(row(True, [1])), "not numbered"),
        (openai_reply(row(0, [True])), "something else than numbers"),
        (openai_reply(row(0, ["1"])), "something else than numbers"),
        (openai_reply(row(0, [1, None])), "something else than numbers"),
        (openai_reply(row(0, {"x": 1})), "not an array"),
        (openai_reply(row(0, "???")), "not base64"),
        (openai_reply(row(0, base64.b64encode(b"abc").decode())), "not a row of float32s"),
        (openai_reply(row(0, packed(math.nan))), "not finite"),
        (openai_reply(row(0, [1e39])), "not finite"),
        (openai_reply(row(0, [10**400])), "not finite"),
        (openai_reply("x"), "not an object"),
        (HttpReply(200, {}, NAN), "not finite"),
        (HttpReply(200, {}, b"<html>"), "not JSON"),
        (HttpReply(200, {}, b"[]"), "not an object"),
        (HttpReply(200, {}, b'{"data": 3}'), "not an array"),
    ],
)
def test_a_reply_that_holds_no_sound_vectors_is_a_bad_one(reply: HttpReply, said: str) -> None:
    with pytest.raises(BadReply, match=said):
        OpenAIEmbeddings().decode(reply, wanted("a"), SMALL, 0.0)


def test_vectors_of_one_reply_have_one_length_and_that_which_was_asked_for() -> None:
    reply = openai_reply(row(0, [1, 2]), row(1, [1]))
    with pytest.raises(BadReply, match="several lengths: 1, 2"):
        OpenAIEmbeddings().decode(reply, wanted("a", "b"), SMALL, 0.0)
    with pytest.raises(BadReply, match="2 dimensions, asked for were 256"):
        OpenAIEmbeddings().decode(openai_reply(row(0, [1, 2])), wanted("a", dimensions=256), SMALL, 0.0)
    gemini = HttpReply(200, {}, b'{"embeddings": [{"values": [1, 2]}, {"values": [3]}]}')
    with pytest.raises(BadReply, match="several lengths"):
        GeminiEmbeddings().decode(gemini, wanted("a", "b"), GEMINI, 0.0)


def test_what_gemini_says() -> None:
    body = {"embeddings": [{"values": [1, 2]}, {"values": [3, 4]}], "usageMetadata": {"promptTokenCount": 9}}
    made = GeminiEmbeddings().decode(HttpReply(200, {}, json.dumps(body).encode()), wanted("a", "b"), GEMINI, 0.0)
    assert [list(vector) for vector in made.vectors] == [[1, 2], [3, 4]]
    assert made.usage == Usage(9)


def test_a_refusal_means_what_it_means_of_a_turn() -> None:
    said = "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"
    body = json.dumps({"error": {"message": said, "type": "invalid_request_error", "code": None}}).encode()
    refused: ProviderError = OpenAIEmbeddings().classify(HttpReply(400, {}, body), SMALL, 0.0)
    assert isinstance(refused, ContextTooLong)


def test_an_error_in_a_2xx_reply_is_that_error() -> None:
    reply = HttpReply(200, {}, b'{"error": {"message": "overloaded", "code": 503}}')
    with pytest.raises(ProviderError) as failed:
        OpenAIEmbeddings().decode(reply, wanted("a"), SMALL, 0.0)
    assert not isinstance(failed.value, BadReply)


def test_texts_are_the_messages_own() -> None:
    assert wanted("a", "b").texts == ["a", "b"]
    assert isinstance(wanted("a").messages[0], Message)
