"""Answers a client that asks for vectors of texts."""

from __future__ import annotations

from orchestrator.server.gateway.admission import Grant
from orchestrator.server.gateway.allowance import RequestSize
from orchestrator.server.gateway.failures import ABSENT, GatewayFailure, not_allowed
from orchestrator.server.gateway.keys import Key
from orchestrator.server.gateway.openai_embeddings import VectorsAsked
from orchestrator.server.gateway.sizing import size_of_texts, unknown_price
from providers.catalog.prices import cost_of
from providers.client.manager import ProviderManager
from providers.embeddings import Embeddings
from providers.errors import NoRoute
from providers.limits.rules import NOMINAL
from providers.messages import Needs, user


class VectorsAnswerer:
    """Asks the provider manager for vectors, at the endpoints that the key may ask. Raise `GatewayFailure` where it may
    ask none, and where its budget cannot count what they cost."""

    def __init__(self, manager: ProviderManager, asked: VectorsAsked, key: Key | None) -> None:
        self._manager, self._asked = manager, asked
        chain = manager.embeddings.endpoints(asked.model)
        allowed = tuple(one for one in chain if key is None or key.may_ask(one, asked.model))
        if key is not None and not (allowed or key.may_ask(asked.model)):
            raise not_allowed(key.name, asked.model)
        self._models = allowed or asked.model
        ranking = manager.embeddings.fleet.ranking(Needs(chain=allowed))
        self._candidates = [state.candidate for state in ranking.states]
        if key is not None and key.budgets and manager.policy.budget.unknown_price == "refuse":
            now = manager.reservations.wall()
            for one in self._candidates:
                if cost_of(one, NOMINAL, now) is None:
                    raise unknown_price(key, one)

    def size(self, now: float) -> RequestSize:
        """Return what the request may take of its key's allowance."""
        return size_of_texts(sum(user(text).tokens for text in self._asked.texts), self._candidates, now)

    async def made(self, grant: Grant) -> Embeddings:
        """Return the vectors. Raise `GatewayFailure` where no provider that is set up has the model."""
        asked = self._asked
        try:
            made = await self._manager.embed(
                asked.texts, model=self._models, dimensions=asked.dimensions, emit=grant.emit, budgets=grant.budgets
            )
        except NoRoute as error:
            if {reason.code for reason in error.reasons.values()} <= ABSENT:
                raise GatewayFailure(404, "not_found", str(error), "model_not_found", "model") from None
            raise
        grant.embedded(made)
        return made
