"""Texts that are to be found by their meaning, and their vectors: values, and how many texts go into one request. Pure.

Vectors of one model compare with no other's, so a request is answered by endpoints of one model alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from providers.errors import BadReply
from providers.messages import BYTES_PER_TOKEN, TOKENS_PER_MESSAGE, Attempt, Estimate, Request, Response, Usage

Purpose = Literal["query", "document"]
"""What a text is for: to find others, or to be found. Some models make other vectors of the one than of the other."""
Vector = Sequence[float]
DIALECTS = ("openai-chat", "gemini")
"""Those that have embeddings."""
NOTHING_USED = Usage()


@dataclass(frozen=True, slots=True)
class EmbeddingRequest(Request):
    """A request whose messages are texts to make vectors of, each by itself: one vector a message, in their order."""

    dimensions: int | None = None
    """The length that its vectors are to have, None: the model's own."""
    purpose: Purpose | None = None

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]


@dataclass(frozen=True, slots=True)
class EmbeddingResponse(Response):
    """The answer to an `EmbeddingRequest`; it says nothing in words."""

    vectors: tuple[Vector, ...] = ()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector a text, in the order of the texts, all of one length and of finite numbers.

    `model` is the name that these vectors compare under. `usage`, `cost` (micro-USD, None: unknown) and `attempts` are
    those of all requests that it took; `estimate` is what was counted where the provider sent no figures.
    """

    vectors: tuple[Vector, ...] = ()
    """One a text, in the order of the texts."""
    model: str = ""
    """The name that these vectors compare under."""
    usage: Usage = NOTHING_USED
    """Tokens of all requests."""
    cost: int | None = 0
    """Micro-USD; None: unknown."""
    attempts: tuple[Attempt, ...] = ()
    """How each attempt of these requests ended."""
    estimate: Estimate | None = None
    """What was counted where the provider sent no figures."""
    provider: str = ""
    """Who answered the last request."""
    model_asked: str = ""
    """The model's name there."""


def embedding_model(name: str, dimensions: int | None = None) -> str:
    """Return the name under which vectors of a model compare, whoever serves it: without its provider and its makers,
    in lower case, with the length that was asked for. `openai/text-embedding-3-small` with 256: `...-small@256`."""
    own = name.rpartition("/")[2].lower().removesuffix(":latest")
    return own if dimensions is None else f"{own}@{dimensions}"


def endpoints(wanted: Sequence[str], known: Iterable[str], providers: Iterable[str]) -> tuple[str, ...]:
    """Return the endpoints (`provider/model`) that are meant, in order. A name without one of the `providers` means all
    of those `known` that serve this model. Raise `ValueError` where the names are of several models."""
    models = {embedding_model(name): name for name in wanted}
    if len(models) > 1:
        raise ValueError(f"vectors of one model compare with no other's: {' and '.join(models.values())} are several")
    found: list[str] = []
    own = set(providers)
    for name in wanted:
        if name.partition("/")[0] in own and "/" in name:
            found.append(name)
        else:
            found += [one for one in known if embedding_model(one) == embedding_model(name)] or [name]
    return tuple(dict.fromkeys(found))


def batches(sizes: Sequence[int], most_texts: int, most_tokens: int) -> Iterator[slice]:
    """Yield the parts of a row of texts of these sizes (in tokens) that go into one request each, in order.

    A text that is too long for one goes alone.
    """
    first, held = 0, 0
    for at, size in enumerate(sizes):
        if at > first and (at - first >= most_texts or held + size > most_tokens):
            yield slice(first, at)
            first, held = at, 0
        held += size
    if first < len(sizes):
        yield slice(first, len(sizes))


def shortened(text: str, tokens: int) -> str:
    """Return the beginning of a text that is at most so many tokens, as they are estimated."""
    data = text.encode("utf-8", "replace")
    room = max(1, tokens - TOKENS_PER_MESSAGE - 1) * BYTES_PER_TOKEN
    return text if len(data) <= room else data[:room].decode("utf-8", "ignore")


def checked(vectors: Sequence[Sequence[object]], texts: int, dimensions: int | None) -> tuple[Vector, ...]:
    """Return vectors that a provider sent. Raise `BadReply` where they cannot be those of so many texts."""
    if len(vectors) != texts:
        raise BadReply(f"the reply has {len(vectors)} vectors for {texts} texts")
    made = [_numbers(vector) for vector in vectors]
    lengths = {len(vector) for vector in made}
    if len(lengths) > 1:
        raise BadReply(f"the reply's vectors have several lengths: {', '.join(map(str, sorted(lengths)))}")
    if 0 in lengths:
        raise BadReply("the reply's vectors are empty")
    if dimensions is not None and lengths and lengths != {dimensions}:
        raise BadReply(f"the reply's vectors have {lengths.pop()} dimensions, asked for were {dimensions}")
    return tuple(made)


def _numbers(vector: Sequence[object]) -> Vector:
    try:
        made: Vector = vector if isinstance(vector, array) else array("f", _plain(vector))
    except OverflowError:
        made = (inf,)
    if not all(map(isfinite, made)):
        raise BadReply("the reply has a vector with a number that is not finite")
    return made


def _plain(vector: Sequence[object]) -> Iterator[float]:
    for number in vector:
        if number.__class__ not in (int, float):
            raise BadReply("the reply has a vector of something else than numbers")
        yield number
