"""Texts as the pieces of words that BERT models know: the tokenizer of `bert-base-uncased`. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

UNKNOWN, FIRST, LAST = "[UNK]", "[CLS]", "[SEP]"
WORD_CHARS = 100
MOST_CHARS = 8_000
"""Characters of a text that are read: more than any window of these models."""


def pieces(text: str, vocabulary: Mapping[str, int], most: int) -> list[int]:
    """Return the ids of a text's pieces between those of `[CLS]` and `[SEP]`, at most `most` together."""
    found: list[int] = []
    for word in _words(text[:MOST_CHARS]):
        found += _of_word(word, vocabulary)
        if len(found) >= most - 2:
            break
    return [vocabulary[FIRST], *found[: most - 2], vocabulary[LAST]]


def _words(text: str) -> Iterator[str]:
    apart = unicodedata.normalize("NFD", text.lower())
    held: list[str] = []
    for letter in apart:
        kind = unicodedata.category(letter)
        if kind == "Mn" or (kind in ("Cc", "Cf") and not letter.isspace()):
            continue
        alone = _is_ideograph(letter) or kind[0] == "P" or letter in "$+<=>^`|~"
        if letter.isspace() or alone:
            if held:
                yield "".join(held)
                held = []
            if alone:
                yield letter
        else:
            held.append(letter)
    if held:
        yield "".join(held)


def _is_ideograph(letter: str) -> bool:
    return "\u3400" <= letter <= "\u9fff" or "\uf900" <= letter <= "\ufaff" or "\U00020000" <= letter <= "\U0002fa1f"


def _of_word(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Return the longest pieces of a word that are known, from its beginning; `[UNK]` where one is not."""
    if len(word) > WORD_CHARS:
        return [vocabulary[UNKNOWN]]
    found: list[int] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            number = vocabulary.get(("##" if start else "") + word[start:end])
            if number is not None:
                found.append(number)
                start = end
                break
        else:
            return [vocabulary[UNKNOWN]]
    return found
