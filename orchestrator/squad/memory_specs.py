"""`memory:` of a squad or an agent, as it is written, and what it comes to. Pure."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag

from agents.memory.use import MemoryUse, ScopeKind
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel


class MemorySpec(StrictModel):
    """What is remembered over runs, and what of it an agent is told."""

    noun: ClassVar[str] = "a memory"
    scope: ScopeKind | None = Field(default=None, description="squad: shared by its agents; agent: its own")
    recall: Annotated[int, Field(ge=0, le=50)] | None = Field(
        default=None, description="Records that are put before each piece of work; default 5"
    )
    max_tokens: Annotated[int, Field(ge=50, le=100_000)] | None = Field(
        default=None, description="Tokens that these may take; default 1500"
    )
    ttl: PositiveDuration | None = Field(default=None, description="How long new records are kept; default: for good")


def _kind(value: object) -> str:
    return "switch" if isinstance(value, bool) else "mapping"


MemoryField = Annotated[
    Annotated[bool, Tag("switch")] | Annotated[MemorySpec, Tag("mapping")],
    Discriminator(_kind),
]


def memory_use(squad: bool | MemorySpec | None, agent: bool | MemorySpec | None) -> MemoryUse | None:
    """Return how an agent uses memory, None where it has none: its own fields, then the squad's, then the defaults.

    A squad's `memory` gives each of its agents one, but for an agent with `memory: false`.
    """
    if agent is False or not (agent or squad):
        return None
    made = MemoryUse()
    layers = [one for one in (agent, squad) if isinstance(one, MemorySpec)]

    def first(name: str, default: object) -> object:
        return next((value for one in layers if (value := getattr(one, name)) is not None), default)

    return MemoryUse(
        first("scope", made.scope),  # type: ignore[arg-type]  # checked by the spec
        first("recall", made.recall),  # type: ignore[arg-type]  # as above
        first("ttl", made.ttl_s),  # type: ignore[arg-type]  # as above
        first("max_tokens", made.max_tokens),  # type: ignore[arg-type]  # as above
    )
