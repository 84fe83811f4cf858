"""What a gateway publishes as models, and what their names mean: `tier/boss`, `agent/analyst`, `openai/gpt-x`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from orchestrator.server.gateway.failures import GatewayFailure
from personas import Persona
from providers.documents.problems import nearest
from providers.messages import Request, system

TIER, AGENT, SQUAD = "tier/", "agent/", "squad/"


@dataclass(frozen=True)
class Published:
    """The models of a gateway. `models` are those of providers that can be asked now, as `provider/model`."""

    tiers: tuple[str, ...]
    personas: Mapping[str, Persona] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    squads: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, those of tiers, agents and squads first."""
        ours = ((TIER, self.tiers), (AGENT, self.personas), (SQUAD, self.squads))
        return (*(kind + name for kind, names in ours for name in names), *self.models)

    def names_for(self, may_ask: Callable[[str], bool]) -> list[str]:
        """Return the names that may be asked: a model's own name where it may be asked by that alone."""
        bare = Counter(model.partition("/")[2] for model in self.models)
        found = [name for name in self.names if may_ask(name)]
        own = [(model, model.partition("/")[2]) for model in self.models]
        return found + [name for model, name in own if bare[name] == 1 and may_ask(name) and not may_ask(model)]

    def card(self, name: str, created: int) -> dict[str, Any]:
        """Return one model as OpenAI shows it. Raise `GatewayFailure` where none is called so."""
        whole = self.name_of(name)
        owner = "orchestrator" if whole.startswith((TIER, AGENT, SQUAD)) else whole.partition("/")[0]
        return {"id": name, "object": "model", "created": created, "owned_by": owner}

    def name_of(self, model: str) -> str:
        """Return the name under which a model is published. Raise `GatewayFailure` where none is called so.

        A model's own name stands for `provider/model` where one provider has it.
        """
        if model in self.names:
            return model
        meant = [one for one in self.models if one.partition("/")[2] == model]
        if len(meant) == 1:
            return meant[0]
        if meant:
            text = f"several providers have the model '{model}': write one of {', '.join(meant)}"
            raise GatewayFailure(404, "not_found", text, "model_not_found", "model")
        raise self._unknown(model)

    def asked(self, name: str, request: Request) -> Request:
        """Return the request as it is routed for a published model. A squad is asked by `SquadAnswerer`."""
        needs = request.needs
        if name in self.models:
            return replace(request, needs=replace(needs, model=name))
        if name.startswith(TIER):
            return replace(request, needs=replace(needs, tier=name.removeprefix(TIER)))
        persona = self.personas[name.removeprefix(AGENT)]
        opening = system(persona.instructions())
        needs = replace(needs, persona=persona.name, tier=persona.tier)
        return replace(request, messages=(opening, *request.messages), needs=needs)

    def _unknown(self, model: str) -> GatewayFailure:
        shown = model if len(model) <= 80 else f"{model[:80]}…"
        hint = nearest(model, self.names) or "GET /v1/models lists them"
        return GatewayFailure(
            404, "not_found", f"the model '{shown}' does not exist here: {hint}", "model_not_found", "model"
        )
