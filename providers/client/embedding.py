"""Vectors of texts: routed, limited, paid and tried again as turns are, among the endpoints of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random

from providers.adapters import Adapter, LocalAdapter
from providers.budgets import BudgetScope
from providers.catalog.model import Candidate, EmbeddingModel, Price
from providers.client.adapter_table import AdapterTable
from providers.client.clock import Now
from providers.client.reservations import Reservations
from providers.client.turn import LiveTurn
from providers.client.whole import whole
from providers.embeddings import (
    EmbeddingRequest,
    EmbeddingResponse,
    Embeddings,
    Purpose,
    batches,
    embedding_model,
    endpoints,
    shortened,
)
from providers.emit import Emit
from providers.errors import BadReply, NoRoute, Reason, ReasonCode
from providers.limits.ledger import Ledger
from providers.messages import Estimate, Needs, Response, user
from providers.policy.model import Policy
from providers.routing.fleet import Fleet
from providers.routing.turn import attempts
from providers.transport import Transport

ASSUMED_TOKENS = 2048
"""Tokens of one text, and of one request, of a model on a server of one's own of which nothing is known."""
ASSUMED_INPUTS = 32
HearVectors = Callable[[EmbeddingResponse], None]
"""Is told of each request's answer as it comes: what it cost is paid, whatever becomes of the next one."""
_OFFLINE = Reason(ReasonCode.CAPABILITY, "the offline stub makes no vectors")


class EmbeddingClient:
    """The embedding models that may be asked, with a fleet, breakers and counts of their own.

    No turn goes to them, and what a turn meets does not hold them back. The ledger is the manager's: a limit of an
    account counts both.
    """

    def __init__(
        self,
        policy: Policy,
        adapters: Mapping[str, Adapter | LocalAdapter],
        transport: Transport | None,
        ledger: Ledger,
        clock: Now,
        rng: Random,
    ) -> None:
        local = {dialect: one for dialect, one in adapters.items() if isinstance(one, LocalAdapter)}
        spoken = {dialect: one for dialect, one in built_in().items() if dialect in adapters}
        self._adapters = AdapterTable({**spoken, **local}, transport)
        self._rng, self._sole = rng, False
        self._own: dict[str, list[Candidate]] = {}
        self._missing: dict[str, Reason] = {}
        self.fleet = Fleet((), _without_tiers(policy))
        self.reservations = Reservations(ledger, self.fleet, clock)

    def adopt(
        self,
        policy: Policy,
        candidates: Iterable[Candidate],
        turns: Iterable[Candidate],
        unconfigured: Mapping[str, Reason],
        *,
        sole: bool = False,
    ) -> None:
        """Go on under this policy, with these embedding models. `turns` are the candidates that answer turns: whose
        server has `any_model` may be asked for any embedding model, too. `sole`: the stub alone answers."""
        self._sole, self._own = sole, {}
        spoken = {*self._adapters.local, *self._adapters.remote}
        missing = dict[str, Reason]()
        for one in turns:
            dialect = one.provider.dialect
            if dialect not in spoken:
                missing[one.provider.name] = Reason(ReasonCode.CAPABILITY, f"the dialect {dialect} has no embeddings")
            elif one.provider.any_model:
                accounts = self._own.setdefault(one.provider.name, [])
                if all(one.account != other.account for other in accounts):
                    accounts.append(one)
        self._missing = {**missing, **unconfigured}
        usable = [one for one in candidates if one.provider.dialect in spoken]
        self.fleet.adopt(_without_tiers(policy), usable, self._missing)

    def endpoints(self, model: str | Sequence[str]) -> tuple[str, ...]:
        """Return the endpoints that are asked for a model, in order. Raise `ValueError` for names of several models."""
        wanted = (model,) if isinstance(model, str) else tuple(model)
        known = [state.candidate for state in self.fleet.states.values()]
        providers = {one.provider.name for one in known} | self._own.keys() | self._missing.keys()
        return endpoints(wanted, [one.provider.full_name(one.model.name) for one in known], providers)

    async def embed(
        self,
        texts: Sequence[str],
        model: str | Sequence[str],
        dimensions: int | None,
        purpose: Purpose | None,
        needs: Needs,
        emit: Emit,
        budgets: BudgetScope | None,
        *,
        shorten: bool,
        hear: HearVectors | None,
    ) -> Embeddings:
        """Do what `ProviderManager.embed` says."""
        chain = self.endpoints(model)
        if (blank := next((at for at, text in enumerate(texts) if not text.strip()), None)) is not None:
            raise ValueError(f"text {blank + 1} of {len(texts)} is blank: there is nothing to make a vector of")
        made = Embeddings(model=embedding_model(chain[0], dimensions) if chain else "")
        if self._sole:
            raise NoRoute({"stub/stub": _OFFLINE})
        self._serve(chain)
        needs = replace(needs, chain=chain, model=None)
        served = [one.candidate.model for one in self.fleet.ranking(needs).states]
        rows = [one for one in served if isinstance(one, EmbeddingModel)]
        if shorten and rows:
            texts = [shortened(text, min(row.each for row in rows)) for text in texts]
        messages = tuple(map(user, texts))
        most_texts, most_tokens = (
            (min(row.inputs for row in rows), min(row.context for row in rows)) if rows else (1, 1)
        )
        for part in batches([message.tokens for message in messages], most_texts, most_tokens):
            request = EmbeddingRequest(messages[part], needs=needs, dimensions=dimensions, purpose=purpose)
            response = await self._ask(request, emit, budgets)
            if hear is not None:
                hear(response)
            made = _joined(made, response)
        return made

    async def _ask(self, request: EmbeddingRequest, emit: Emit, budgets: BudgetScope | None) -> EmbeddingResponse:
        turn = LiveTurn(self.fleet, self._adapters, self.reservations, request, emit, budgets, _accept)
        response = await whole(turn, attempts(self.fleet, request, turn.clock(), self._rng, began=turn.began))
        assert isinstance(response, EmbeddingResponse), "no other is accepted"
        return response

    def _serve(self, chain: Sequence[str]) -> None:
        """Take up models of servers of one's own that nothing is known of."""
        known = {state.candidate.provider.full_name(state.candidate.model.name) for state in self.fleet.states.values()}
        new = [
            replace(one, model=_assumed(name.partition("/")[2], one.model.price))
            for name in chain
            if name not in known
            for one in self._own.get(name.partition("/")[0], ())
        ]
        if new:
            there = [state.candidate for state in self.fleet.states.values()]
            self.fleet.adopt(self.fleet.written, [*there, *new], self._missing)


