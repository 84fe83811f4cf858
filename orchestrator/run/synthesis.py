"""The context of a task within its budget: texts that are too long are shortened for the task, all at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
from anyio import to_thread

from agents.context import NEAR, even_cap, without_middle
from agents.events import ContextSummarised
from agents.room import room_of
from agents.run_context import RunContext, Suspended, all_of
from agents.summaries import OF_CONTEXT, SHORT, asked_for_task, checked, fault_of
from agents.summariser import Summariser
from providers.messages import Request, estimate_tokens

PLACE = "context"
"""Where a text is shortened: `build/try-1/context/prd`."""
LEAST = 64
"""Tokens of each text that stay at the least, however many texts there are."""
MARK = "[Shortened by a model for this task, from about {} tokens.]\n\n"


async def most_of(
    context: Mapping[str, str], task: str, asking: Sequence[Request], who: Summariser, ctx: RunContext
) -> int | None:
    """Return how many tokens texts may have together where nobody says so: None, where all of them fit. Else half of
    what there is room for, so that there is room for the work. `asking` are bare requests of all who read them."""
    if (room := await room_of(asking, who.manager, 0, ctx)) is None:
        return None
    most = int(room * NEAR) - estimate_tokens(task) - max(one.input_tokens for one in asking)
    return None if tokens_of(context) <= most else max(most // 2, LEAST * len(context))


def is_short(context: Mapping[str, str]) -> bool:
    """Return whether texts are so short together that no room is too small for them."""
    return tokens_of(context) <= SHORT


def tokens_of(context: Mapping[str, str]) -> int:
    return sum(estimate_tokens(text) for text in context.values())


async def within(
    context: Mapping[str, str], most: int | None, task: str, who: Summariser, ctx: RunContext
) -> Mapping[str, str]:
    """Return texts in at most `most` tokens together: short ones as they are, long ones as `who` shortens them for
    `task`. Where that fails a text goes without its middle. Raises `BudgetSpent`, `Suspended`."""
    sizes = {title: estimate_tokens(text) for title, text in context.items()}
    if most is None or sum(sizes.values()) <= most:
        return context
    cap = max(even_cap(sorted(sizes.values()), most), LEAST)
    long = [title for title, size in sizes.items() if size > cap]
    made: dict[str, str] = {}
    waiting: list[Suspended] = []

    async def one(title: str) -> None:
        try:
            made[title] = await _shortened(title, context[title], cap, task, who, ctx)
        except Suspended as suspended:
            waiting.append(suspended)

    try:
        async with anyio.create_task_group() as together:
            for title in long:
                together.start_soon(one, title)
    except BaseExceptionGroup as group:
        failed, cancelled = group.split(Exception)
        if failed is None or cancelled is not None:
            raise cancelled or group from None
        raise failed.exceptions[0] from None
    if waiting:
        raise all_of(waiting)
    return {title: made.get(title, text) for title, text in context.items()}


async def _shortened(title: str, text: str, cap: int, task: str, who: Summariser, ctx: RunContext) -> str:
    below = ctx.below(PLACE, title).at(depth=ctx.depth)

    def tell(read: int, written: int, why: str) -> None:
        below.emit(ContextSummarised(who.name, 1, title, read, written, why))

    mark = MARK.format(estimate_tokens(text))
    room = cap - estimate_tokens(mark)
    wanted = asked_for_task(title, text, task, room * 3 // 4)
    said = await who.write(OF_CONTEXT, wanted, room, below, tell, lambda words: fault_of(words, text, 2 * room))
    if said is None:
        return without_middle(text, cap)
    most = room - estimate_tokens(said) - LEAST // 4
    whole = await to_thread.run_sync(checked, said, text, most)
    return mark + without_middle(whole, room)
