"""Reasoning where vendors of this dialect put it: two plain fields, a list of details, tags before the answer.

Sources: docs/sources.md#reasoning, checked 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from providers.documents.unicode import clean_json

OPEN, CLOSE = "<think>", "</think>"
MAX_SPACE = 64  # characters before the tag
QUOTES = ("`", "'", '"', "\u201d")
FRAGMENTED = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""The details that a stream sends in pieces, and the key of what is to be joined."""


class LeadingThought:
    """Parts `<think>...</think>` at the very start of a text from what follows, however the text is cut.

    White space at the beginnings of both is dropped, where there are such tags. A tag that is never closed, as when the
    output cap cut the thought short, makes everything a thought. Where the template has the first tag already, only the
    last one comes: that is seen in the first piece, as a whole text is; of what was told no more can be unsaid. Tags
    elsewhere are text.
    """

    __slots__ = ("_held", "_place", "_tag")

    def __init__(self) -> None:
        self._held = self._tag = ""
        """`_tag`: the last tag of a thought, where that is all that came so far. Alone it is text."""
        self._place: Literal["start", "opened", "thought", "behind", "text"] = "start"

    @property
    def over(self) -> bool:
        """Whether all that comes from here on is text."""
        return self._place == "text"

    def feed(self, piece: str) -> tuple[str, str]:
        """Return the thought and the text that are certain by now."""
        piece, self._held = self._held + piece, ""
        thought = ""
        if self._place == "start":
            piece = self._opened(piece)
        if self._place == "opened" and (piece := piece.lstrip()):
            self._place = "thought"
        if self._place == "thought":
            thought, piece = self._closed(piece)
        if self._place == "behind" and (piece := piece.lstrip()):
            self._place, self._tag = "text", ""
        return thought, piece

    def finish(self) -> tuple[str, str]:
        """Return what was held back at the end."""
        held, self._held, self._tag = self._held or self._tag, "", ""
        if self._place == "thought":
            return held, ""
        self._place = "text" if held else self._place
        return "", held

    def _opened(self, piece: str) -> str:
        """Return what is certain: nothing while the tag may still come."""
        bare = piece.lstrip()
        if bare.startswith(CLOSE):
            self._place, self._tag = "behind", CLOSE
            return bare[len(CLOSE) :]
        if _ends_a_thought(bare):
            self._place = "thought"
            return bare
        if len(piece) - len(bare) > MAX_SPACE or not (bare.startswith(OPEN) or OPEN.startswith(bare)):
            self._place = "text"
            return piece
        if bare.startswith(OPEN):
            self._place = "opened"
            return bare[len(OPEN) :]
        self._held = piece
        return ""

    def _closed(self, piece: str) -> tuple[str, str]:
        """Return the thought, and what follows its end. What may be the end's beginning waits."""
        thought, end, rest = piece.partition(CLOSE)
        if end:
            self._place = "behind"
            return thought, rest
        held = next((n for n in range(min(len(piece), len(CLOSE) - 1), 0, -1) if piece.endswith(CLOSE[:n])), 0)
        thought, self._held = piece[: len(piece) - held], piece[len(piece) - held :]
        return thought, ""


def _ends_a_thought(text: str) -> bool:
    """Whether a thought without its first tag leads `text`: one that speaks of the tag quotes it."""
    thought, end, rest = text.partition(CLOSE)
    quoted = thought[-1:] in QUOTES and rest[:1] in QUOTES
    return bool(end and rest.strip()) and OPEN not in thought and not quoted


def part_thought(text: str) -> tuple[str, str]:
    """Return the thought that leads a whole text, and the text behind it."""
    if OPEN not in text and CLOSE not in text:
        return "", text
    leading = LeadingThought()
    thought, said = leading.feed(text)
    more_thought, more_said = leading.finish()
    return thought + more_thought, said + more_said


def reasoning_in(message: Mapping[str, Any]) -> str:
    """Return the reasoning in any of its fields. NVIDIA NIM fills two with the same text: it counts once."""
    first, second, third = message.get("reasoning_content"), message.get("reasoning"), message.get("thinking")
    if not first and not second and not third:
        return ""
    # An object or a list is a vendor's own structure of what stands beside it as text.
    told = dict.fromkeys(each for each in (first, second, third) if isinstance(each, str))
    return "".join(told)


def details_in(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return OpenRouter's `reasoning_details`, unchanged. What has another shape is some other vendor's padding."""
    details = message.get("reasoning_details")
    return [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []


def text_of(details: Sequence[Mapping[str, Any]]) -> str:
    """Return what can be read in `details`: encrypted ones say nothing."""
    if not details:
        return ""
    texts = [detail.get(FRAGMENTED.get(str(detail.get("type")), "")) for detail in details]
    return "".join(text for text in texts if isinstance(text, str))


def joined(pieces: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a stream's details whole, in the order in which they began.

    The pieces of one detail share type and index; the signature may come last and without text. It signs the whole
    text, so pieces that go back unjoined are refused: "Invalid signature in thinking block".
    """
    whole: list[dict[str, Any]] = []
    begun: dict[tuple[str, str], tuple[dict[str, Any], list[str]]] = {}
    for piece in pieces:
        kind = str(piece.get("type"))
        key = FRAGMENTED.get(kind)
        if key is None:
            whole.append(dict(piece))
            continue
        if (place := (kind, str(piece.get("index")))) not in begun:
            begun[place] = {}, []
            whole.append(begun[place][0])
        fields, texts = begun[place]
        fields.update((name, value) for name, value in piece.items() if name not in fields or value is not None)
        if isinstance(text := piece.get(key), str):
            texts.append(text)
    for (kind, _), (fields, texts) in begun.items():
        if texts:
            fields[FRAGMENTED[kind]] = "".join(texts)
    return whole


def sealed(details: list[dict[str, Any]]) -> str | None:
    """Return `details` as the JSON text that goes back with the transcript, None where there are none, or no JSON."""
    if not details:
        return None
    try:
        return json.dumps(clean_json(details), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return None
