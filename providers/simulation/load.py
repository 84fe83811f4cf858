"""From a load to turns: when they arrive, what each asks, and what an answer to it says. Pure but for the dice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from random import Random
from statistics import NormalDist

from providers.messages import (
    BYTES_PER_TOKEN,
    TOKENS_PER_MESSAGE,
    FinishReason,
    Needs,
    Request,
    Response,
    Usage,
    assistant,
    user,
)
from providers.simulation.scenario import MOST_TOKENS, Load

SIZES = 16
"""Of a load whose turns differ in size: so many quantiles are drawn from."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Turns that are alike: one request, and one answer to it. `number` tells kinds apart."""

    number: int
    request: Request
    response: Response

    @property
    def usage(self) -> Usage:
        return self.response.usage


def dice(*of: object) -> Random:
    """Return a generator of its own for each purpose, so that one's draws move no other one's luck."""
    return Random("/".join(map(str, of)))  # noqa: S311  # dice, not a secret


def kinds(load: Load, first: int) -> list[Kind]:
    """Return the kinds of a load's turns, numbered from `first`, each as likely as the others."""
    sizes = [1.0]
    if load.spread:
        normal = NormalDist(0.0, load.spread)
        sizes = [exp(normal.inv_cdf((at + 0.5) / SIZES)) for at in range(SIZES)]
    return [_kind(load, size, first + at) for at, size in enumerate(sizes)]


def _kind(load: Load, size: float, number: int) -> Kind:
    needs = Needs(
        agent=load.agent,
        persona=load.persona,
        tier=load.tier,
        model=load.model,
        chain=load.chain,
        task_type=load.task_type,
        capabilities=load.capabilities,
        deadline_s=load.deadline,
    )
    wanted = min(max(TOKENS_PER_MESSAGE + 1, round(load.input_tokens * size)), MOST_TOKENS)
    text = "x" * ((wanted - TOKENS_PER_MESSAGE - 1) * BYTES_PER_TOKEN)  # so that the estimate is `wanted`
    output = max(1, min(round(load.output_tokens * size), load.max_output_tokens or 10**9))
    request = Request((user(text),), needs=needs, max_output_tokens=load.max_output_tokens)
    answer = Response(assistant("done"), FinishReason.STOP, Usage(input=wanted, output=output))
    return Kind(number, request, answer)


def arrivals(load: Load, starts: float, own: Random) -> Iterator[float]:
    """Yield the instants at which the load's turns arrive, in order; epoch seconds."""
    begins = starts + load.begins
    if load.arrivals == "even":
        for at in range(load.count):
            yield begins + load.over * at / load.count
        return
    share = 0.0
    for left in range(load.count, 0, -1):  # the least of `left` instants drawn from what remains of the time
        share = 1.0 - (1.0 - share) * own.random() ** (1.0 / left)
        yield begins + load.over * share
