"""A turn's books: what each attempt reserved, cost and came to; and who is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, Protocol, cast

import anyio

from providers.catalog.model import Candidate, numbered
from providers.catalog.prices import cost_of
from providers.errors import BadReply, ProviderError
from providers.events import AttemptEnded, AttemptStarted, Emit, RouteChosen, WaitingForProvider, ignore
from providers.messages import Attempt, Request, Response, Usage, estimate_tokens
from providers.routing.effects import Sleep, Try, Woke
from providers.routing.fleet import Fleet
from providers.routing.ordering import expected_output

Accept = Callable[[Response], None]
"""Raises `BadReply` where an answer will not do; the attempt then counts as failed."""
Ending = Literal["ok", "failed", "cancelled"]


class Purse(Protocol):
    """Our own caps. A reservation has `settle(cost, tokens)` and `release()`; exactly one is called, once."""

    def reserve(self, cost: int, tokens: int) -> Any: ...


class Held(Protocol):
    """What an attempt holds of its candidate's limits, and is told how it ended."""

    def note(self, error: ProviderError | None, response: Response | None, heard: int) -> None: ...


class Turn:
    """What one turn's attempts share: who asks, who listens, who pays, and what was tried so far."""

    __slots__ = ("answers", "attempts", "began", "clock", "emit", "fleet", "purse", "request")

    def __init__(
        self, fleet: Fleet, clock: Callable[[], float], request: Request, emit: Emit, purse: Purse | None
    ) -> None:
        self.fleet, self.clock = fleet, clock
        self.request, self.emit, self.purse = request, emit, purse
        self.began = self.clock()
        self.attempts: list[Attempt] = []
        self.answers: list[tuple[Response, Candidate]] = []
        """Of two attempts at once both may have answered."""

    async def sleep(self, effect: Sleep) -> Woke:
        self.emit(WaitingForProvider(effect.until, effect.reason))
        await anyio.sleep(max(0.0, effect.until - self.clock()))
        return Woke(self.clock())

    def finished(self, response: Response) -> Response:
        """Return `response` with the turn's attempts and latency (waits included), and with what it leaves unsaid."""
        candidate = next(who for answer, who in self.answers if answer is response)
        return replace(
            response,
            provider=response.provider or candidate.provider.name,
            model=response.model or candidate.model.name,
            cost=cost_of(candidate, response.usage, self.clock()) if response.cost is None else response.cost,
            attempts=tuple(self.attempts),
            latency_ms=(self.clock() - self.began) * 1000,
        )


class AttemptAccount:
    """The books of one attempt: opened before anything is sent, closed exactly once on every path.

    Opening it raises the purse's `BudgetSpent`; nothing is sent then.
    """

    __slots__ = ("_allowed", "_began", "_effect", "_held", "_open", "_tokens", "_turn", "body")

    def __init__(self, turn: Turn, effect: Try, allowed: Held | None = None) -> None:
        self._turn, self._effect, self._open, self._allowed = turn, effect, True, allowed
        self.body: bytes | None = None
        """What is sent, once it is known."""
        candidate, route = effect.candidate, effect.route
        if effect.number == 1 and turn.emit is not ignore:
            contest = None if route.ordering is None else route.ordering._asdict()
            refused = {name: str(reason) for name, reason in route.refused.items()}
            turn.emit(RouteChosen(route.names, refused, contest))
        self._tokens, self._held = 0, cast(Any, None)
        if turn.purse is not None:
            self._tokens = turn.fleet.demands(turn.request)[0]
            wanted = Usage(input=self._tokens, output=expected_output(turn.request, candidate.model))
            self._held = turn.purse.reserve(cost_of(candidate, wanted, turn.clock()) or 0, wanted.total)
        self._began = turn.clock()
        turn.emit(AttemptStarted(effect.number, candidate.provider.name, candidate.model.name, candidate.account))

    def close(
        self, how: Ending, error: ProviderError | None = None, response: Response | None = None, heard: int = 0
    ) -> None:
        """Settle or release, and tell. `response` may stand beside an error: an answer that would not do was paid.

        Of an attempt that was given up nobody says what it cost: what was sent is taken to be billed.
        """
        if not self._open:
            return
        self._open = False
        turn, candidate = self._turn, self._effect.candidate
        provider, model, account = candidate.provider.name, candidate.model.name, candidate.account
        ms = (turn.clock() - self._began) * 1000
        bill = None
        if how != "ok" or self._held is not None:
            lost = how == "cancelled" and self.body is not None
            bill = self._bill(candidate, error, response, heard, lost=lost)
        if self._held is not None:
            self._book(bill)
        if self._allowed is not None:
            self._allowed.note(error, response, heard)
        if error is None:
            attempt = Attempt(provider, model, how, ms=ms, account=account)
        else:
            error.of(provider, numbered(model, account))
            if candidate.key:
                error.hide(candidate.key)
            attempt = Attempt(provider, model, how, error.status, type(error).__name__, error.message, ms, account)
        if how == "ok" and response is not None:
            turn.answers.append((response, candidate))
        turn.attempts.append(attempt)
        if turn.emit is not ignore:
            sent = None if self.body is None else hashlib.sha256(self.body).hexdigest()
            usage, cost = (None, None) if bill is None or how == "ok" else bill
            ended = (provider, model, how, attempt.error, attempt.detail, ms, sent, account, usage, cost)
            turn.emit(AttemptEnded(self._effect.number, *ended))

    def _bill(
        self, candidate: Candidate, error: ProviderError | None, response: Response | None, heard: int, *, lost: bool
    ) -> tuple[Usage, int | None] | None:
        """Return what the attempt is taken to be billed for and what that costs, None where it is nothing."""
        told = response if response is not None else error
        if response is None and not heard and not lost and (error is None or error.usage is None):
            return None
        usage = billed(self._tokens or self._turn.fleet.demands(self._turn.request)[0], told, heard)
        known = told.cost if told is not None else None
        return usage, cost_of(candidate, usage, self._turn.clock()) if known is None else known

    def _book(self, bill: tuple[Usage, int | None] | None) -> None:
        held, self._held = self._held, None
        if bill is None:
            held.release()
        else:
            held.settle(bill[1] or 0, bill[0].total)


def billed(tokens: int, told: Response | ProviderError | None, heard: int) -> Usage:
    """Return what a call of about `tokens` used: the provider's figures, else what was said and heard."""
    if told is not None and told.usage is not None and told.usage.total:
        return told.usage
    # Not said: a broken stream, or a vendor that sends no usage.
    return Usage(input=tokens, output=estimate_tokens(told.text) if isinstance(told, Response) else heard)


def check(response: Response) -> None:
    """Raise `BadReply` for an answer that says nothing."""
    if not response.text.strip() and not response.tool_calls:
        raise BadReply("the answer is empty")
