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
from providers.routing.effects import Dropped, Effect, Ended, Listen, Outcome, Refused, Silent, Try

MakeAttempt = Callable[[Try], Awaitable[Ended | None]]
"""Makes an attempt and returns how it ended; None: it has begun to answer, and is left open."""


@dataclass(frozen=True, slots=True)
class Raced:
    """What follows a round: the next effect, or the turn's answer. `speaker`: the effect's attempt was left open."""

    effect: Effect | None = None
    response: Response | None = None
    speaker: bool = False


async def race(
    flow: Generator[Effect, Outcome, Response], first: Try, make: MakeAttempt, clock: Callable[[], float]
) -> Raced:
    """Drive `flow` through one round that begins with `first`; attempts in flight at its end are cancelled.

    Raises what `flow` raises, and the `RoutingError` of the first attempt; a second one that our own caps do not allow
    is not sent, and the first goes on.
    """
    # Closed after the tasks have ended: an attempt may end between the round's end and its own cancellation.
    with closing(_Round(flow, first, make, clock)) as round_:
        async with anyio.create_task_group() as tasks:
            ended = await round_.run(tasks)
            tasks.cancel_scope.cancel()
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
        self._send, self._receive = anyio.create_memory_object_stream[tuple[Try, Ended | RoutingError | None]](math.inf)
        self._out: set[int] = set()

    async def run(self, tasks: TaskGroup) -> Raced | ProviderError | RoutingError:
        """Return what follows the round, or the error to raise. Its attempts run in `tasks`."""
        self._begin(self._first, tasks)
        patience = math.inf if self._first.hedge_after is None else self._first.hedge_after
        while True:
            outcome: Outcome
            if (heard := await self._hear(patience)) is None:
                outcome, patience = Silent(self._clock()), math.inf
            else:
                effect, ended = heard
                if ended is None:
                    return self._spoke(effect)
                if isinstance(ended, RoutingError):
                    return ended
                outcome = ended
            if (following := self._follow(outcome, tasks)) is not None:
                return following

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    async def _hear(self, patience: float) -> tuple[Try, Ended | RoutingError | None] | None:
        """Return which attempt ended, or began to answer, and how; None: none did for so many seconds."""
        with anyio.move_on_after(patience):
            effect, ended = await self._receive.receive()
            self._out.discard(effect.number)
            return effect, ended
        return None

    def _follow(self, outcome: Outcome, tasks: TaskGroup) -> Raced | ProviderError | RoutingError | None:
        """Tell the flow, and do what it asks for. None: the round goes on."""
        try:
            following = self._flow.send(outcome)
        except StopIteration as done:
            return Raced(response=done.value)
        except (ProviderError, RoutingError) as error:
            return error
        if isinstance(following, Try) and self._out:
            self._begin(following, tasks)
            return None
        return None if isinstance(following, Listen) else Raced(following)

    def _begin(self, effect: Try, tasks: TaskGroup) -> None:
        self._out.add(effect.number)
        tasks.start_soon(self._attempt, effect)

    async def _attempt(self, effect: Try) -> None:
        ended: Ended | RoutingError | None
        try:
            ended = await self._make(effect)
        except RoutingError as error:
            # A second attempt that our budget refuses must not end the turn: the first may still answer.
            ended = error if effect is self._first else Refused(self._clock(), effect.number)
        self._send.send_nowait((effect, ended))

    def _spoke(self, effect: Try) -> Raced:
        """Give up the other attempts: the one that has begun to answer goes on alone."""
        for number in self._out:
            self._flow.send(Dropped(self._clock(), number))
        return Raced(effect, speaker=True)
