"""The account of one attempt: what it reserved and cost, and the events that tell of it."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import Literal

from providers.adapters import HttpRequest
from providers.budgets import BudgetReservation
from providers.catalog.model import Candidate, numbered
from providers.catalog.prices import cost_of
from providers.client.reservations import Reservation
from providers.client.turn import LiveTurn
from providers.emit import EndsOnly, ignore
from providers.errors import ProviderError
from providers.events import AttemptEnded, AttemptStarted, RouteChosen
from providers.limits.rules import ending
from providers.messages import Attempt, Response, Usage
from providers.routing.admission import billed
from providers.routing.effects import Try
from providers.routing.traffic import AttemptSeen
from providers.trace_context import TraceContext, call_scope

AttemptEnding = Literal["ok", "failed", "cancelled"]


class AttemptAccount:
    """The account of one attempt: opened before anything is sent, closed exactly once on every path.

    `budgeted` is what pays for it under the run's budgets; None: nothing caps it.
    """

    __slots__ = ("_began", "_budgeted", "_effect", "_open", "_reservation", "_trace", "_turn", "body", "is_whole")

    def __init__(
        self,
        turn: LiveTurn,
        effect: Try,
        reservation: Reservation | None = None,
        budgeted: BudgetReservation | None = None,
    ) -> None:
        self._turn, self._effect, self._open, self._reservation = turn, effect, True, reservation
        self.body: bytes | None = None
        """What is sent, once it is known."""
        self.is_whole = False
        """Whether its answer comes whole: until then nothing is heard of it, whatever it has come to."""
        candidate, route = effect.candidate, effect.route
        is_told = turn.emit is not ignore and not isinstance(turn.emit, EndsOnly)
        if effect.number == 1 and is_told:
            contest = None if route.ordering is None else route.ordering._asdict()
            refused = {name: str(reason) for name, reason in route.refused.items()}
            turn.emit(RouteChosen(route.names, refused, contest))
        self._budgeted = budgeted
        self._began = turn.clock()
        trace = call_scope().trace
        self._trace: TraceContext | None = None if trace is None else trace.at(secrets.token_hex(8))
        if is_told:  # an event without a listener would cost a microsecond
            whose = (effect.number, candidate.provider.name, candidate.model.name, candidate.account)
            span = "" if self._trace is None else self._trace.span_id
            turn.emit(AttemptStarted(*whose, *self._reserved(), span))

    def sends(self, message: HttpRequest) -> HttpRequest:
        """Take note of what is sent, and return it as it goes out: where it is traced, it says whose child it is."""
        self.body = message.body
        if self._trace is None:
            return message
        return replace(message, headers={**message.headers, **self._trace.headers})

    def _reserved(self) -> tuple[int | None, int, int]:
        if self._budgeted is None:
            return None, 0, 0
        size, output = self._budgeted.size, self._budgeted.output
        return size.cost_of(output), size.tokens + output, self._turn.fleet.demands(self._turn.request)[0]

    def close(
        self,
        how: AttemptEnding,
        error: ProviderError | None = None,
        response: Response | None = None,
        heard: int = 0,
        first_token: float | None = None,
    ) -> None:
        """Settle or release, and tell. `response` may stand beside an error: an answer that would not do was paid.

        `first_token`: seconds to a stream's first content. No provider says what an attempt cost that was given up:
        what was sent is taken to be billed.
        """
        if not self._open:
            return
        self._open = False
        turn, candidate = self._turn, self._effect.candidate
        provider, model, account = candidate.provider.name, candidate.model.name, candidate.account
        now = turn.clock()
        ms = (now - self._began) * 1000
        bill = None
        if how != "ok" or self._budgeted is not None:
            lost = how == "cancelled" and self.body is not None
            bill = self._bill(candidate, error, response, heard, lost=lost)
        in_doubt = self._budgeted is not None and self._is_in_doubt(how, error, response, heard)
        if self._budgeted is not None:
            if turn.purse is not None and (told := response if response is not None else error) is not None:
                turn.purse.learn(candidate, told.usage or Usage())
            _settle(self._budgeted, bill, in_doubt=in_doubt)
        if self._reservation is not None:
            self._reservation.note(error, response, heard)
        if error is None:
            attempt = Attempt(provider, model, how, ms=ms, account=account)
        else:
            error.of(provider, numbered(model, account))
            for secret in candidate.secrets:
                error.hide(secret)
            attempt = Attempt(provider, model, how, error.status, type(error).__name__, error.message, ms, account)
        if turn.saw is not None:
            turn.saw(self._seen(now, attempt, error, response, first_token))
        if how == "failed":
            turn.failed = candidate.name, attempt.error or ""
        if how == "ok" and response is not None:
            turn.answers.append((response, candidate))
        turn.attempts.append(attempt)
        if turn.emit is not ignore:
            sent = None if self.body is None else hashlib.sha256(self.body).hexdigest()
            usage, cost = (None, None) if bill is None or how == "ok" else bill
            ended = (provider, model, how, attempt.error, attempt.detail, ms, sent, account, usage, cost)
            first_ms = None if first_token is None else first_token * 1000
            more = (in_doubt, self.answer_cap, turn.continues, first_ms)
            turn.emit(AttemptEnded(self._effect.number, *ended, *more))

    def _seen(
        self,
        now: float,
        attempt: Attempt,
        error: ProviderError | None,
        response: Response | None,
        first_token: float | None,
    ) -> AttemptSeen:
        turn, needs = self._turn, self._turn.request.needs
        usage = Usage() if response is None else response.usage
        return AttemptSeen(
            at=now,
            candidate=self._effect.candidate.name,
            outcome=attempt.outcome,
            seconds=attempt.ms / 1000,
            tier=turn.fleet.ranking(needs).tier,
            agent=needs.agent or needs.persona or "",
            error=attempt.error,
            detail=attempt.detail,
            fault=None if error is None else error.fault,
            after=turn.failed,
            first_token=first_token,
            input_tokens=usage.input,
            output_tokens=usage.output + usage.reasoning,
        )

    @property
    def answer_cap(self) -> int | None:
        """The most tokens of answer to ask for, where no more are paid for; None: as the request has it."""
        budgeted = self._budgeted
        return None if budgeted is None or budgeted.output >= budgeted.size.most else budgeted.output

    def _is_in_doubt(
        self, how: AttemptEnding, error: ProviderError | None, response: Response | None, heard: int
    ) -> bool:
        """Return whether the provider may have made an answer that it bills, of which nothing is known here."""
        if self.body is None or response is not None or (heard and not self.is_whole):
            return False
        told = error is not None and error.usage is not None and error.usage.total > 0
        return how == "cancelled" or ending(error, answered=told) == "unknown"

    def _bill(
        self, candidate: Candidate, error: ProviderError | None, response: Response | None, heard: int, *, lost: bool
    ) -> tuple[Usage, int | None] | None:
        """Return what the attempt is taken to be billed for and what that costs, None where it is nothing."""
        told = response if response is not None else error
        if response is None and not heard and not lost and (error is None or error.usage is None):
            return None
        usage = billed(self._turn.fleet.demands(self._turn.request)[0], told, heard)
        known = told.cost if told is not None else None
        return usage, cost_of(candidate, usage, self._turn.clock()) if known is None else known


def _settle(budgeted: BudgetReservation, bill: tuple[Usage, int | None] | None, *, in_doubt: bool) -> None:
    if bill is None and not in_doubt:
        budgeted.release()
        return
    cost, tokens = (0, 0) if bill is None else (bill[1] or 0, bill[0].total)
    if in_doubt:  # up to all that was reserved may be billed
        size, output = budgeted.size, budgeted.output
        cost, tokens = max(cost, size.cost_of(output)), max(tokens, size.tokens + output)
    budgeted.settle(cost, tokens)
