"""A history that grows long, shortened by a cheap model: durable steps of their own, below the turn that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread

from agents.context import History, count_tokens
from agents.events import HistorySummarised
from agents.room import room_of
from agents.run_context import RunContext
from agents.summaries import (
    INSTRUCTIONS,
    LEAST,
    SHORT,
    Covered,
    HistoryMemo,
    Summary,
    apart,
    asked,
    checked,
    coverable,
    digest_of,
    due,
    fault_of,
    most_tokens,
    with_summary,
)
from agents.summariser import Summariser
from providers.messages import Message, Request, estimate_tokens

PLACE, OF_OTHERS = "summary", "summary-of-others"
"""Where they stand: `.../turn-3/summary` was made for turn 3; that of what others wrote beside it."""


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
    most: int | None = None
    """Tokens that all messages may come to, by a share of the room; None: that is not known."""
    is_looked_up: bool = False

    def may_be_due(self, tokens: int) -> bool:
        """Return whether a history of so many tokens, all in all, may have to be summarised."""
        least = self.history.tokens
        return tokens > (SHORT if least is None else max(least, LEAST)) or self.memo.summary is not None

    async def before(self, number: int, messages: Sequence[Message], bare: Request, ctx: RunContext) -> None:
        """Have older messages summarised before turn `number`, where that is due. `bare` is its request without any.

        A summary that cannot be had, or is of no use, changes nothing: what is too long is then cut.
        """
        old, before = coverable(messages, self.brief), self.memo.summary
        if before is not None and not before.stands_for(old):
            before = self.memo.summary = None
        limit = await self._limit(number, count_tokens(messages) - count_tokens(old), bare, ctx)
        count = 0 if limit is None else due(old, limit, self.history.keep_last, self.memo)
        if not count or limit is None:
            return
        covered = 0 if before is None else before.count
        made = await self._made(before, old[covered:count], most_tokens(limit), number, ctx)
        if made is None:
            self.memo.failed_at = count_tokens(old[covered:])
        else:
            text, others, sources = made
            self.memo.summary, self.memo.failed_at = Summary(text, count, digest_of(old[:count]), others, sources), 0
        if self.shared is not None and count <= len(coverable(messages[: self.brief], self.brief)):
            self.shared.summary, self.shared.failed_at = self.memo.summary, self.memo.failed_at

    async def _limit(self, number: int, kept: int, bare: Request, ctx: RunContext) -> int | None:
        """Return beyond how many tokens what may be summarised is, beside `kept` tokens of messages that stay."""
        if self.history.tokens is not None:
            return max(self.history.tokens, LEAST)
        if not self.is_looked_up:
            self.take_room(await room_of((bare,), self.summariser.manager, number, ctx), bare)
        return None if self.most is None else max(self.most - kept, LEAST)

    def take_room(self, room: int | None, bare: Request) -> None:
        """Go on with so many tokens that a request may have. `bare` is one without messages."""
        share, self.is_looked_up = self.history.share, True
        self.most = None if room is None or share is None else int(room * share) - bare.input_tokens

    @property
    def is_of_use(self) -> bool:
        """Whether there is a summary, or none was called for; else the history is cut as if none were wanted."""
        return self.memo.summary is not None or not self.memo.failed_at

    def sent(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return what is sent of the messages of the work."""
        summary = self.memo.summary
        return tuple(messages) if summary is None else with_summary(messages, self.brief, summary)

    async def _made(
        self, before: Summary | None, new: Sequence[Message], most: int, number: int, ctx: RunContext
    ) -> tuple[str, str, tuple[str, ...]] | None:
        """Return the summary of what is the user's, that of what others had a hand in, and the sources of that."""
        ours, theirs = apart(before, new)
        text = await self._summary(ours, most, number, PLACE, ctx)
        others = "" if text is None else await self._summary(theirs, most, number, OF_OTHERS, ctx)
        return None if text is None or others is None else (text, others, theirs.sources)

    async def _summary(self, covered: Covered, most: int, number: int, place: str, ctx: RunContext) -> str | None:
        """Return the summary of what is covered, None where there is none. What is short stays as it was said."""
        if not covered.new:
            return covered.before
        said = covered.said
        if estimate_tokens(said) <= LEAST // 2:
            return said
        below = ctx.below(f"turn-{number}", place).at(depth=ctx.depth)

        def tell(read: int, written: int, why: str) -> None:
            below.emit(HistorySummarised(self.summariser.name, 1, len(covered.new), read, written, why))

        text = asked(covered, most)
        made = await self.summariser.write(
            INSTRUCTIONS, text, most, below, tell, lambda made: fault_of(made, text, 2 * most)
        )
        return None if made is None else await to_thread.run_sync(checked, made, text, most // 2)
