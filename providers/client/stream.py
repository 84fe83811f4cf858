"""An answer as it comes: one turn whose deltas are passed on while its attempt still runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from providers.adapters import Adapter, HttpReply, StreamDecoder
from providers.client.accounting import AttemptAccount, Ending, Turn, check
from providers.client.adapter_table import Access, phases
from providers.client.hedge import race
from providers.client.reservations import Reservation, Reservations
from providers.client.resume import ResumedStream
from providers.errors import Phase, ProviderError, TimedOut
from providers.messages import (
    Delta,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Restarted,
    Resumed,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    estimate_tokens,
)
from providers.routing.effects import Answered, Effect, Ended, Failed, Outcome, Refused, Sleep, Try
from providers.transport import HttpStream

LOCAL_DELTA = 16
"""Characters in one delta of an answer made in this process."""
ERROR_BODY_BYTES = 1 << 20
"""How much of a refused stream's body is read: enough for any error message, and a bound for a hostile one."""
CLOSE_S = 0.1
"""How long a peer has to let go of a socket."""


class ResponseStream:
    """An answer's deltas in order, then `response`. Ends complete, or with a typed error: never silently short.

    Failover is free until the first delta was passed on; after it the policy's `on_break` decides: the error of the
    break is raised, or a `Restarted` or `Resumed` among the deltas says what follows. Leaving the `async with` closes
    the socket and the books, whatever happened.
    """

    def __init__(
        self, turn: Turn, flow: Generator[Effect, Outcome, Response], access: Access, reservations: Reservations
    ) -> None:
        self.response: Response | None = None
        self._turn, self._flow, self._access, self._reservations = turn, flow, access, reservations
        self._on_break = turn.fleet.policy.on_break
        self._effect: Effect | None = None
        self._attempt: _Attempt | None = None
        self._out: list[_Attempt] = []
        """All attempts that are not over."""
        self._ready: deque[Delta] = deque()
        self._passed = False
        self._said: list[str] | None = []
        """The text that was passed on, for whoever goes on with it; None: nobody can."""
        self._broke = ""
        self._over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        self._passed = True
        delta = self._ready.popleft()
        if self._on_break == "resume":
            self._remember(delta)
        return delta

    def _remember(self, delta: Delta) -> None:
        """Keep the text; an answer of other things as well cannot be gone on with."""
        if self._said is not None and isinstance(delta, TextDelta):
            self._said.append(delta.text)
        elif not isinstance(delta, Resumed):
            self._said = None

    async def aclose(self) -> None:
        """Close the socket and the books. Idempotent, and not stopped by a cancellation."""
        self._over = True
        self._ready.clear()
        self._flow.close()
        while self._out:
            await self._out[-1].end("cancelled")

    async def _advance(self) -> None:
        """Take one step of the turn: wait, ask the next candidate, or read what the current one says."""
        try:
            if self._effect is None:
                self._effect = next(self._flow)
            elif isinstance(self._effect, Sleep):
                self._effect = self._flow.send(await self._turn.sleep(self._effect))
            elif (outcome := await self._go_on()) is not None:
                self._effect = self._flow.send(outcome)
        except StopIteration as done:
            self.response, self._over = self._turn.finished(done.value), True
        except BaseException:
            self._over = True
            raise

    async def _go_on(self) -> Ended | None:
        """Begin the attempt or go on with it. Return how it ended, None while it goes on."""
        assert isinstance(self._effect, Try), "attempts that are out are listened to by `race` alone"
        if self._attempt is None and self._effect.hedge_after is not None:
            await self._race(self._effect)
            return None
        if self._attempt is None:
            self._attempt = self._opened(self._effect)
        outcome = await self._attempt.step()
        self._take(self._attempt)
        if outcome is None:
            return None
        self._attempt = None
        return self._judged(outcome)

    async def _race(self, first: Try) -> None:
        raced = await race(self._flow, first, self._speaks, self._turn.clock)
        if raced.response is not None:
            self.response, self._over = self._turn.finished(raced.response), True
        self._effect = raced.effect
        if raced.speaker:
            self._attempt = next(each for each in self._out if each.effect is raced.effect)
            self._take(self._attempt)

    def _opened(self, effect: Try) -> _Attempt:
        said = "".join(self._said or ()) if effect.continues == "resume" else ""
        return _Attempt(self._turn, effect, self._access, self._reservations, said, self._out)

    async def _speaks(self, effect: Try) -> Ended | None:
        """Make an attempt until its first content, or its end."""
        attempt, outcome = self._opened(effect), None
        try:
            while outcome is None and not attempt.ready:
                outcome = await attempt.step()
        except BaseException:
            await attempt.end("cancelled")
            raise
        if outcome is not None:
            self._take(attempt)
            return self._judged(outcome)
        return None

    def _take(self, attempt: _Attempt) -> None:
        """Pass on what the attempt has said; where it is not the first to speak, what that means comes before it."""
        if not attempt.ready:
            return
        if attempt.effect.continues is not None and not attempt.spoke:
            resumes = attempt.effect.continues == "resume"
            self._ready.append(Resumed(self._broke) if resumes else Restarted(self._broke))
        attempt.spoke = True
        self._ready.extend(attempt.ready)
        attempt.ready.clear()

    def _judged(self, outcome: Ended) -> Ended:
        """Return what an attempt's end means for the turn: what was passed on cannot be taken back."""
        if not isinstance(outcome, Failed):
            return outcome
        self._ready.clear()
        if not self._passed:
            return outcome
        self._broke = str(outcome.error)
        lost = self._on_break == "resume" and self._said is None
        return replace(outcome, on_break="error" if lost else self._on_break)


