"""One attempt at a candidate, whole or streamed: reserve, encode, send, decode or classify, settle, tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import anyio
import anyio.lowlevel

from providers.client.accounting import AttemptAccount, AttemptEnding
from providers.client.reply import StreamedReply
from providers.client.reservations import Reservation
from providers.client.resume import ResumedStream
from providers.client.turn import LiveTurn
from providers.embeddings import EmbeddingResponse
from providers.errors import BadReply, ProviderError
from providers.messages import (
    Delta,
    Reasoning,
    ReasoningDelta,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from providers.routing.demands import as_taken
from providers.routing.effects import Answered, Ended, Failed, Refused, Try

LOCAL_DELTA = 16
"""Characters in one delta of an answer made in this process."""


class LiveAttempt:
    """Drives one attempt step by step: a whole answer takes one step, a streamed one a step for each piece.

    On every path it closes its account, its socket and its reservation exactly once. `said` is the answer so far, where
    this attempt continues one that broke off.
    """

    __slots__ = (
        "_account",
        "_began",
        "_reply",
        "_request",
        "_reservation",
        "_resumed",
        "_streamed",
        "_turn",
        "effect",
        "ready",
    )

    def __init__(self, turn: LiveTurn, effect: Try, *, streamed: bool = False, said: str = "") -> None:
        self.effect = effect
        self.ready: list[Delta] = []
        """What a streamed answer said and its caller has not taken yet."""
        self._turn, self._streamed = turn, streamed
        self._resumed = ResumedStream(said) if said.strip() else None
        request = turn.request if self._resumed is None else self._resumed.request(turn.request)
        self._request = as_taken(request, effect.candidate.model)
        self._account: AttemptAccount | None = None
        self._reservation: Reservation | None = None
        self._reply: StreamedReply | None = None

    async def finish(self) -> Ended:
        """Take all steps; return how the attempt ended."""
        while (ended := await self.step()) is None:
            pass
        return ended

    async def step(self) -> Ended | None:
        """Take one step; return how the attempt ended, None while it goes on. After an exception it is over."""
        response, sound = None, False
        try:
            if self._account is None and (refused := await self._refused()) is not None:
                return refused
            response = await self._exchange()
            if response is None:
                return None
            _check(response)
            sound = True
            if self._turn.accept is not None:
                self._turn.accept(response)
        except ProviderError as error:
            self.ready.clear()
            await self.end("failed", error, response)
            return Failed(self._turn.clock(), self.effect.number, self._turn.received(error), sound=sound)
        except BaseException:
            await self.end("cancelled", None, response)
            raise
        return await self._answered(response)

    async def _answered(self, response: Response) -> Answered:
        first_token = None if self._reply is None else self._reply.first_token
        if self._resumed is not None:
            self.ready.extend(self._resumed.held())
            response = self._resumed.joined(response)
        await self.end("ok", None, response)
        return Answered(self._turn.clock(), self.effect.number, response, first_token)

    async def _refused(self) -> Refused | None:
        """Reserve of the run's budgets and of the candidate's limits, and open the account. Raise `BudgetSpent`.

        None: the attempt is admitted, and on record where a budget pays for it.
        """
        turn = self._turn
        paid = None if turn.purse is None else await turn.purse.take(self.effect.candidate)
        self._began = anyio.current_time()
        if turn.purse is not None and paid is None:
            return Refused(turn.clock(), self.effect.number, is_held=True)
        try:
            self._reservation = await turn.reservations.reserve(self.effect, turn.request, turn.emit, turn.clock)
        finally:
            if paid is not None and self._reservation is None:
                paid.release()
        if self._reservation is None:
            return Refused(turn.clock(), self.effect.number)
        self._account = AttemptAccount(turn, self.effect, self._reservation, paid)
        if paid is not None:
            if (cap := self._account.answer_cap) is not None:  # a longer answer than is reserved could pass a budget
                self._request = replace(self._request, max_output_tokens=cap)
            await paid.recorded()
        return None

    async def _exchange(self) -> Response | None:
        """Return the answer once it is whole; of a streamed one make the next deltas ready."""
        candidate, adapters = self.effect.candidate, self._turn.adapters
        local = adapters.local.get(candidate.provider.dialect)
        if local is not None:
            await anyio.lowlevel.checkpoint()
            response = local.respond(self._request, candidate)
            if self._streamed:
                self.ready.extend(_chopped(response))
            return response
        if self._streamed:
            return await self._read_on()
        adapter = adapters.remote[candidate.provider.dialect]
        assert self._account is not None, "an attempt is admitted before it is sent"
        message = self._account.sends(adapter.encode(self._request, candidate, stream=False))
        self._account.is_whole = True
        # A slow ledger's time is this attempt's too: the turn's deadline knows no difference.
        reply = await adapters.send(message, self.effect.timeouts, anyio.current_time() - self._began)
        if self._reservation is not None:
            self._reservation.headers = reply.headers
        if 200 <= reply.status < 300:
            return adapter.decode(reply, self._request, candidate, self._turn.reservations.wall())
        raise adapter.classify(reply, candidate, self._turn.reservations.wall())

    async def _read_on(self) -> Response | None:
        if self._reply is None:
            assert self._account is not None, "an attempt is admitted before it is sent"
            wall = self._turn.reservations.wall
            self._reply = StreamedReply(self._turn.adapters, self._request, self.effect, wall, self._began)
            await self._reply.open(self._account, self._reservation)
        deltas = await self._reply.read()
        if deltas is None:
            return self._reply.finish()
        self.ready.extend(deltas if self._resumed is None else self._resumed.passed(deltas))
        return None

    @property
    def is_open(self) -> bool:
        """Whether it has an account, a socket or a reservation that is not ended."""
        return (self._account or self._reply or self._reservation) is not None

    async def end(
        self, how: AttemptEnding, error: ProviderError | None = None, response: Response | None = None
    ) -> None:
        """End it, once: its account first, which cannot fail, then its socket, then its reservation."""
        account, self._account = self._account, None
        reply, self._reply = self._reply, None
        reservation, self._reservation = self._reservation, None
        if account is not None:
            heard, first_token = (0, None) if reply is None else (reply.heard, reply.first_token)
            account.close(how, error, response, heard, first_token)
        try:
            if reply is not None:
                await reply.aclose()
        finally:
            if reservation is not None:
                await reservation.close()


def _check(response: Response) -> None:
    """Raise `BadReply` for an answer that says nothing."""
    if not (response.text.strip() or response.tool_calls or isinstance(response, EmbeddingResponse)):
        raise BadReply("the answer is empty")


def _chopped(response: Response) -> Iterator[Delta]:
    """Yield a whole answer as deltas, text in small pieces."""
    calls = 0
    for part in response.message.parts:
        match part:
            case Text(text):
                yield from map(TextDelta, _pieces(text))
            case Reasoning(text):
                yield from map(ReasoningDelta, _pieces(text))
            case ToolCall(id, name, arguments):
                yield ToolCallDelta(calls, id, name, arguments)
                calls += 1
            case _:
                pass  # a model says nothing else


def _pieces(text: str) -> list[str]:
    return [text[i : i + LOCAL_DELTA] for i in range(0, len(text), LOCAL_DELTA)]
