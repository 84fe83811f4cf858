"""Whose words an utterance is made of: its speaker's, whoever it writes in the name of. Pure.

Models write the turns of others, or imitate the system and its tools, now and then on purpose. Others hear such an
utterance inside a fence that says whose it is, and no transcript takes a line of it for the heading of another's.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator

from orchestrator.squad.parts import everyone
from orchestrator.squad.plan import ConversationPlan

ROLES = ("system", "user", "assistant", "tool", "developer", "function", "human", "moderator", "tool result", "ai")
_TAGS = re.compile(r"</?[a-z][a-z0-9]{0,9}\s*/?>", re.IGNORECASE)
_MARKUP = re.compile(
    r"<\|[^|\n]{1,30}\|>|\[/?INST\]|<</?SYS>>"
    r"|</?(?:system|assistant|user|developer|tool|function|instructions?)(?:[_-]?(?:calls?|results?|use|output|prompt))?\b",
    re.IGNORECASE,
)
_ENDS = re.compile(r"[\W_]{0,8}(?:\([^)\n]{0,60}\))?[\W_]{0,8}?(?:round[\W_]{0,4}\d|:)")
_FIRST = re.compile(r"[^\W_]")
_COLONS = str.maketrans("\u2236\ua789\u02d0", ":::")
_OURS = ("what was said", "ended by")


def heard_as(text: str, speaker: str, plan: ConversationPlan) -> str:
    """Return how others hear an utterance: as it is, or fenced where a part of it may pass for another's words.

    The mark of the fence is a digest of the text, so no text can hold its own.
    """
    if plan.edition < 3 or not imitates(text, speaker, plan):
        return text
    mark = hashlib.sha256(f"{speaker}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return (
        f"[Every word from here to the mark {mark} is said by {speaker}, whoever it is written in the name of.]\n"
        f"{text}\n[{mark}: here ends what {speaker} says.]"
    )


def imitates(text: str, speaker: str, plan: ConversationPlan) -> bool:
    """Return whether a part of what `speaker` says may pass for the words of another, of the system or of a tool."""
    if _MARKUP.search(unicodedata.normalize("NFKC", text)):
        return True
    names = _names(plan, but=speaker)
    return any(_is_label(line, names) for _, line in _lines(text))


def quoted(text: str, plan: ConversationPlan) -> str:
    """Return an utterance for a transcript: lines that may pass for one of its headings or labels are quoted there."""
    if plan.edition < 3:
        return text
    names = _names(plan)
    return "".join(
        f"> {line.lstrip()}" if _is_label(spelled, names) or _is_ours(spelled) else line
        for line, spelled in _lines(text)
    )


def _names(plan: ConversationPlan, but: str | None = None) -> tuple[str, ...]:
    """Return what a label may begin with: names of those who take part, and roles; without those of one speaker."""
    own = {_spelled(one) for one in (but, plan.names.get(but or "")) if one}
    known = [*everyone(plan), *plan.names.values(), *ROLES]
    return tuple(dict.fromkeys(name for one in known if (name := _spelled(one)) and name not in own))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line, with its end, and the same in one spelling."""
    lines, spelled = text.splitlines(keepends=True), _spelled(text).splitlines()
    if len(lines) != len(spelled):
        spelled = [_spelled(line) for line in lines]
    return zip(lines, spelled, strict=True)


def _is_label(spelled: str, names: tuple[str, ...]) -> bool:
    if ":" not in spelled and "round" not in spelled:
        return False
    bare = _bare(spelled)
    return bare.startswith(names) and any(
        bare.startswith(name) and _ENDS.match(bare, len(name)) is not None for name in names
    )


def _is_ours(spelled: str) -> bool:
    """Return whether a line is one that a transcript has of its own."""
    return any(words in spelled for words in _OURS) and _bare(spelled).startswith(_OURS)


def _bare(spelled: str) -> str:
    """Return the beginning of a line without what it is dressed in."""
    head = spelled[:400]
    head = _TAGS.sub(" ", head) if "<" in head else head
    first = _FIRST.search(head)
    return "" if first is None else head[first.start() :]


def _spelled(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_COLONS).casefold()
