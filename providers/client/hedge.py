"""One round of a turn in which a second attempt may go out beside a silent first: the first to speak goes on."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass

import anyio

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
    flow: Generator[Effect, Outcome, Response], first: Try, ask: MakeAttempt, clock: Callable[[], float]
) -> Raced:
    """Drive `flow` through one round that begins with `first`; attempts in flight at its end are cancelled.

    Raises what `flow` raises, and the `RoutingError` of the first attempt; a second one that our own caps do not allow
    is none.
    """
    send, receive = anyio.create_memory_object_stream[tuple[Try, Ended | RoutingError | None]](math.inf)
    out: set[int] = set()
    patience = math.inf if first.hedge_after is None else first.hedge_after
    raced: Raced | None = None
    failure: ProviderError | RoutingError | None = None

    async def listen(effect: Try) -> None:
        heard: Ended | RoutingError | None
        try:
            heard = await ask(effect)
        except RoutingError as error:
            heard = error if effect is first else Refused(clock(), effect.number)
        send.send_nowait((effect, heard))

    with send, receive:
        async with anyio.create_task_group() as tasks:
            out.add(first.number)
            tasks.start_soon(listen, first)
            while raced is None and failure is None:
                outcome: Outcome
                ended = None
                with anyio.move_on_after(patience):
                    ended = await receive.receive()
                if ended is None:
                    outcome, patience = Silent(clock()), math.inf
                else:
                    effect, heard = ended
                    out.discard(effect.number)
                    if heard is None:
                        raced = _spoke(flow, effect, out, clock())
                        break
                    if isinstance(heard, RoutingError):
                        failure = heard
                        break
                    outcome = heard
                try:
                    following = flow.send(outcome)
                except StopIteration as done:
                    raced = Raced(response=done.value)
                except (ProviderError, RoutingError) as error:
                    failure = error
                else:
                    if isinstance(following, Try) and out:
                        out.add(following.number)
                        tasks.start_soon(listen, following)
                    elif not isinstance(following, Listen):
                        raced = Raced(following)
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    assert raced is not None, "a round ends one way or the other"
    return raced


def _spoke(flow: Generator[Effect, Outcome, Response], effect: Try, others: set[int], now: float) -> Raced:
    """Give up the other attempts: the one that has begun to answer goes on alone."""
    for number in others:
        flow.send(Dropped(now, number))
    return Raced(effect, speaker=True)
