"""How large a call may get: what a run's budgets reserve for it. Pure.

A call reserves for its longest answer, and is sent with that as its cap where its model could say more: so no answer
can cost more than was reserved. Where much is left the longest answer is a long one; where little is left it is as
long as answers have proved to be (`CallSizes`).
"""

from __future__ import annotations

from providers.budgets import CallSize, CallSizes
from providers.catalog.model import Candidate
from providers.catalog.prices import cost_of
from providers.embeddings import EmbeddingRequest
from providers.messages import Capability, Request, Usage
from providers.routing.ordering import expected_output

THINKING = 4
"""A model that thinks is expected to say so many times as much as another one."""
_SLOPE = 1_000_000


def longest_answer(request: Request, candidate: Candidate) -> int:
    """Return how many tokens the model may answer at most, as the request is sent. Vectors are no tokens."""
    if isinstance(request, EmbeddingRequest):
        return 0
    model, cap = candidate.model, request.max_output_tokens or candidate.provider.quirks.default_max_tokens
    longest = model.context if model.assumed or not model.max_output else model.max_output
    return longest if cap is None else min(cap, longest)


def call_size(request: Request, tokens: int, candidate: Candidate, sizes: CallSizes, now: float) -> CallSize:
    """Return what a call of about `tokens` of input may take. A price that is unknown counts as 0."""
    model, agent = candidate.model, request.needs.agent or ""
    sent = sizes.input_of(model.name, tokens)
    whole = cost_of(candidate, Usage(input=sent, output=_SLOPE), now) or 0
    # What a vendor puts into its cache may cost more than what it only reads.
    cost = max(cost_of(candidate, usage, now) or 0 for usage in (Usage(input=sent), Usage(cache_write=sent)))
    each = max(0.0, (whole - (cost_of(candidate, Usage(input=sent), now) or 0)) / _SLOPE)
    most = longest_answer(request, candidate)
    usual = min(most, expected_output(request, model))
    least = usual
    if isinstance(request, EmbeddingRequest):
        return CallSize(cost, sent, turns=0)
    if Capability.REASONING in model.capabilities and request.max_output_tokens is None:
        usual = min(most, THINKING * usual)
    if (known := sizes.enough(agent, model.name)) is not None:
        least, ample = min(most, known[0]), min(most, known[1])
        # Of turns with tools many are short calls: they say little of the one that ends the work.
        usual = max(usual, ample) if request.tools else max(least, ample)
    return CallSize(cost, sent, each, least, usual, most)
