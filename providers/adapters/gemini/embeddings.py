"""Google's `batchEmbedContents`: many texts in one request, each with its purpose and the length of its vector."""

from __future__ import annotations

from typing import Any

from providers.adapters import HttpReply, HttpRequest, StreamDecoder
from providers.adapters.encoding import to_json
from providers.adapters.gemini.encode import headers_of, method_url, resource
from providers.adapters.gemini.errors import error_of
from providers.adapters.shapes import NoCount, count, figures, mapping, object_in, sequence
from providers.adapters.vectors import dimensions_of, embedding_request, no_stream, response_of, vector_in
from providers.adapters.wrong_address import wrong_address
from providers.catalog.model import Candidate, EmbeddingModel
from providers.documents.unicode import clean
from providers.embeddings import EmbeddingRequest, EmbeddingResponse
from providers.errors import ProviderError
from providers.messages import Request, Usage

PURPOSES = {"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"}


class GeminiEmbeddings:
    """An `Adapter` of `EmbeddingRequest`s."""

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:  # noqa: ARG002  # never
        wanted = embedding_request(request)
        more = _more(wanted, candidate)
        model = resource(candidate)
        body = [{"model": model, "content": {"parts": [{"text": clean(text)}]}, **more} for text in wanted.texts]
        url, headers = method_url(candidate, "batchEmbedContents"), headers_of(candidate, stream=False)
        return HttpRequest("POST", url, headers, to_json({"requests": body}))

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> EmbeddingResponse:  # noqa: ARG002
        """Return the vectors. Raise `BadReply` for too few, others than numbers, or of several lengths."""
        body = object_in(reply.body)
        rows = [mapping(row, "an embedding") for row in sequence(body.get("embeddings"), "embeddings")]
        vectors = [vector_in(row.get("values")) for row in rows]
        return response_of(vectors, embedding_request(request), _usage(body.get("usageMetadata")), "", None)

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        """Return the error that a reply other than 2xx means. Never raises, whatever the body."""
        url = method_url(candidate, "batchEmbedContents")
        return wrong_address(reply, url, candidate.provider) or error_of(
            reply.status, reply.headers, reply.body, now, candidate.provider.refusals
        )

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> StreamDecoder:  # noqa: ARG002
        return no_stream(request)


def _more(wanted: EmbeddingRequest, candidate: Candidate) -> dict[str, Any]:
    more: dict[str, Any] = {}
    model = candidate.model
    if wanted.purpose is not None and isinstance(model, EmbeddingModel) and model.purposes:
        more["taskType"] = PURPOSES[wanted.purpose]
    if (dimensions := dimensions_of(wanted, candidate)) is not None:
        more["outputDimensionality"] = dimensions
    return more


def _usage(raw: Any) -> Usage | None:
    """Return what was read, None where that is not said."""
    try:
        return Usage(count(figures(raw).get("promptTokenCount")))
    except NoCount:
        return None
