"""Facts: who can be asked, where, in which dialect, for what price. Policy is in `routing.py`'s `Policy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from providers.messages import Ability, Usage

ToolIds = Literal["opaque", "alnum9"]
JsonMode = Literal["schema", "object", "prompt"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a vendor departs from its dialect. The defaults are OpenAI's own habits."""

    max_tokens_field: str = "max_completion_tokens"
    seed_field: str = "seed"
    stream_options: bool = True
    system_role: Literal["system", "developer"] = "system"
    tool_ids: ToolIds = "opaque"
    json_mode: JsonMode = "schema"
    """`schema`: response_format json_schema; `object`: json_object, the schema in the prompt; `prompt`: words only."""
    sampling: bool = True
    """Whether temperature may be sent."""
    default_max_tokens: int | None = None
    """Sent where the request sets no cap: for vendors that reserve, or default to, something unreasonable."""
    extra_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, as vendors print it. A token then costs that many micro-USD."""

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None

    def cost(self, usage: Usage) -> int:
        """Return micro-USD, rounded up: a cost is never understated."""
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        exact = (
            usage.input * self.input
            + usage.cache_read * read
            + usage.cache_write * write
            + (usage.output + usage.reasoning) * self.output
        )
        return int(-(-exact // 1))


@dataclass(frozen=True, slots=True)
class Model:
    """What a provider serves under `name` (the name on the wire)."""

    name: str
    context: int
    max_output: int
    abilities: frozenset[Ability] = frozenset()
    price: Price | None = None
    """None: unknown, never free."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A vendor's endpoint. `key_env` names the variable that holds the key; None: no key is needed."""

    name: str
    dialect: str
    base_url: str
    key_env: str | None
    models: Mapping[str, Model]
    quirks: Quirks = Quirks()
    hosted: bool = True
    source: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of a provider through one key. `key` never shows in a repr."""

    provider: Provider
    model: Model
    key: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """`provider/model`, the name that policies and events use."""
        return f"{self.provider.name}/{self.model.name}"
