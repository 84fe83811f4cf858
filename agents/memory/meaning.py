"""The vectors of records and questions, made by a provider: within a time, never a reason to fail, told and billed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import anyio

from agents.events import MemoryByWords, TextsEmbedded
from agents.memory.store import EMBEDDED_AT_ONCE, MemoryStore
from agents.memory.use import ProviderEmbeddings
from agents.memory.vectors import NamedVector
from agents.run_context import RunContext
from agents.threads import in_thread
from providers.documents.secrets import hidden
from providers.embeddings import EmbeddingResponse, Embeddings, Purpose, embedding_model
from providers.emit import Emit, ignore
from providers.errors import ProviderError, RoutingError
from providers.messages import Needs

WITHIN_S = 10.0
"""Seconds that a piece of work waits for vectors before it goes by words alone."""
RESTS_S = 60.0
"""Seconds after a failure in which nobody is asked."""
PLACE = "embedding"
"""Where in the work of a unit vectors are made: `build/try-1/embedding`."""


@runtime_checkable
class Embeds(Protocol):
    """Who makes vectors: a `ProviderManager`."""

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: Sequence[str],
        dimensions: int | None = None,
        purpose: Purpose | None = None,
        needs: Needs = ...,
        emit: Emit = ignore,
        budgets: Any = None,
        shorten: bool = False,
        hear: Any = None,
    ) -> Embeddings: ...


@dataclass(slots=True)
class ProviderMeaning:
    """Makes vectors for one run by one provider's model. `answers` is who is asked. That nobody answers is told once.

    What looks like a key is masked before anything is sent.
    """

    use: ProviderEmbeddings
    answers: Any
    within_s: float = WITHIN_S
    rests_s: float = RESTS_S
    _rests_until: float = -math.inf
    _is_told: bool = False
    _fills: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def model(self) -> str:
        """The name under which its vectors compare."""
        return embedding_model(self.use.models[0], self.use.dimensions)

    async def asked(
        self, text: str, store: MemoryStore, scopes: Sequence[str], agent: str, ctx: RunContext, place: str = PLACE
    ) -> NamedVector | None:
        """Return the vector of a question, having made those that records of these scopes lack, some at a time.

        None: the provider does not answer now, which is told, or there is nothing to ask.
        """
        if not text.strip():
            return None
        made = await self._within([text], "query", agent, ctx, place)
        if made is None:
            return None
        await self.fill(store, scopes, agent, ctx, place)
        return NamedVector(self.model, made[0])

    async def fill(
        self, store: MemoryStore, scopes: Sequence[str], agent: str, ctx: RunContext, place: str = PLACE
    ) -> None:
        """Make the vectors of records of these scopes that have none yet: the newest of them, so many at a time."""
        async with self._fills:  # two agents would pay for the same ones
            bare = await in_thread(partial(store.without_vector, self.model, EMBEDDED_AT_ONCE, scopes))
            if not bare:
                return
            made = await self._within([text for _, text in bare], "document", agent, ctx, place)
            if made is not None:
                kept = list(zip((n for n, _ in bare), made, strict=True))
                await in_thread(partial(store.keep_vectors, self.model, kept))

    async def _within(
        self, texts: Sequence[str], purpose: Purpose, agent: str, ctx: RunContext, place: str
    ) -> Sequence[Sequence[float]] | None:
        """Return what the provider makes in time; None where it does not, which is told."""
        if anyio.current_time() < self._rests_until:
            return None
        reason = f"no vectors came within {self.within_s:g} s"
        if not isinstance(self.answers, Embeds):
            reason = "what answers this run makes no vectors"
        else:
            with anyio.move_on_after(self.within_s):
                try:
                    return await self._embed(self.answers, texts, purpose, agent, ctx.below(place))
                except (RoutingError, ProviderError) as error:
                    reason = str(error)
        self._rests_until = anyio.current_time() + self.rests_s
        if not self._is_told:
            self._is_told = True
            ctx.emit(MemoryByWords(agent, self.model, reason))
        return None

    async def _embed(
        self, answers: Embeds, texts: Sequence[str], purpose: Purpose, agent: str, below: RunContext
    ) -> Sequence[Sequence[float]]:
        def tell(made: EmbeddingResponse) -> None:
            told = (len(made.vectors), made.provider, made.model, made.usage, made.cost, made.estimate)
            below.emit(TextsEmbedded(agent, *told))

        made = await answers.embed(
            [hidden(text, guess=False) for text in texts],
            model=self.use.models,
            dimensions=self.use.dimensions,
            purpose=purpose,
            needs=Needs(agent=agent, run=below.run, deadline_s=self.within_s),
            emit=below.emit,
            budgets=below.budgets,
            shorten=True,
            hear=tell,
        )
        return made.vectors
