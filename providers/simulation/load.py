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


def kinds(load: Load, first: int, texts: dict[int, str]) -> list[Kind]:
    """Return the kinds of a load's turns, numbered from `first`, each as likely as the others.

    `texts` keeps the text of each size: loads may be many.
    """
    sizes = [1.0]
    if load.spread:
        normal = NormalDist(0.0, load.spread)
        sizes = [exp(normal.inv_cdf((at + 0.5) / SIZES)) for at in range(SIZES)]
    return [_kind(load, size, first + at, texts) for at, size in enumerate(sizes)]


def _kind(load: Load, size: float, number: int, texts: dict[int, str]) -> Kind:
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
    if wanted not in texts:  # so that the estimate is `wanted`
        texts[wanted] = "x" * ((wanted - TOKENS_PER_MESSAGE - 1) * BYTES_PER_TOKEN)
    output = max(1, min(round(load.output_tokens * size), load.max_output_tokens or 10**9))
    request = Request((user(texts[wanted]),), needs=needs, max_output_tokens=load.max_output_tokens)
    usage = Usage(input=wanted, output=output) if load.usage is None else load.usage
    return Kind(number, request, Response(assistant("done"), FinishReason.STOP, usage))


def arrivals(load: Load, starts: float, own: Random) -> Iterator[float]:
    """Yield the instants at which the load's turns arrive, in order; epoch seconds."""
    begins = starts + load.begins
    if load.instants:
        yield from (starts + at for at in load.instants)
        return
    if load.arrivals == "even":
        for at in range(load.count):
            yield begins + load.over * at / load.count
        return
    share = 0.0
    for left in range(load.count, 0, -1):  # the least of `left` instants drawn from what remains of the time
        share = 1.0 - (1.0 - share) * own.random() ** (1.0 / left)
        yield begins + load.over * share
