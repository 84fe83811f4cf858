"""A turn's flow driven to its end: whole answers, no stream."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from providers.client.attempt import LiveAttempt
from providers.client.hedge import race
from providers.client.turn import LiveTurn
from providers.messages import Response
from providers.routing.effects import AwaitBudget, Effect, Ended, Outcome, Sleep, Try


async def whole(turn: LiveTurn, flow: Generator[Effect, Outcome, Response]) -> Response:
    """Do what the flow asks for, and return its answer. Both are closed, however it ends."""
    try:
        effect = next(flow)
        while True:
            if isinstance(effect, Sleep | AwaitBudget):
                effect = flow.send(await turn.sleep(effect))
                continue
            assert isinstance(effect, Try), "attempts that are out are listened to by `race` alone"
            if effect.hedge_after is None:
                effect = flow.send(await LiveAttempt(turn, effect).finish())
                continue
            raced = await race(flow, effect, partial(_finish, turn), turn.clock)
            if raced.effect is None:
                assert raced.response is not None, "a round ends in an effect or an answer"
                return turn.finished(raced.response)
            effect = raced.effect
    except StopIteration as done:
        return turn.finished(done.value)
    finally:
        flow.close()
        turn.close()


async def _finish(turn: LiveTurn, effect: Try) -> Ended:
    return await LiveAttempt(turn, effect).finish()
