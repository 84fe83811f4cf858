"""Which texts of a unit's work its models did not finish: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agents import WorkResult
from agents.errors import cut_off
from orchestrator.events import CutText
from orchestrator.units import StepPath
from providers.messages import FinishReason

_NUMBER = re.compile(r"(\d+)")
_ATTEMPT = re.compile(r"(try|repeat)-\d+")


def cut_in(result: WorkResult, step: StepPath) -> tuple[CutText, ...]:
    """Return the cut of a piece of work whose text is cut off, under its place in the unit; nothing for a whole one."""
    if not result.truncated:
        return ()
    place = "/".join(part for part in step if not _ATTEMPT.fullmatch(part))
    is_filtered = result.finish is FinishReason.CONTENT_FILTER
    return (CutText(place, "content_filter" if is_filtered else "length", result.answer_tokens),)


def in_words(cuts: Sequence[CutText]) -> str:
    """Return which texts are cut off, and where."""
    told = (cut_off(f"the text of {cut.place}" if cut.place else "the text", cut.cause, cut.tokens) for cut in cuts)
    return "; ".join(told)


def in_order(cuts: Iterable[CutText]) -> tuple[CutText, ...]:
    """Return the cuts in an order that does not depend on who of several that speak at once was first to end."""
    return tuple(sorted(cuts, key=lambda cut: [part.zfill(9) for part in _NUMBER.split(cut.place)]))
