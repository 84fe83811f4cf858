"""A history that grows long, shortened by a cheap model: one durable step of its own, below the turn that needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agents.context import History, count_tokens, without_middle
from agents.events import HistorySummarised
from agents.fitting import TRIES, room_in
from agents.summaries import (
    INSTRUCTIONS,
    HistoryMemo,
    Summary,
    asked,
    checked,
    coverable,
    digest_of,
    due,
    fault_of,
    limit_of,
    most_tokens,
    with_summary,
)
from agents.turn import Complete, RunContext, relayed, take_turn
from providers.errors import AllAttemptsFailed, BudgetSpent, ContextTooLong, NoRoute
from providers.messages import (
    TOKENS_PER_MESSAGE,
    FinishReason,
    Hear,
    Message,
    Needs,
    Request,
    Response,
    assistant,
    system,
    user,
)

CHEAP = "worker"
"""The tier that is asked for summaries, where neither the agent nor the policy names who answers the agent."""
PLACE = "summary"
"""Where it stands: `.../turn-3/summary` was made for turn 3."""
LEAST_ANSWER = 1024
"""Tokens that an answer may have at the least: of a model that thinks they are not all of the text."""


@dataclass(slots=True)
class Compaction:
    """What is sent of the messages of one piece of work. `history` says how much, `brief` is the place of the brief.

    `memo` is this work's own. Where the work is one of several with a history in common, `shared` is told of what is a
    summary of that history alone.
    """

    name: str
    needs: Needs
    manager: Complete
    history: History
    brief: int
    memo: HistoryMemo
    shared: HistoryMemo | None = None

    def may_be_due(self, tokens: int) -> bool:
        """Return whether a history of so many tokens, all in all, may have to be summarised."""
        return tokens > limit_of(self.history) or self.memo.summary is not None

    async def before(self, number: int, messages: Sequence[Message], ctx: RunContext) -> None:
        """Have older messages summarised before turn `number`, where that is due.

        A summary that cannot be had, or is of no use, changes nothing: what is too long is then cut. Raises
        `BudgetSpent`.
        """
        old, before = coverable(messages, self.brief), self.memo.summary
        if before is not None and not before.stands_for(old):
            before = self.memo.summary = None
        count = due(old, self.history, self.memo)
        if not count:
            return
        covered = 0 if before is None else before.count
        text = asked(before, old[covered:count], most_tokens(self.history))
        said = (await self._ask(text, count - covered, number, ctx)).text
        if fault_of(said, text, self.history):
            self.memo.failed_at = count_tokens(old[covered:])
        else:
            summary = Summary(checked(said, text, self.history), count, digest_of(old[:count]))
            self.memo.summary, self.memo.failed_at = summary, 0
        if self.shared is not None and count <= len(coverable(messages[: self.brief], self.brief)):
            self.shared.summary, self.shared.failed_at = self.memo.summary, self.memo.failed_at

    @property
    def is_of_use(self) -> bool:
        """Whether there is a summary, or none was called for; else the history is cut as if none were wanted."""
        return self.memo.summary is not None or not self.memo.failed_at

    def sent(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return what is sent of the messages of the work."""
        summary = self.memo.summary
        return tuple(messages) if summary is None else with_summary(messages, self.brief, summary)

    async def _ask(self, text: str, count: int, number: int, ctx: RunContext) -> Response:
        below = ctx.below(f"turn-{number}", PLACE).at(depth=ctx.depth)
        most = max(LEAST_ANSWER, 2 * most_tokens(self.history))
        request = Request((system(INSTRUCTIONS), user(text)), max_output_tokens=most, needs=self._cheap())

        def tell(response: Response | None, why: str) -> None:
            written = 0 if response is None else response.message.tokens
            below.emit(HistorySummarised(self.name, 1, count, request.input_tokens, written, why))

        async def answer(request: Request, **told: Any) -> Response:
            made = await self._answered(request, **told)
            tell(made, fault_of(made.text, text, self.history))
            return made

        def without(error: Exception) -> Response | None:
            if isinstance(error, BudgetSpent):
                return None
            tell(None, str(error))
            return Response(assistant(), FinishReason.STOP)

        digest = b"".join(message.digest for message in request.messages)
        return await take_turn(1, request, digest, below, answer, instead=without)

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
