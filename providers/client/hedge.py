"""One round of a turn in which a second attempt may go out beside a silent first: the first to speak goes on."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from providers.errors import ProviderError, RoutingError
from providers.messages import Response
from providers.routing.effects import Effect, Ended, Listen, Outcome, Refused, Silent, Spoke, Try

MakeAttempt = Callable[[Try], Awaitable[Ended | None]]
"""Makes an attempt and returns how it ended; None: it has begun to answer, and is left open."""
_News = tuple[Try, Ended | RoutingError | None] | None
"""Which attempt ended, or began to answer, and how; None: the patience with silent ones is over."""


@dataclass(frozen=True, slots=True)
class Raced:
    """What follows a round: the next effect, or the turn's answer.

    `winner`: whose answer it is; where the effect is this attempt, it was left open.
    """

    effect: Effect | None = None
    response: Response | None = None
    winner: Try | None = None


async def race(
    flow: Generator[Effect, Outcome, Response], first: Try, make: MakeAttempt, clock: Callable[[], float]
) -> Raced:
    """Drive `flow` through one round that begins with `first`; attempts in flight at its end are cancelled.

    Raises what `flow` raises, and the `RoutingError` of the first attempt; a second one that our own caps do not allow
    is not sent, and the first goes on. A cancellation goes through to the caller.
    """
    ended: Raced | ProviderError | RoutingError | None = None
    # Closed after the tasks have ended: an attempt may end between the round's end and its own cancellation.
    with closing(_Round(flow, first, make, clock)) as round_:
        try:
            async with anyio.create_task_group() as tasks:
                ended = await round_.run(tasks)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as several:  # a defect, or a listener's own error: as it comes without a hedge
            raise several.exceptions[0] from None
    if ended is None:  # anyio takes a cancellation by asyncio that comes with its own for its own
        raise anyio.get_cancelled_exc_class()
    if isinstance(ended, Raced):
        return ended
    raise ended  # not within the task group, which would wrap it


class _Round:
    """The attempts of one round that are in flight, and what comes from them."""

    def __init__(
        self,
        flow: Generator[Effect, Outcome, Response],
        first: Try,
        make: MakeAttempt,
        clock: Callable[[], float],
    ) -> None:
        self._flow, self._first, self._make, self._clock = flow, first, make, clock
        self._send, self._receive = anyio.create_memory_object_stream[_News](math.inf)
        self._out = 0

    async def run(self, tasks: TaskGroup) -> Raced | ProviderError | RoutingError:
        """Return what follows the round, or the error to raise. Its attempts run in `tasks`."""
        self._begin(self._first, tasks)
        self._wait(self._first.hedge_after, tasks)
        while True:
            heard = await self._receive.receive()
            if heard is not None and isinstance(heard[1], RoutingError):
                return heard[1]
            if (following := self._follow(heard, tasks)) is not None:
                return following

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    def _follow(self, heard: _News, tasks: TaskGroup) -> Raced | ProviderError | RoutingError | None:
        """Tell the flow, and do what it asks for. None: the round goes on."""
        effect, outcome = self._told(heard)
        try:
            following = self._flow.send(outcome)
        except StopIteration as done:
            return Raced(response=done.value, winner=effect)
        except (ProviderError, RoutingError) as error:
            return error
        if isinstance(outcome, Spoke):
            return Raced(effect, winner=effect)
        if isinstance(following, Listen):
            self._wait(following.hedge_after, tasks)
        elif isinstance(following, Try) and self._out:
            self._begin(following, tasks)
        else:
            return Raced(following)
        return None

    def _told(self, heard: _News) -> tuple[Try | None, Outcome]:
        if heard is None:
            return None, Silent(self._clock())
        effect, ended = heard
        assert not isinstance(ended, RoutingError), "that ends the round"
        if ended is None:
            return effect, Spoke(self._clock(), effect.number)
        self._out -= 1
        return effect, ended

    def _begin(self, effect: Try, tasks: TaskGroup) -> None:
        self._out += 1
        tasks.start_soon(self._attempt, effect)

    def _wait(self, patience: float | None, tasks: TaskGroup) -> None:
        # In a task of its own: a time limit around `receive` would end in one stroke with a cancellation by asyncio,
        # and the two could not be told apart.
        if patience is not None:
            tasks.start_soon(self._lose_patience, patience)

    async def _lose_patience(self, patience: float) -> None:
        await anyio.sleep(patience)
        self._send.send_nowait(None)

    async def _attempt(self, effect: Try) -> None:
        ended: Ended | RoutingError | None
        try:
            ended = await self._make(effect)
        except RoutingError as error:
            # A second attempt that our budget refuses must not end the turn: the first may still answer.
            ended = error if effect is self._first else Refused(self._clock(), effect.number)
        self._send.send_nowait((effect, ended))