class _Attempt:
    """One attempt of a stream: its books, its limits and its socket. `ready` is what it said and nobody took yet.

    `said` is what it is to go on with. It stands in `out` until it is over.
    """

    def __init__(
        self, turn: Turn, effect: Try, access: Access, reservations: Reservations, said: str, out: list[_Attempt]
    ) -> None:
        self.effect = effect
        self.ready: list[Delta] = []
        self.spoke = False
        self._turn, self._access, self._reservations, self._out = turn, access, reservations, out
        self._seam = ResumedStream(said) if said.strip() else None
        self._request = turn.request if self._seam is None else self._seam.request(turn.request)
        self._exchange: AttemptAccount | None = None
        self._held: Reservation | None = None
        self._wire: _Wire | None = None
        out.append(self)

    async def step(self) -> Ended | None:
        """Return how the attempt ended, or None while it goes on."""
        if self._exchange is None:
            if self._reservations.binds(self.effect.candidate):
                self._held = await self._reservations.reserve(self.effect, self._turn.request, self._turn.emit)
                if self._held is None:
                    await self.end("cancelled")
                    return Refused(self._turn.clock(), self.effect.number)
            self._exchange = AttemptAccount(self._turn, self.effect, self._held)
        try:
            response = await self._pull(self._exchange)
            if response is None:
                return None
            check(response)
        except ProviderError as error:
            self.ready.clear()
            await self.end("failed", error)
            return Failed(self._turn.clock(), self.effect.number, error)
        first_token = None if self._wire is None else self._wire.first_token
        if self._seam is not None:
            self.ready.extend(self._seam.held())
            response = self._seam.joined(response)
        await self.end("ok", None, response)
        return Answered(self._turn.clock(), self.effect.number, response, first_token)

    async def _pull(self, exchange: AttemptAccount) -> Response | None:
        """Make the next deltas ready; return the answer once it is whole."""
        local = self._access.local.get(self.effect.candidate.provider.dialect)
        if local is not None:
            await anyio.lowlevel.checkpoint()
            response = local.respond(self._request, self.effect.candidate)
            self.ready.extend(_chopped(response))
            return response
        if self._wire is None:
            adapter = self._access.remote[self.effect.candidate.provider.dialect]
            self._wire = _Wire(adapter, self._request, self._turn.clock, self.effect, self._access)
            self._wire.held = self._held
            await self._wire.open(exchange)
        deltas = await self._wire.read()
        if deltas is None:
            return self._wire.decoder.finish()
        self.ready.extend(deltas if self._seam is None else self._seam.passed(deltas))
        return None

    async def end(self, how: Ending, error: ProviderError | None = None, response: Response | None = None) -> None:
        """End it, once: its books first, which cannot fail, then its socket, then its limits."""
        if self in self._out:
            self._out.remove(self)
        exchange, self._exchange = self._exchange, None
        wire, self._wire = self._wire, None
        held, self._held = self._held, None
        if exchange is not None:
            exchange.close(how, error, response, heard=wire.heard if wire is not None else 0)
        try:
            if wire is not None:
                await wire.aclose()
        finally:
            if held is not None:
                await held.close()


