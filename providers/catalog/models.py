"""The facts of one model, and what its provider allows: prices, limits, windows. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from providers.messages import Capability, Usage
from providers.windows import Window

Metric = Literal["requests", "input", "output", "total", "uncached", "neurons", "usd"]
Counting = Literal["default", "sent", "answered"]
"""Which calls a limit counts: all that reached the provider, or those that it answered. By default requests are counted
when sent, all else when answered."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, as vendors print it. A token then costs that many micro-USD."""

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    source: str = ""
    as_of: str = ""

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
class Limit:
    """A provider's allowance: `amount` of `metric` in a `window`; `providers.limits` counts it.

    It holds for the whole account, for the `model` of this wire name, or for a `pool` of models that share it, by name
    or by a pattern (`*:free`). `plan` names the plan it belongs to; empty: any. `says`: by these words in a refusal the
    provider names the pool, so that one refusal holds all of its models.
    """

    metric: Metric
    amount: float
    window: Window
    model: str | None = None
    plan: str = ""
    source: str = ""
    as_of: str = ""
    pool: tuple[str, ...] = ()
    counts: Counting = "default"
    reserves: Literal["whole", "input"] = "whole"
    """`input`: only the input is reserved before the call; the answer counts once its size is known."""
    says: str = ""
    published: bool = False
    """The vendor's figure from the packaged catalog: it is kept only on the plan that it names."""

    def covers(self, model: str) -> bool:
        """Whether it holds for calls of the model with this wire name."""
        return self.model in (None, model) and (not self.pool or any(fnmatchcase(model, each) for each in self.pool))


@dataclass(frozen=True, slots=True)
class Model:
    """What a provider serves under `name` (the name on the wire)."""

    name: str
    context: int
    max_output: int
    capabilities: frozenset[Capability] = frozenset()
    price: Price | None = None
    """None: unknown, never free."""
    source: str = ""
    assumed: bool = False
    """Whether the context is a guess that holds until the server says what it is."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel(Model):
    """A model that makes vectors of texts. `context` is what one request holds, all its texts together.

    `each` is what one text may hold, in tokens, and `inputs` the most texts of one request. `dimensions` is the length
    of its vectors where nothing else is asked for, None: unknown.
    """

    dimensions: int | None = None
    each: int = 0
    inputs: int = 64
    resizable: bool = False
    """Whether it makes shorter vectors on request."""
    purposes: bool = False
    """Whether it is told what a text is for: to be found, or to find others."""
