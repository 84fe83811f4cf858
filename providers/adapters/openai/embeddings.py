"""OpenAI's `/embeddings`, which most vendors and servers of one's own speak: Mistral, OpenRouter, Together, llama.cpp,
vLLM, LM Studio, Ollama."""

from __future__ import annotations

from typing import Any

from providers.adapters import HttpReply, HttpRequest, StreamDecoder
from providers.adapters.encoding import key_of, to_json
from providers.adapters.openai.decode import body_in, raise_error_in, speaks_of_error
from providers.adapters.openai.errors import error_of
from providers.adapters.openai.usage import read_cost, read_usage
from providers.adapters.shapes import sequence, string
from providers.adapters.vectors import dimensions_of, embedding_request, in_order, no_stream, response_of, vector_in
from providers.adapters.wrong_address import wrong_address
from providers.catalog.base_url import endpoint
from providers.catalog.model import Candidate
from providers.documents.unicode import clean
from providers.embeddings import EmbeddingResponse
from providers.errors import ProviderError
from providers.messages import Request, Usage


class OpenAIEmbeddings:
    """An `Adapter` of `EmbeddingRequest`s."""

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:  # noqa: ARG002  # never
        wanted = embedding_request(request)
        body: dict[str, Any] = {"model": candidate.model.name, "input": [clean(text) for text in wanted.texts]}
        if (dimensions := dimensions_of(wanted, candidate)) is not None:
            body["dimensions"] = dimensions
        if candidate.provider.quirks.base64_vectors:
            body["encoding_format"] = "base64"
        return HttpRequest("POST", _url(candidate), _headers(candidate), to_json(body))

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> EmbeddingResponse:
        """Return the vectors. Raise `BadReply` for too few, others than numbers, or of several lengths."""
        wanted, body = embedding_request(request), body_in(reply.body)
        is_error = "data" not in body and speaks_of_error(body)
        raise_error_in(body, reply.headers, now, candidate.provider.refusals, certain=is_error)
        rows = in_order(sequence(body.get("data"), "data"))
        vectors = [vector_in(row.get("embedding")) for row in rows]
        usage = read_usage(body.get("usage"), None)
        read = None if usage is None else Usage(usage.input, usage.cache_read, usage.cache_write)
        return response_of(vectors, wanted, read, string(body.get("model"), "model"), read_cost(body.get("usage")))

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        """Return the error that a reply other than 2xx means. Never raises, whatever the body."""
        return wrong_address(reply, _url(candidate), candidate.provider) or error_of(
            reply.status, reply.headers, reply.body, now, candidate.provider.refusals
        )

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> StreamDecoder:  # noqa: ARG002
        return no_stream(request)


def _url(candidate: Candidate) -> str:
    return endpoint(candidate.provider.base_url, "/embeddings")


def _headers(candidate: Candidate) -> dict[str, str]:
    quirks = candidate.provider.quirks
    headers = {"content-type": "application/json", "accept": "application/json", **quirks.extra_headers}
    if (key := key_of(candidate)) is not None:
        headers[quirks.key_header or "authorization"] = key if quirks.key_header else f"Bearer {key}"
    return headers