class _Wire:
    """One streamed reply: its socket, its decoder, and how patient we are with it."""

    __slots__ = (
        "_access",
        "_adapter",
        "_began",
        "_effect",
        "_now",
        "_request",
        "_stream",
        "decoder",
        "first_token",
        "heard",
        "held",
    )

    def __init__(
        self, adapter: Adapter, request: Request, now: Callable[[], float], effect: Try, access: Access
    ) -> None:
        self._adapter, self._request, self._now, self._effect, self._access = adapter, request, now, effect, access
        self._began = anyio.current_time()
        self._stream: HttpStream | None = None
        self.decoder: StreamDecoder = adapter.stream_decoder(request, effect.candidate, now())
        self.heard = 0
        """About how many tokens came."""
        self.first_token: float | None = None
        """Seconds until the first of them."""
        self.held: Reservation | None = None

    async def open(self, exchange: AttemptAccount) -> None:
        """Return once a 2xx reply has begun. Raise what another reply means."""
        candidate, limits = self._effect.candidate, self._effect.timeouts
        message = self._adapter.encode(self._request, candidate, stream=True)
        exchange.body = message.body
        with anyio.move_on_after(limits.total):
            self._stream = await self._access.transport.open_stream(message, **phases(limits))
        if self._stream is None:
            raise TimedOut(f"no reply within {limits.total:g} s", phase="total")
        if self.held is not None:
            self.held.headers = self._stream.headers
        if not 200 <= self._stream.status < 300:
            reply = HttpReply(self._stream.status, self._stream.headers, await self._whole_body())
            raise self._adapter.classify(reply, candidate, self._now())

    async def _whole_body(self) -> bytes:
        body = b""
        while len(body) < ERROR_BODY_BYTES and (data := await self._bytes()):
            body += data
        return body

    async def read(self) -> list[Delta] | None:
        """Return the next deltas (there may be none in what came), or None after the last byte."""
        data = await self._bytes()
        if not data:
            return None
        deltas = self.decoder.feed(data)
        if deltas and self.first_token is None:
            self.first_token = anyio.current_time() - self._began
        self.heard += sum(_weight(delta) for delta in deltas)
        return deltas

    async def _bytes(self) -> bytes:
        assert self._stream is not None
        if (
            self.heard and self._access.keeps_time
        ):  # what is left to watch, silence and the total, the transport watches
            return await self._stream.read()
        seconds, phase = self._patience()
        with anyio.move_on_after(seconds):
            return await self._stream.read()
        raise TimedOut(f"nothing more came within {seconds:.3g} s", phase=phase)

    def _patience(self) -> tuple[float, Phase]:
        """Return how long to wait for the next bytes: keep-alives do not put off the first content's deadline."""
        limits, spent = self._effect.timeouts, anyio.current_time() - self._began
        left: tuple[float, Phase] = (max(0.0, limits.total - spent), "total")
        if self.heard:
            return min((limits.between_chunks, "between_chunks"), left)
        return min((max(0.0, limits.first_token - spent), "first_token"), left)

    async def aclose(self) -> None:
        """Close the socket, also while being cancelled; a peer that hangs is not waited for."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with anyio.move_on_after(CLOSE_S, shield=True):
                await stream.aclose()


def _weight(delta: Delta) -> int:
    if isinstance(delta, TextDelta | ReasoningDelta):
        return estimate_tokens(delta.text)
    return estimate_tokens(delta.arguments) if isinstance(delta, ToolCallDelta) else 0


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
