"""Fits a transcript into a model's window: pure. What never goes, what may go, and the mark that says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from providers.errors import ContextTooLong
from providers.messages import Message, user


@dataclass(frozen=True, slots=True)
class History:
    """How much of a transcript goes along: its newest `keep_last` messages, in whole exchanges.

    `summarise_over_tokens` is read from squad files and not used yet.
    """

    keep_last: int | None = None
    summarise_over_tokens: int | None = None


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
) -> tuple[Message, ...]:
    """Return `messages` in order, without the oldest exchanges that don't fit `window_tokens` less `reserve`.

    System messages, the first and the last user message and the last exchange stay; a tool call is never separated
    from its results. Where anything is left out a mark replaces it. `total` is `count_tokens(messages)`, for
    callers that keep a running sum: then nothing is walked where all of it fits. Raises `ContextTooLong` where what
    must stay does not fit.
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
