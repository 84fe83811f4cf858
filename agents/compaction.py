"""A history that grows long, shortened by a cheap model: one durable step of its own, below the turn that needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.context import History, count_tokens
from agents.events import HistorySummarised
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
from agents.summariser import Summariser
from agents.turn import RunContext
from providers.messages import Message

PLACE = "summary"
"""Where it stands: `.../turn-3/summary` was made for turn 3."""


@dataclass(slots=True)
class Compaction:
    """What is sent of the messages of one piece of work. `history` says how much, `brief` is the place of the brief.

    `memo` is this work's own. Where the work is one of several with a history in common, `shared` is told of what is a
    summary of that history alone.
    """

    summariser: Summariser
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
        said = await self._ask(text, count - covered, number, ctx)
        if said is None:
            self.memo.failed_at = count_tokens(old[covered:])
        else:
            summary = Summary(checked(said, text, most_tokens(self.history) // 2), count, digest_of(old[:count]))
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

    async def _ask(self, text: str, count: int, number: int, ctx: RunContext) -> str | None:
        below = ctx.below(f"turn-{number}", PLACE).at(depth=ctx.depth)

        def tell(read: int, written: int, why: str) -> None:
            below.emit(HistorySummarised(self.summariser.name, 1, count, read, written, why))

        most = most_tokens(self.history)
        return await self.summariser.write(
            INSTRUCTIONS, text, most, below, tell, lambda said: fault_of(said, text, 2 * most)
        )
