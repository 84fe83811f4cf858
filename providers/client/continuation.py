"""A text that was cut off at the length of one answer is continued by the model that wrote it, where that can. Pure but
for the asking.

Nobody set that limit: it is the vendor's, or what the catalog asks for where a request names no cap. A request that
has a cap of its own is left at what it got.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from providers.client.resume import ResumedStream
from providers.errors import ProviderError, RoutingError
from providers.messages import Delta, Estimate, FinishReason, Hear, Request, Response, Restarted, TextDelta

MOST = 3
"""So often an answer is continued; what is not whole then stays cut off."""


def may_be_continued(request: Request, response: Response) -> bool:
    """Return whether an answer is a text that only the limit of its length ended."""
    if response.finish is not FinishReason.LENGTH or request.max_output_tokens is not None:
        return False
    return bool(response.text.strip()) and not response.tool_calls


async def continued(first: Response, request: Request, ask: Callable[[Request, str], Awaitable[Response]]) -> Response:
    """Return the answer with what its model says on, joined without a seam; as far as it came where that fails.

    `ask` answers a request that ends in the text so far, which it is also given as it is. What it raises for providers,
    limits and budgets ends the continuation: what is there was paid for and stays.
    """
    whole = first
    for _ in range(MOST):
        if not may_be_continued(request, whole):
            break
        said = ResumedStream(whole.text)
        asked = said.request(request)
        asked = replace(asked, needs=replace(asked.needs, model=f"{whole.provider}/{whole.model}"))
        try:
            rest = await ask(asked, whole.text)
        except (RoutingError, ProviderError):
            break
        longer = _summed(whole, said.joined(rest))
        if longer.text == whole.text and longer.finish is FinishReason.LENGTH:
            return longer  # it has no more to say, and would be asked again for nothing
        whole = longer
    return whole


class RestHeard:
    """Tells `hear` what is new of the rest of a text that it was told already.

    Where the rest begins anew or fails, that text is told again behind a `Restarted`: all since then is the answer.
    """

    def __init__(self, hear: Hear, said: str) -> None:
        self._hear, self._said = hear, said
        self._resumed = ResumedStream(said)

    def __call__(self, delta: Delta) -> None:
        if isinstance(delta, Restarted):
            self.restart(delta.reason)
            return
        for new in self._resumed.passed([delta]):
            self._hear(new)

    def restart(self, reason: str) -> None:
        """Take back what was told of the rest."""
        self._resumed = ResumedStream(self._said)
        self._hear(Restarted(reason))
        self._hear(TextDelta(self._said))

    def end(self) -> None:
        """Tell what was held back."""
        for new in self._resumed.held():
            self._hear(new)


def _summed(whole: Response, longer: Response) -> Response:
    """Return the longer answer with what both cost."""
    estimate = None
    if whole.estimate is not None or longer.estimate is not None:
        costs = [one.cost if one.estimate is None else one.estimate.cost for one in (whole, longer)]
        cost = None if None in costs else sum(filter(None, costs))
        estimate = Estimate(whole.counted + longer.counted, cost)
    return replace(
        longer,
        usage=whole.usage + longer.usage,
        cost=None if whole.cost is None or longer.cost is None else whole.cost + longer.cost,
        attempts=(*whole.attempts, *longer.attempts),
        latency_ms=whole.latency_ms + longer.latency_ms,
        estimate=estimate,
    )
