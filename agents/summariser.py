"""A cheap model that writes short texts for long ones: each in a durable step of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agents.context import without_middle
from agents.fitting import TRIES, room_in
from agents.run_context import Complete, RunContext, relayed
from agents.turn import take_turn
from providers.errors import AllAttemptsFailed, ContextTooLong, NoRoute
from providers.messages import (
    TOKENS_PER_MESSAGE,
    FinishReason,
    Hear,
    Needs,
    Request,
    Response,
    assistant,
    system,
    user,
)

CHEAP = "worker"
"""The tier that is asked, where neither the agent nor the policy names who answers the agent."""
WITHHELD = "the summary was withheld by a filter"
LEAST_ANSWER = 1024
"""Tokens that an answer may have at the least: of a model that thinks they are not all of the text."""

TellSummary = Callable[[int, int, str], None]
"""`tell(read, written, fault)` emits what came of a question: tokens of it and of the answer, why that is of no use."""


@dataclass(frozen=True, slots=True)
class Summariser:
    """Writes for the agent `name`, whose `needs` say who may read its words."""

    name: str
    needs: Needs
    manager: Complete

    async def write(
        self, instructions: str, text: str, most: int, below: RunContext, tell: TellSummary, fault: Callable[[str], str]
    ) -> str | None:
        """Return what a model writes of `text` in about `most` tokens, asked at the place of `below`.

        None: nobody answers, a budget has no room for it, or `fault` says what is wrong with it; `tell` is told.
        """
        cap = max(LEAST_ANSWER, 2 * most)
        request = Request((system(instructions), user(text)), max_output_tokens=cap, needs=self._cheap())

        async def answer(request: Request, **told: Any) -> Response:
            made = await self._answered(request, **told)
            tell(request.input_tokens, made.message.tokens, wrong(made))
            return made

        def wrong(made: Response) -> str:
            return WITHHELD if made.finish is FinishReason.CONTENT_FILTER else fault(made.text)

        def without(error: Exception) -> Response:
            tell(request.input_tokens, 0, str(error))
            return Response(assistant(), FinishReason.STOP)

        digest = b"".join(message.digest for message in request.messages)
        made = await take_turn(1, request, digest, below, answer, instead=without)
        return None if wrong(made) else made.text.strip()

    def _cheap(self) -> Needs:
        """Return who is asked: whom the agent or the policy pins, for its words may be meant for nobody else."""
        return replace(self.needs, persona=None, tier=CHEAP, capabilities=frozenset())

    async def _answered(self, request: Request, hear: Hear | None = None, **told: Any) -> Response:
        """Return an answer to a text in one piece: of the agent's own models where the cheap ones cannot be asked, and
        to the text without its middle where nobody takes all of it."""
        ask = self.manager.complete if hear is None else partial(relayed, self.manager, hear=hear)
        for _ in range(TRIES):
            try:
                return await ask(request, **told)
            except (NoRoute, AllAttemptsFailed, ContextTooLong) as error:
                if (other := self._other(request, error)) is None:
                    raise
                request = other
        return await ask(request, **told)

    def _other(self, request: Request, error: Exception) -> Request | None:
        """Return what is asked for after an error, None where that would be of no use."""
        if (room := room_in(error, request)) is not None:
            less = _with_less(request, room)
            return less if less.input_tokens < request.input_tokens else None
        is_elsewhere = isinstance(error, NoRoute) and request.needs != self.needs
        return replace(request, needs=self.needs) if is_elsewhere else None


def _with_less(request: Request, room: int) -> Request:
    """Return a request whose text has lost its middle."""
    instructions, said = request.messages
    text = without_middle(said.text, room - instructions.tokens - TOKENS_PER_MESSAGE)
    return replace(request, messages=(instructions, user(text)))
