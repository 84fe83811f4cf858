"""Fits a transcript into a model's window: pure. What never goes, what may go, and the mark that says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from providers.documents.unicode import clean
from providers.errors import ContextTooLong
from providers.messages import BYTES_PER_TOKEN, Message, ToolResult, estimate_tokens, user

NEAR = 0.8
"""Of the room of who may be asked: a history that comes to more is summarised where nobody says otherwise."""
LEAST_OF_A_RESULT = 64
"""Tokens of a tool's result that stay at the least where its middle is cut out: less would say nothing."""


@dataclass(frozen=True, slots=True)
class History:
    """How much of a transcript goes along: its newest `keep_last` messages, in whole exchanges.

    Else all of it does, until it nears what the model takes: then a cheap model makes a summary of the older messages,
    which goes along in their place; the newest, half of what was there and `keep_last` messages at the most, stay as
    they are. `compact_at` says when: a share of the room of the model (at most 1), a number of tokens, or "off". None:
    at 0.8, and never where `keep_last` alone is given. `summarise_over_tokens` is a number of tokens, too.
    """

    keep_last: int | None = None
    """The newest messages that are sent, at most, in whole exchanges; None: all."""
    summarise_over_tokens: int | None = None
    """Older messages are summarised beyond this many tokens."""
    compact_at: float | Literal["off"] | None = None
    """When older messages are summarised: a share of the model's room (at most 1), a number of tokens, or `off`."""

    def __post_init__(self) -> None:
        if self.compact_at is None or self.compact_at == "off":
            return
        if self.summarise_over_tokens is not None:
            raise ValueError("compact_at and summarise_over_tokens say the same: give one of them")
        if not self.compact_at > 0:
            raise ValueError(f"compact_at is a share of the room, tokens, or 'off', not {self.compact_at!r}")

    @property
    def tokens(self) -> int | None:
        """Beyond how many tokens it is summarised; None: no number says so."""
        at = self.compact_at
        is_number = at is not None and at != "off" and at > 1
        return int(at) if is_number else self.summarise_over_tokens  # type: ignore[arg-type]

    @property
    def share(self) -> float | None:
        """Beyond which share of the room it is summarised; None: that does not count."""
        if self.summarise_over_tokens is not None or self.compact_at == "off":
            return None
        if self.compact_at is None:
            return NEAR if self.keep_last is None else None
        return self.compact_at if self.compact_at <= 1 else None

    @property
    def digested(self) -> str:
        """What a request's digest reads of it, as runs were recorded before there was `compact_at`."""
        more = "" if self.compact_at is None else f", compact_at={self.compact_at}"
        return f"History(keep_last={self.keep_last}, summarise_over_tokens={self.summarise_over_tokens}{more})"


def count_tokens(messages: Iterable[Message]) -> int:
    """Return the estimated tokens of `messages`; each message is estimated once in its life."""
    return sum([message.tokens for message in messages])


def left_out(count: int) -> Message:
    """Return the mark that replaces `count` messages."""
    return user(f"[{count} earlier messages were left out here]")


def fit(
    messages: tuple[Message, ...],
    window_tokens: int | None,
    reserve: int = 0,
    *,
    keep_last: int | None = None,
    total: int | None = None,
    shorten: bool = False,
) -> tuple[Message, ...]:
    """Return `messages` in order, without the oldest exchanges that don't fit `window_tokens` less `reserve`.

    System messages, the first and the last user message and the last exchange stay; a tool call is never separated
    from its results. Where anything is left out a mark replaces it. `total` is `count_tokens(messages)`, for
    callers that keep a running sum: then nothing is walked where all of it fits. With `shorten`, results of tools lose
    their middle where what must stay does not fit. Raises `ContextTooLong` where it does not fit then either.
    """
    room = None if window_tokens is None else window_tokens - reserve
    few = keep_last is None or len(messages) <= keep_last
    if few and (room is None or (count_tokens(messages) if total is None else total) <= room):
        return messages
    units = _units(messages)
    kept = _must_stay(messages, units)
    spent = sum(count_tokens(messages[unit.start : unit.stop]) for number, unit in enumerate(units) if number in kept)
    mark = left_out(len(messages)).tokens
    newer = 0
    for number in range(len(units) - 1, -1, -1):
        said = messages[units[number].start : units[number].stop]
        if number not in kept:
            size = count_tokens(said)
            if room is not None and spent + size + mark > room:
                break
            if keep_last is not None and newer + len(said) > keep_last:
                break
            kept.add(number)
            spent += size
        newer += 0 if said[0].role == "system" else len(said)
    if len(kept) < len(units):
        spent += mark
    if room is not None and spent > room and shorten:
        return shortened(_marked(messages, units, kept), room)
    if room is not None and spent > room:
        raise ContextTooLong(f"what must stay of the transcript is about {spent} tokens; there is room for {room}")
    return _marked(messages, units, kept)


