"""OpenAI's embeddings as a server speaks them: a request read, vectors written as numbers or in base64. Pure."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from orchestrator.server.gateway.asked import Lenient, read_body
from orchestrator.server.gateway.failures import invalid
from providers.embeddings import Embeddings, Vector
from providers.messages import Usage

MOST_TEXTS = 2048
"""In one request, as at OpenAI."""


class EmbeddingsBody(Lenient):
    """The body of a request, as far as the gateway reads it."""

    model: str
    input: str | list[Any]
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] | None = None


@dataclass(frozen=True, slots=True)
class VectorsAsked:
    """Texts to make vectors of. `in_base64`: they are told as the bytes of their numbers."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None
    in_base64: bool


def read_embeddings(body: bytes) -> VectorsAsked:
    """Return what a client asks. Raise `GatewayFailure` where that cannot be."""
    asked = read_body(EmbeddingsBody, body)
    given = [asked.input] if isinstance(asked.input, str) else asked.input
    if not 0 < len(given) <= MOST_TEXTS:
        raise invalid(f"'input' holds 1 to {MOST_TEXTS} texts", "input")
    texts: list[str] = []
    for number, one in enumerate(given):
        if not isinstance(one, str):
            words = "is no text; tokens are not taken: which model's they are is not known"
            raise invalid(f"'input[{number}]' {words}", f"input[{number}]")
        if not one.strip():
            raise invalid(f"'input[{number}]' is empty", f"input[{number}]")
        texts.append(one)
    return VectorsAsked(asked.model, tuple(texts), asked.dimensions, asked.encoding_format == "base64")


def embeddings_body(asked: VectorsAsked, made: Embeddings) -> dict[str, Any]:
    """Return the body of an answer."""
    usage: Usage = made.usage if made.estimate is None else made.estimate.usage
    tell = _base64 if asked.in_base64 else list
    data = [
        {"object": "embedding", "index": number, "embedding": tell(vector)}
        for number, vector in enumerate(made.vectors)
    ]
    figures = {"prompt_tokens": usage.total, "total_tokens": usage.total}
    return {"object": "list", "model": asked.model, "data": data, "usage": figures}


def _base64(vector: Vector | Sequence[float]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