def _assumed(name: str, price: Price | None) -> EmbeddingModel:
    return EmbeddingModel(
        name,
        context=ASSUMED_TOKENS,
        max_output=0,
        price=price,
        assumed=True,
        each=ASSUMED_TOKENS,
        inputs=ASSUMED_INPUTS,
        resizable=True,
    )


def _without_tiers(policy: Policy) -> Policy:
    """Return what of a policy holds for embeddings: all but whom turns go to."""
    return replace(policy, tiers={}, agents={}, last_resort=(), lead=None)


def _accept(response: Response) -> None:
    if not isinstance(response, EmbeddingResponse):
        raise BadReply("the answer holds no vectors")


def _joined(made: Embeddings, more: EmbeddingResponse) -> Embeddings:
    """Return both. Raise `BadReply` where vectors of two requests differ in length."""
    lengths = {len(vector) for vector in (*made.vectors[:1], *more.vectors[:1])}
    if len(lengths) > 1:
        raise BadReply(f"the vectors of two requests have several lengths: {' and '.join(map(str, lengths))}")
    estimate = made.estimate
    if more.estimate is not None or estimate is not None:
        before = estimate or Estimate(made.usage, made.cost)
        usage, cost = (more.usage, more.cost) if more.estimate is None else (more.estimate.usage, more.estimate.cost)
        estimate = Estimate(before.usage + usage, None if None in (before.cost, cost) else before.cost + cost)  # type: ignore[operator]
    return replace(
        made,
        vectors=(*made.vectors, *more.vectors),
        usage=made.usage + more.usage,
        cost=None if made.cost is None or more.cost is None else made.cost + more.cost,
        attempts=(*made.attempts, *more.attempts),
        estimate=estimate,
        provider=more.provider,
        model_asked=more.model,
    )


def built_in() -> dict[str, Adapter]:
    """Return the adapters of the dialects that have embeddings: Anthropic's has none."""
    from providers.adapters.gemini.embeddings import GeminiEmbeddings
    from providers.adapters.openai.embeddings import OpenAIEmbeddings

    return {"openai-chat": OpenAIEmbeddings(), "gemini": GeminiEmbeddings()}