def _units(messages: tuple[Message, ...]) -> list[range]:
    """Return the runs of positions that stay or go as one: a message, and the tool results that follow it."""
    starts = [i for i, message in enumerate(messages) if message.role != "tool" or i == 0]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(messages)], strict=True)]


def _must_stay(messages: tuple[Message, ...], units: Sequence[range]) -> set[int]:
    said = [number for number, unit in enumerate(units) if messages[unit.start].role == "user"]
    fixed = {number for number, unit in enumerate(units) if messages[unit.start].role == "system"}
    # A word of ours may follow the last results of tools: they are what the model is to answer with.
    last = len(units) - 1
    results = {last - 1} if last and messages[units[last].start - 1].role == "tool" else set[int]()
    return fixed | set(said[:1]) | set(said[-1:]) | results | {last}


def _marked(messages: tuple[Message, ...], units: Sequence[range], kept: set[int]) -> tuple[Message, ...]:
    gone = sum(len(unit) for number, unit in enumerate(units) if number not in kept)
    result: list[Message] = []
    marked = gone == 0
    for number, unit in enumerate(units):
        if number in kept:
            result.extend(messages[unit.start : unit.stop])
        elif not marked:
            result.append(left_out(gone))
            marked = True
    return tuple(result)


def shortened(messages: tuple[Message, ...], room: int) -> tuple[Message, ...]:
    """Return `messages` in at most `room` tokens: the longest results of tools lose their middle, evenly, and say so.

    Raise `ContextTooLong` where that does not do.
    """
    results = [part for message in messages for part in message.parts if isinstance(part, ToolResult)]
    sizes = sorted(estimate_tokens(part.content) for part in results)
    total = count_tokens(messages)
    cap = even_cap(sizes, room - (total - sum(sizes)))
    if cap < LEAST_OF_A_RESULT:
        raise ContextTooLong(f"what must stay of the transcript is about {total} tokens; there is room for {room}")
    return tuple([_with_short_results(message, cap) for message in messages])


def even_cap(sizes: Sequence[int], room: int) -> int:
    """Return the largest cap under which `sizes`, ascending, sum up to `room` at the most."""
    for at, size in enumerate(sizes):
        if size * (len(sizes) - at) > room:
            return room // (len(sizes) - at)
        room -= size
    return sizes[-1] if sizes else 0


def _with_short_results(message: Message, cap: int) -> Message:
    if all(not isinstance(part, ToolResult) or estimate_tokens(part.content) <= cap for part in message.parts):
        return message
    short = [
        replace(part, content=without_middle(part.content, cap)) if isinstance(part, ToolResult) else part
        for part in message.parts
    ]
    return replace(message, parts=tuple(short))


def without_middle(text: str, tokens: int) -> str:
    """Return a text in at most so many estimated tokens: its beginning and its end, and between them what is missing.

    No character is cut through. Fewer tokens than the mark itself takes are not kept to.
    """
    if estimate_tokens(text) <= tokens:
        return text
    mark = f"\n[... of {len(text)} characters the middle was left out here ...]\n"
    data = clean(text).encode()
    half = max(0, (tokens - 1) * BYTES_PER_TOKEN - len(mark)) // 2
    return f"{data[:half].decode(errors='ignore')}{mark}{data[len(data) - half :].decode(errors='ignore')}"
