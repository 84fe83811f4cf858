"""Which known name a misspelt one may mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable

_SHORT, _LONG = 4, 8
"""Letters of the words in which one letter may differ, and in which two; longer ones are judged by their likeness."""


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `word` may be a slip of, whatever the case of its letters; None where none is.

    Of a short word hardly a letter may differ: two of three that do name something else. Slips spare the first letter
    mostly, so one with another beginning is less of a slip.
    """
    return next((one for one in alike(word, choices) if _is_slip(word.casefold(), one.casefold())), None)


def alike(word: str, choices: Iterable[str]) -> list[str]:
    """Return the choices that look like a word, slips or not, the most alike first."""
    import difflib  # only a mistake needs it

    by_folded = {name.casefold(): name for name in choices}
    return [by_folded[one] for one in difflib.get_close_matches(word.casefold(), by_folded, n=5, cutoff=0.6)]


def _is_slip(word: str, choice: str) -> bool:
    """Return whether a word differs from a choice by no more letters than a slip does in words of that length."""
    shorter, longer = sorted((len(word), len(choice)))
    if longer > _LONG or word == choice:
        return True
    edits, begins_alike = _edits(word, choice), word[:1] == choice[:1] or sorted(word) == sorted(choice)
    if longer > _SHORT:
        return edits <= (2 if begins_alike else 1)
    return shorter > 1 and edits <= 1 and begins_alike


def _edits(one: str, other: str) -> int:
    """Return how many letters were left out, put in, replaced, or swapped with their neighbour."""
    above, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one):
        before, above, row = above, row, [i + 1]
        for j, wanted in enumerate(other):
            row.append(min(above[j] + (letter != wanted), above[j + 1] + 1, row[j] + 1))
            if i and j and letter == other[j - 1] and one[i - 1] == wanted:
                row[-1] = min(row[-1], before[j - 1] + 1)
    return row[-1]
