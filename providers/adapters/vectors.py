"""Vectors in replies: as decimals or in base64, in the order of their texts. Pure."""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from providers.adapters import StreamDecoder
from providers.adapters.shapes import mapping
from providers.catalog.model import Candidate, EmbeddingModel
from providers.embeddings import EmbeddingRequest, EmbeddingResponse, Vector, checked
from providers.errors import BadReply, Unsupported
from providers.messages import FinishReason, Request, Usage, assistant

FLOAT_BYTES = 4


def embedding_request(request: Request) -> EmbeddingRequest:
    """Return the request, which is for vectors. Raise `Unsupported` for any other."""
    if not isinstance(request, EmbeddingRequest):
        raise Unsupported("an embedding model answers no turn")
    return request


def dimensions_of(request: EmbeddingRequest, candidate: Candidate) -> int | None:
    """Return the length to ask for, None: the model's own. Raise `Unsupported` where it makes no other."""
    model, wanted = candidate.model, request.dimensions
    if wanted is None or not isinstance(model, EmbeddingModel) or model.resizable:
        return wanted
    if wanted != model.dimensions:
        raise Unsupported(f"its vectors have {model.dimensions or 'one length'} dimensions, and no other length")
    return None


def no_stream(_: Request) -> StreamDecoder:
    """Raise `Unsupported`: vectors come whole."""
    raise Unsupported("vectors do not come as a stream")


def response_of(
    vectors: Sequence[Sequence[object]], request: EmbeddingRequest, usage: Usage | None, model: str, cost: int | None
) -> EmbeddingResponse:
    """Return the answer with these vectors. Raise `BadReply` where they cannot be those of the request's texts."""
    made = checked(vectors, len(request.messages), request.dimensions)
    return EmbeddingResponse(assistant(), FinishReason.STOP, usage or Usage(), model=model, cost=cost, vectors=made)


def in_order(rows: Sequence[Any]) -> list[Any]:
    """Return rows in the order of their `index`; as they stand where none has one. Raise `BadReply` for odd ones."""
    found = [mapping(row, "a vector's row") for row in rows]
    if all(row.get("index") is None for row in found):
        return [*found]
    by_place = {row.get("index"): row for row in found if row.get("index").__class__ is int}
    if by_place.keys() != set(range(len(found))):
        raise BadReply("the reply's vectors are not numbered from 0 on, each once")
    return [by_place[place] for place in range(len(found))]


def vector_in(value: Any) -> Sequence[object]:
    """Return a vector that stands in a reply: an array of numbers, or the base64 of its little-endian float32s."""
    if isinstance(value, str):
        return _decoded(value)
    if not isinstance(value, list):
        raise BadReply(f"the reply's vector is a JSON {type(value).__name__}, not an array")
    if len(value) == 1 and isinstance(value[0], list):  # llama.cpp's own form: a vector a token, of which there is one
        return list(value[0])
    return value


def _decoded(text: str) -> Vector:
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadReply("the reply's vector is not base64") from None
    if len(data) % FLOAT_BYTES:
        raise BadReply("the reply's vector in base64 is not a row of float32s")
    made = array("f", data)
    if sys.byteorder == "big":
        made.byteswap()
    return made
