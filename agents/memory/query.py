"""Texts as the terms by which they are found, the same for what is stored and for what is asked. Pure.

Nothing that is asked is ever syntax: a query is a text, its terms are letters, digits and symbols, and each is quoted.
A name like `retry_after`, `retry-after` or `retryAfter` is found by its parts, and as one word. Scripts that are
written without blanks are found by single characters and pairs of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

MOST_ASKED = 20_000
"""Characters of a query that are read."""
MOST_TERMS = 64
"""Terms of a query that are looked at."""
TERM_CHARS = 64
POSTINGS = 5_000
"""Records that a query's terms may stand in together: see `rarest`."""
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai and Lao, Burmese, Khmer, Chinese, Japanese: written without blanks between words."""
_LETTER = r"[^\W_]|[\u0900-\u0963\u0966-\u0dff]"
"""Python counts the vowel signs of Indian scripts as no letters."""
_RUN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])(?:{_LETTER}))+")
_ACCENT = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)
"""Accents, and the points of Hebrew and Arabic, which most people leave out."""
_NAME = re.compile(r"(?<![^\W_])[^\W_]++(?:[_.\-/:]++[^\W_]++)+")
"""No part of it can be read in two ways, nor begin inside a word: a long one takes no longer than it is."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HUMPED = re.compile(r"(?<![A-Za-z0-9])(?=[a-z0-9]*+[A-Z])[A-Za-z0-9]++")
_MARK = re.compile(r"[^\w\s\x00-\x7f]")
_is_unspaced = re.compile(f"[{_UNSPACED}]").match


def folded(text: str) -> str:
    """Return the text without what spelling alone makes of it: case, accents, width, ligatures."""
    if text.isascii():
        return text.lower()
    apart = _ACCENT.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", apart).casefold()


def terms(text: str) -> list[str]:
    """Return the terms of a text, each as often as it stands there."""
    plain = folded(text)
    found = [term for run in _RUN.findall(plain) for term in _of_run(run)]
    found += [re.sub(r"[\W_]+", "", name) for name in _NAME.findall(plain) if len(name) <= TERM_CHARS]
    found += [part.lower() for run in _HUMPED.findall(text) if len(parts := _HUMP.split(run)) > 1 for part in parts]
    if not plain.isascii():
        found += [mark for mark in _MARK.findall(plain) if unicodedata.category(mark) in ("So", "Sm", "Sc")]
    return [term[:TERM_CHARS] for term in found]


def _of_run(run: str) -> Iterator[str]:
    if not _is_unspaced(run):
        yield run
        return
    yield from run
    yield from (run[i : i + 2] for i in range(len(run) - 1))


def asked(text: str) -> list[str]:
    """Return the distinct terms of a query, as many of them as are looked at, in their order."""
    return list(dict.fromkeys(terms(text[:MOST_ASKED])))[:MOST_TERMS]


def rarest(query: Iterable[str], count: Callable[[str], int], postings: int = POSTINGS) -> tuple[list[str], list[str]]:
    """Return the rarest terms that together stand in at most `postings` records, and those that stand in none.

    `count` returns in how many records a term stands. The rarest one is always among them: common words tell little
    apart, and an OR of all words of a sentence takes ten times as long.
    """
    counted = sorted(((count(term), i, term) for i, term in enumerate(query)))
    known = [(docs, term) for docs, _, term in counted if docs]
    chosen: list[str] = []
    total = 0
    for docs, term in known:
        if chosen and total + docs > postings:
            break
        chosen.append(term)
        total += docs
    return chosen, [term for docs, _, term in counted if not docs]


def any_of(chosen: Iterable[str]) -> str:
    """Return the expression of FTS5 that matches any of the terms: each quoted, so none is syntax."""
    return " OR ".join(quoted(term) for term in chosen)


def quoted(term: str) -> str:
    return '"' + term.replace("\0", "").replace('"', '""') + '"'


def trigrams(term: str) -> list[str]:
    """Return its distinct runs of three characters, in order."""
    return list(dict.fromkeys(term[i : i + 3] for i in range(len(term) - 2)))


LIKENESS = 0.5
"""Of two terms, how much of their trigrams must be common (Dice) for one to be taken for the other."""


def alike(term: str, candidates: Sequence[str], most: int = 3) -> list[str]:
    """Return the candidates that the term is a part of, or is spelled much like, the likest first."""
    own = set(trigrams(term))

    def likeness(other: str) -> float:
        theirs = set(trigrams(other))
        dice = 2 * len(own & theirs) / (len(own) + len(theirs) or 1)
        return max(dice, 0.75 + dice / 4) if term in other else dice

    ranked = sorted(((likeness(other), other) for other in candidates), key=lambda one: (-one[0], one[1]))
    return [other for value, other in ranked if value >= LIKENESS][:most]
