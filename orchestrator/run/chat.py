"""A chat at work: each exchange is a unit of durable calls, recorded before it is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio

from agents import RunContext, WorkResult
from agents.run_context import CallToApprove, Leave, StepKey, Suspended
from orchestrator.errors import AnswerSuspended, NoSuchAgent
from orchestrator.events import (
    ChatPartner,
    ExchangesUndone,
    GateAnswered,
    GateOpened,
    RunFinished,
    TaskEnded,
    TaskParked,
    TaskStarted,
    TaskStatus,
    UserSaid,
)
from orchestrator.journal.protocols import Fence, InFlightStep, Journal, JournalError, StepChanged
from orchestrator.run.accounts import AccountScope
from orchestrator.run.crew import Crew
from orchestrator.run.durable import DurableCalls
from orchestrator.run.exchanges import EXCHANGE, Exchange, ExchangeStatus, seen_by, with_origins
from orchestrator.run.questions import Asker
from orchestrator.run.recorder import Recorder
from orchestrator.run.work_clock import RunClock, UnitClock
from orchestrator.units import StepPath
from providers.messages import Message, user
from providers.trace_context import TraceContext


@dataclass(slots=True)
class Chat:
    """One chat that this process drives. One exchange at a time: others wait."""

    crew: Crew
    recorder: Recorder
    journal: Journal
    asker: Asker
    budgets: AccountScope
    work_clock: RunClock
    open: Callable[[], Awaitable[None]]
    """Records that the chat begins or goes on, before anything else of it is recorded."""
    partner: ChatPartner
    exchanges: list[Exchange] = field(default_factory=list)
    in_flight: Sequence[InFlightStep] = ()
    is_open: bool = False
    trace: TraceContext | None = None
    """The trace that its calls belong to; None: nobody traces them."""
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def pending(self) -> Exchange | None:
        """The exchange whose answer was cut short, or waits for a person."""
        last = self.exchanges[-1] if self.exchanges else None
        return last if last is not None and last.status == "open" else None

    async def say(self, text: str, agent: str) -> Exchange:
        """Return the exchange that this begins, answered. One that is pending is given up."""
        async with self._lock:
            await self._begin()
            await self._give_up_pending()
            number = self.exchanges[-1].number + 1 if self.exchanges else 1
            exchange = Exchange(number, agent, text, self.crew.clock())
            self.recorder.record(UserSaid(number, agent, text))
            self.recorder.record(TaskStarted(exchange.unit.task, 1, agent), exchange.unit)
            await self.flush()
            self.exchanges.append(exchange)
            return await self._answered(exchange)

    async def go_on(self) -> Exchange | None:
        """Return the pending exchange, answered: what is recorded of it is not paid again. None: there is none."""
        async with self._lock:
            if self.pending is None:
                return None
            await self._begin()
            return await self._answered(self.pending)

    async def undo(self, count: int) -> list[Exchange]:
        """Take the last exchanges that stand out of what is told, and return them."""
        async with self._lock:
            undone = [one for one in self.exchanges if one.stands][-count:] if count > 0 else []
            if self.pending is not None or undone:
                await self._begin()
                await self._give_up_pending()
            if undone:
                self.recorder.record(ExchangesUndone(tuple(one.number for one in undone)))
                await self.flush()
                for one in undone:
                    self._put(replace(one, is_undone=True))
            return undone

    async def talk_to(self, partner: ChatPartner) -> None:
        """Go on with another agent, or with one that asks another model."""
        async with self._lock:
            self.partner = partner
            if self.exchanges:  # of a chat in which nothing was said nothing is recorded
                await self._begin()
                self.recorder.record(partner)
                await self.flush()

    async def close(self, *, stub: bool) -> None:
        """Record that nobody drives the chat now."""
        if self.is_open:
            states = {one.unit.task: _STATES[one.status] for one in self.exchanges}
            recorder = self.recorder
            ended = RunFinished(recorder.run_id, "waiting", {}, {}, recorder.usage, recorder.cost, states, stub)
            recorder.record(replace(ended, cut_short=recorder.cut_short))
            await self.flush()

    async def flush(self) -> None:
        """Let the journal have all events so far."""
        await self.journal.append(self.recorder.run_id, self.recorder.take())

    # -- one exchange

    async def _begin(self) -> None:
        if not self.is_open:
            await self.open()
            self.is_open = True

    async def _give_up_pending(self) -> None:
        if (pending := self.pending) is not None:
            fence = await self._claim(pending)
            await self._end(pending, fence, "cancelled")

    async def _claim(self, exchange: Exchange) -> Fence:
        fence = await self.journal.claim(self.recorder.run_id, exchange.unit, "local")
        assert fence is not None, "an exchange is claimed until it has ended"
        return fence

    async def _answered(self, exchange: Exchange) -> Exchange:
        """Do the work of an exchange, and record how it ended."""
        fence = await self._claim(exchange)
        try:
            with self.work_clock.unit() as clock:
                ctx = self._context(exchange, fence, clock)
                result = await self._work(exchange, ctx, clock)
                told = result.transcript[0]
                # Around the words stands what is remembered, for once; others are those that a person wrote instead.
                first = user(exchange.text) if exchange.text in told.text else told
                messages: tuple[Message, ...] = (first, *result.transcript[1:])
                messages = with_origins(messages, exchange.agent, result.untrusted)
                await ctx.do(EXCHANGE, b"", lambda: _at_once(messages))
        except Suspended as waiting:
            self.recorder.record(TaskParked(exchange.unit.task, None, waiting.reason, None), exchange.unit)
            await self.journal.park(self.recorder.run_id, exchange.unit, fence, self.recorder.take())
            raise AnswerSuspended(self.recorder.run_id, waiting.reason) from None
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._end(exchange, fence, "cancelled")
            raise
        except Exception as error:
            if isinstance(error, JournalError) and not isinstance(error, StepChanged):
                raise  # what cannot be recorded is not gone on with
            await self._end(exchange, fence, "failed", error=error)
            raise
        return await self._end(exchange, fence, "ok", result, messages)

    def _context(self, exchange: Exchange, fence: Fence, clock: UnitClock) -> RunContext:
        unit = exchange.unit
        cut_short: Collection[StepKey] = frozenset(key for there, key in self.in_flight if there == unit)
        calls = DurableCalls(self.journal, self.recorder, unit, fence, clock, cut_short, trace=self.trace)

        async def approve(call: CallToApprove) -> Leave:
            return await self.asker.leave(unit, call, clock, self.crew.plan.tool_sources.get(call.tool, ""))

        emit, unsure = self.recorder.at(unit), frozenset(cut_short)
        return RunContext(emit=emit, do=calls.do, budgets=self.budgets, approve=approve, cut_short=unsure)

    async def _work(self, exchange: Exchange, ctx: RunContext, clock: UnitClock) -> WorkResult:
        """Ask for the answer. Raise `NoSuchAgent` where the squad was edited, and who was to give it is gone."""
        if exchange.agent not in self.crew.plan.agents:
            raise NoSuchAgent(exchange.agent, self.crew.plan.agents)
        before = [one for one in self.exchanges if one.stands and one.number < exchange.number]
        seen, unit = seen_by(exchange.agent, before), exchange.unit

        async def ask(gate: GateOpened, step: StepPath, what: str) -> GateAnswered:
            return await self.asker.within(unit, step, gate, clock, what)

        return await self.crew.reply(exchange.agent, exchange.text, seen, unit, ctx, ask)

    async def _end(
        self,
        exchange: Exchange,
        fence: Fence,
        status: ExchangeStatus,
        result: WorkResult | None = None,
        messages: tuple[Message, ...] = (),
        error: Exception | None = None,
    ) -> Exchange:
        answer, kind = "" if result is None else result.text, None if error is None else type(error).__name__
        told = "" if error is None else str(error) or type(error).__name__
        read = () if result is None else result.untrusted
        ended = TaskEnded(exchange.unit.task, _STATES[status], answer or None, error=told or None, error_kind=kind)
        ended = replace(ended, untrusted=read)
        self.recorder.record(ended, exchange.unit)
        await self.journal.end(self.recorder.run_id, exchange.unit, fence, self.recorder.take())
        made = replace(exchange, status=status, answer=answer, error=told, messages=messages, untrusted=read)
        if result is not None:
            made = replace(made, cost=result.cost, model=f"{result.provider}/{result.model}")
        return self._put(made)

    def _put(self, exchange: Exchange) -> Exchange:
        at = next(i for i, one in enumerate(self.exchanges) if one.number == exchange.number)
        self.exchanges[at] = exchange
        return exchange


_STATES: Mapping[ExchangeStatus, TaskStatus] = {
    "open": "interrupted",
    "ok": "ok",
    "failed": "failed",
    "cancelled": "cancelled",
}


async def _at_once(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages
