"""Admits a call to a candidate's limits and to our own budget: plan, reserve, then refused or settled. Pure.

Between the steps the ledger is asked: the client waits for it, a simulation keeps its own on the virtual clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from providers.catalog.model import Candidate
from providers.errors import ProviderError, RateLimited, Reason, ReasonCode, RequestTooLarge
from providers.limits.counter import LimitKey
from providers.limits.reserve import Amounts, NoRoom
from providers.limits.rules import Allowance, Call, Cap, Ending, came_to, expected, reason
from providers.messages import Response, Usage
from providers.routing.candidate_state import CandidateState
from providers.routing.health import limited_until

POLL_S = 0.05
"""How soon to look again where calls in flight fill a limit: any of them may come back with less."""
LATE_S = 30.0
"""How long after its deadline an attempt may still be settled before its lease expires."""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What a call of about `tokens` reserves of all that binds its candidate."""

    bound: Allowance
    tokens: int
    reserves: Amounts


def plan(bound: Allowance, candidate: Candidate, tokens: int, output: int, now: float) -> CallPlan:
    """Return what to reserve for a call of `tokens` of input that is answered by at most `output`."""
    asked = bound.call(candidate, Usage(input=tokens), now)
    whole = bound.call(candidate, Usage(input=tokens, output=output), now)
    return CallPlan(bound, tokens, expected(bound, asked, whole))


def forbid(state: CandidateState | None, bound: Allowance) -> bool:
    """Whether our own caps forbid the candidate altogether; its state then says so."""
    if bound.refused is None:
        return False
    if state is not None:
        state.block(inf, bound.refused)
    return True


def refuse(state: CandidateState | None, plan: CallPlan, no_room: NoRoom, now: float) -> Cap | None:
    """Note in the candidate's state until when there is no room. Return our own cap where that is what is used up.

    A cap that calls in flight hold is not used up: they may come to less.
    """
    until, cap = max(no_room.until, now + POLL_S), plan.bound.cap(no_room.meter)
    in_flight = cap is not None and until > no_room.until
    if state is not None:
        asked = next((amount for meter, amount in plan.reserves if meter.key == no_room.meter.key), 0.0)
        why = _held_back(cap) if cap is not None and in_flight else reason(plan.bound, no_room, asked)
        # A smaller call may find the room that this one does not.
        state.block(until, why, plan.tokens if plan.bound.sized(no_room.meter) else 0)
    return None if in_flight or until == inf else cap


def _held_back(cap: Cap) -> Reason:
    text = f"{cap.meter.label} is held by calls in flight"
    return Reason(ReasonCode.BUDGET, text, budget=cap.budget, is_held=True)


def settled(plan: CallPlan, how: Ending, call: Call) -> Amounts:
    """Return what to count in place of what was reserved."""
    return came_to(plan.bound, plan.reserves, how, call)


def shut_until(bound: Allowance, error: ProviderError | None, now: float) -> tuple[LimitKey, float] | None:
    """Return the meter that the provider's own refusal shuts for every process of the ledger, and until when.

    It is the model's own, or that of the pool whose words the refusal says.
    """
    if not bound.limits or not isinstance(error, RateLimited) or isinstance(error, RequestTooLarge):
        return None
    words = error.message.lower()
    named = (meter for limit, meter in bound.limits if limit.says and limit.says.lower() in words)
    return next(named, bound.hold), limited_until(error, now)


def billed(tokens: int, told: Response | ProviderError | None, heard: int) -> Usage:
    """Return what a call of about `tokens` used: the provider's figures, else an estimate of what was sent and said."""
    if told is not None and told.usage is not None and told.usage.total:
        return told.usage
    # Not said: a broken stream, or a vendor that sends no usage, or none that can be true.
    said = told.message.tokens if isinstance(told, Response) and told.message.parts else heard
    return Usage(input=tokens, output=said)
