"""An answer as it comes: one turn whose deltas are passed on while its attempt still runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import replace
from types import TracebackType
from typing import Self

from providers.catalog.model import Candidate
from providers.client.attempt import LiveAttempt
from providers.client.contexts import OwnContexts
from providers.client.hedge import race
from providers.client.turn import LiveTurn
from providers.messages import Delta, Response, Restarted, Resumed, TextDelta
from providers.policy.model import OnBreak
from providers.routing.effects import AwaitBudget, Effect, Ended, Failed, Outcome, Sleep, Spoke, Try
from providers.transport.closing import undisturbed


class ResponseStream:
    """An answer's deltas in order, then `response`. Ends complete, or with a typed error: never silently short.

    Failover is free until the first delta was passed on; after it the policy's `on_break` decides: the error of the
    break is raised, or a `Restarted` or `Resumed` among the deltas says what follows. Leaving the `async with` closes
    the socket and the account, whatever happened.
    """

    def __init__(
        self,
        turn: LiveTurn,
        flow: Generator[Effect, Outcome, Response],
        contexts: OwnContexts | None = None,
        on_break: OnBreak | None = None,
    ) -> None:
        self.response: Response | None = None
        self._contexts = contexts
        self._turn, self._flow = turn, flow
        self._on_break = on_break or turn.fleet.policy.on_break
        self._effect: Effect | None = None
        self._attempt: LiveAttempt | None = None
        self._out: list[LiveAttempt] = []
        """All attempts that were begun; to end one twice does nothing."""
        self._heard: LiveAttempt | None = None
        """The attempt whose deltas are passed on."""
        self._ready: deque[Delta] = deque()
        self._passed = False
        self._said: list[str] | None = []
        """The text that was passed on, for an attempt that continues it; None: none can."""
        self._broke = ""
        self._over = False

    async def __aenter__(self) -> Self:
        if self._contexts is not None:
            await self._contexts.learn(self._turn.request)
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
        """Keep the text; an answer that holds other things as well cannot be continued."""
        if self._said is not None and isinstance(delta, TextDelta):
            self._said.append(delta.text)
        elif not isinstance(delta, Resumed):
            self._said = None

    @property
    def speaker(self) -> Candidate | None:
        """Whose deltas are passed on; None before the first."""
        return None if self._heard is None else self._heard.effect.candidate

    @property
    def begun(self) -> int:
        """How many attempts were begun so far."""
        return len(self._out)

    async def aclose(self) -> None:
        """Close the socket and the account. Idempotent, and not stopped by a cancellation."""
        self._over = True
        self._ready.clear()
        self._flow.close()
        self._turn.close()
        if any(attempt.is_open for attempt in self._out):
            await undisturbed(self._end_all)

    async def _end_all(self) -> None:
        for attempt in self._out:
            await attempt.end("cancelled")

    async def _advance(self) -> None:
        """Take one step of the turn: wait, ask the next candidate, or read what the current one says."""
        try:
            if self._effect is None:
                self._effect = next(self._flow)
            elif isinstance(self._effect, Sleep | AwaitBudget):
                self._effect = self._flow.send(await self._turn.sleep(self._effect))
            elif (outcome := await self._go_on()) is not None:
                self._effect = self._flow.send(outcome)
        except StopIteration as done:
            self.response, self._over = self._turn.finished(done.value), True
        except BaseException:
            self._over = True
            raise

    async def _go_on(self) -> Ended | None:
        """Begin or continue the attempt. Return how it ended, None while it goes on."""
        assert isinstance(self._effect, Try), "attempts that are out are listened to by `race` alone"
        if self._attempt is None and self._effect.hedge_after is not None:
            await self._race(self._effect)
            return None
        if self._attempt is None:
            self._attempt = self._opened(self._effect)
        ended = await self._attempt.step()
        if self._attempt.ready and ended is None and self._attempt is not self._heard:
            self._flow.send(Spoke(self._turn.clock(), self._effect.number))
        self._take(self._attempt)
        if ended is None:
            return None
        self._attempt = None
        return self._judged(ended)

    async def _race(self, first: Try) -> None:
        raced = await race(self._flow, first, self._speaks, self._turn.clock)
        if raced.response is not None:
            self.response, self._over = self._turn.finished(raced.response), True
        self._effect = raced.effect
        # Only now it is known whose words count: both may have spoken in the same moment.
        for each in self._out:
            if each.effect is raced.winner:
                self._attempt = each if raced.effect is raced.winner else None
                self._take(each)
        # One that began to answer in the same moment was past its cancellation, and no caller would read it.
        for each in self._out:
            if each is not self._attempt:
                await each.end("cancelled")

    def _opened(self, effect: Try) -> LiveAttempt:
        said = "".join(self._said or ()) if effect.continues == "resume" else ""
        attempt = LiveAttempt(self._turn, effect, streamed=True, said=said)
        self._out.append(attempt)
        return attempt

    async def _speaks(self, effect: Try) -> Ended | None:
        """Make an attempt until its first content, or its end."""
        attempt, ended = self._opened(effect), None
        while ended is None and not attempt.ready:
            ended = await attempt.step()
        return None if ended is None else self._judged(ended)

    def _take(self, attempt: LiveAttempt) -> None:
        """Pass on what the attempt has said; where it is not the first to speak, what that means comes before it."""
        if not attempt.ready:
            return
        if attempt.effect.continues is not None and attempt is not self._heard:
            resumes = attempt.effect.continues == "resume"
            self._ready.append(Resumed(self._broke) if resumes else Restarted(self._broke))
        self._heard = attempt
        self._ready.extend(attempt.ready)
        attempt.ready.clear()

    def _judged(self, ended: Ended) -> Ended:
        """Return what an attempt's end means for the turn: what was passed on cannot be taken back."""
        if not isinstance(ended, Failed):
            return ended
        self._ready.clear()
        if not self._passed:
            return ended
        self._broke = str(ended.error)
        # What was taken to be whole and will not do is not gone on with.
        lost = self._on_break == "resume" and (self._said is None or ended.sound)
        return replace(ended, on_break="error" if lost else self._on_break)
