"""What a vendor's own words of refusal mean, as rows of the catalog state it. Plain text: no pattern can explode."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

Meaning = Literal[
    "gone",
    "unsupported",
    "context",
    "size",
    "rate",
    "quota",
    "no_money",
    "key",
    "edge",
    "overloaded",
    "fault",
    "declined",
    "draft",
    "invalid",
]
"""What follows from each stands in `providers.adapters.verdict.error_for`."""
Until = Literal["day", "week", "month"]
"""A spent allowance comes back with the next of these, 00:00 UTC, if the reply does not say when. Monday is first."""
ANYTHING = "*"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Words or a code by which a vendor refuses, and what they mean.

    `says` is part of the message, in any case; `*` in it stands for anything. `code` is a whole code or type of the
    body. Where both are given, both must be there. `status` narrows it to that HTTP status; an error that comes inside
    a 200 without one fits any.
    """

    means: Meaning
    says: str = ""
    code: str = ""
    status: int | None = None
    until: Until | None = None
    source: str = ""
    as_of: str = ""

    @property
    def subject(self) -> tuple[str, str, int | None]:
        """What it is about: of two on the same, the later one counts."""
        return self.says.lower(), self.code.lower(), self.status

    def fits(self, said: str, codes: Collection[str], status: int | None) -> bool:
        """Whether it is about an error of this `status` (None: not known) that says `said`. Both in lower case."""
        if self.status is not None and status is not None and self.status != status:
            return False
        return (not self.code or self.code.lower() in codes) and _in_order(self.says.lower().split(ANYTHING), said)


def fitting(refusals: Iterable[Refusal], said: str, codes: Collection[str], status: int | None) -> Refusal | None:
    """Return the first of `refusals` that fits an error, None where none does."""
    said = said.lower()
    return next((refusal for refusal in refusals if refusal.fits(said, codes, status)), None)


def _in_order(pieces: list[str], text: str) -> bool:
    at = 0
    for piece in pieces:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True
