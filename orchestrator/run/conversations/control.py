"""The lines of an utterance that steer its conversation: who speaks next, and that the matter is settled. Pure.

`NEXT: ann` says who speaks next; where the word is handed over, `HANDOFF: ann` and `transfer_to_ann` say the same.

Models dress such a line up: emphasis, headings, quotations, list bullets, code fences, emoji, another case, a
full-width colon, `@` before a name, the name of a persona for that of its agent. It means the same in every dress; and
as it speaks to the conversation, not to those in it, nobody hears it and no transcript shows it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.run.conversations.blocks import FENCE, QUOTED, blocks_of
from orchestrator.run.conversations.names import Named, mentioned_in, named_in
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import phrases

MisreadKind = Literal["nobody", "ambiguous", "several", "ineligible"]

_TAGS = re.compile(r"</?(?:b|strong|i|em|u|p|li|h[1-6]|code|mark|span|br)\s*/?>", re.IGNORECASE)
_BULLET = re.compile(r"\d{1,3}[.)]")
_NEXT = r"(next)(?![^\W_])(?:[ \t]+(?:speakers?|turn|up)\b)?(?:[^\w:=]|_){0,20}[:=](.*)"
_HANDOFF = r"(hand[ _-]?(?:off|over)|transfer)(?![^\W_])(?:(?:[^\w:=]|_){0,20}[:=](?:\s*to\b)?|[\s_-]+to(?![^\W_]))(.*)"
_COLONS = str.maketrans("\u2236\ua789\u02d0", ":::")
_SENTENCE_ENDS = ("", ".", "!", "?", "…", ")", "。")
_RULE = re.compile(r"[\s\-*_=~#>|+]*")
MOST_WORDS = 3
"""Words beside the names in a line at the edge of a text that is still taken for a control line."""
SHOWN = 200
"""Characters of a line that an event shows."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """How a line begins that steers: `line` matches the keyword and what stands behind it, `within` it inside a line.

    `hints`: a line that holds none of them is no such line.
    """

    hints: tuple[str, ...]
    line: re.Pattern[str]
    within: re.Pattern[str]
    keeps_reasons: bool = False
    """Whether a line that says more than names is heard by the others."""


NEXT = Keyword(("next",), re.compile(_NEXT, re.IGNORECASE), re.compile(r"(?<![\w])NEXT(?:[^\w:=]|_){0,20}[:=]"))
HANDOFF = Keyword(
    ("next", "hand", "transfer"),
    re.compile(f"(?:{_NEXT}|{_HANDOFF})", re.IGNORECASE),
    re.compile(r"(?<![\w])(?:NEXT|HAND[ _-]?(?:OFF|OVER))(?:[^\w:=]|_){0,20}[:=]|(?<!\w)transfer_to_"),
    keeps_reasons=True,
)


@dataclass(frozen=True, slots=True)
class Unread:
    """A control line that could not be followed, and why."""

    line: str
    fault: MisreadKind
    why: str


@dataclass(frozen=True, slots=True)
class Control:
    """What an utterance says to its conversation. `text` is what is left for those who take part in it."""

    text: str
    next: tuple[str, ...] = ()
    """Who speaks next, in the order of the line; empty: that is left open."""
    closing: tuple[str, ...] = ()
    """The phrases of `terminate` that lines of their own say."""
    unread: Unread | None = None
    tasks: tuple[tuple[str, str], ...] = ()
    """Whom a manager asks for what."""


@dataclass(slots=True)
class _Line:
    """One line of a text. `fence` numbers the fenced block that it stands in, 0: none."""

    text: str
    fence: int = 0
    is_mark: bool = False
    """Whether it opens or closes a block."""
    kept: str | None = None
    """What is left of it; None: nothing."""
    next: Named | None = None

    @property
    def is_said(self) -> bool:
        return not self.is_mark and not _RULE.fullmatch(self.text)


def control_of(text: str, speaker: str, plan: ConversationPlan, names: int | None, keyword: Keyword = NEXT) -> Control:
    """Return what `speaker` says to the conversation, and to the others.

    `names` is how many may be named in a `NEXT:` line: 0 where such a line of this speaker is not followed, None where
    the pattern knows no such lines. Of several lines the last one that names somebody counts.
    """
    if plan.edition == 1:
        return Control(text, tuple(_next_in_edition_1(text, plan)))
    if not _may_steer(text, speaker, plan, names, keyword):
        return Control(text)
    lines = _lines(text, plan.edition)
    directions = [] if names is None else _directions(lines, plan, keyword)
    closing = _closing(lines, speaker, plan)
    left = _left(lines) if directions or closing else text
    if not names or not directions:
        return Control(left, closing=closing)
    speakers, unread = _followed(directions, names)
    return Control(left, speakers, closing, unread)


def _may_steer(text: str, speaker: str, plan: ConversationPlan, names: int | None, keyword: Keyword) -> bool:
    """Return whether a line of a text can be a control line at all: most texts hold none, and some are long."""
    if any(one.by in (None, speaker) for one in phrases(plan.terminate)):
        return True
    folded = "" if names is None else unicodedata.normalize("NFKC", text).casefold()
    return any(hint in folded for hint in keyword.hints)


def _lines(text: str, edition: int) -> list[_Line]:
    """Return the lines with the blocks they stand in."""
    lines = text.splitlines()
    blocks = blocks_of(lines, edition)
    return [_Line(line, block, bool(FENCE.match(line)), line) for line, block in zip(lines, blocks, strict=True)]


# -- who speaks next


@dataclass(frozen=True, slots=True)
class _Direction:
    """Neighbouring `NEXT:` lines as one."""

    line: str
    named: Named
    last: int = field(compare=False)


def _directions(lines: Sequence[_Line], plan: ConversationPlan, keyword: Keyword) -> list[_Direction]:
    """Return the lines that say who speaks next, and take them out of the text."""
    said = [i for i, line in enumerate(lines) if line.is_said]
    found: list[_Direction] = []
    taken = -1
    for i in said:
        if i <= taken:
            continue
        rest, is_upper, start = _rest_of(lines[i].text, keyword, is_last=i == said[-1])
        if rest is None:
            continue
        named, end = named_in(rest, plan), i
        if not re.search(r"[^\W_]", rest):
            named, end = _listed_below(lines, i, plan)
        is_edge = i in (said[0], said[-1])
        if not _is_direction(lines, i, plan, named, keyword, is_upper=is_upper, is_edge=is_edge, start=start):
            continue
        says_why = keyword.keeps_reasons and bool(mentioned_in(rest, plan).others)
        for at in range(i, end + 1) if not says_why else ():
            lines[at].kept = None
        if start and not says_why:
            lines[i].kept = lines[i].text[:start].rstrip(" \t*_`([<>—–-~|#\"'“„«")
        shown = " ".join(line.text.strip() for line in lines[i : end + 1])[:SHOWN]
        is_neighbour = bool(found) and not any(line.is_said for line in lines[found[-1].last + 1 : i])
        if is_neighbour:
            before = found.pop()
            found.append(_Direction(f"{before.line} {shown}"[:SHOWN], before.named.and_(named), end))
        else:
            found.append(_Direction(shown, named, end))
        taken = end
    return found


def _rest_of(line: str, keyword: Keyword, *, is_last: bool) -> tuple[str | None, bool, int]:
    """Return what stands behind the keyword in a line, whether that is in capitals, and where it begins in the line."""
    plain = unicodedata.normalize("NFKC", line).translate(_COLONS)
    folded = plain.casefold()
    if not any(hint in folded for hint in keyword.hints):
        return None, False, 0
    bare = _undressed(_TAGS.sub(" ", plain))
    if bullet := _BULLET.match(bare):
        bare = _undressed(bare[bullet.end() :])
    if found := keyword.line.match(bare):
        word, rest = [group for group in found.groups() if group is not None][:2]
        return rest, word.isupper(), 0
    inside = list(
        keyword.within.finditer(line.translate(str.maketrans("：", ":")).translate(_COLONS)) if is_last else ()
    )
    return (line[inside[-1].end() :], True, inside[-1].start()) if inside else (None, False, 0)


def _undressed(text: str) -> str:
    start = next((i for i, char in enumerate(text) if char.isalnum()), len(text))
    return text[start:]


def _is_direction(
    lines: Sequence[_Line],
    i: int,
    plan: ConversationPlan,
    named: Named,
    keyword: Keyword,
    *,
    is_upper: bool,
    is_edge: bool,
    start: int,
) -> bool:
    """Return whether a line with the keyword in it steers the conversation, rather than is a part of what is said."""
    fence = lines[i].fence
    is_code = fence > 0 and any(
        one.is_said and _rest_of(one.text, keyword, is_last=False)[0] is None
        for one in lines
        if one.fence == fence and one.kept is not None
    )
    if start:
        return bool(named.agents or named.unsure) and not (plan.edition > 2 and _is_quoted(lines[i].text, start))
    is_edge = is_edge and not (plan.edition > 2 and is_code)
    if named.agents or named.unsure:
        return is_edge or (not is_code and (is_upper or not named.others))
    return (is_upper and (is_edge or not is_code)) or (is_edge and len(named.others) <= MOST_WORDS)


def _is_quoted(line: str, start: int) -> bool:
    """Return whether what stands behind a keyword in a line is quoted in a sentence, not dressed up at its end."""
    around = next((one for one in QUOTED.finditer(line) if one.start() < start <= one.end()), None)
    if around is None:
        return False
    before, after = line[: around.start()].rstrip(), line[around.end() :]
    return bool(re.search(r"[^\W_]", after)) or before[-1:] not in _SENTENCE_ENDS


def _listed_below(lines: Sequence[_Line], i: int, plan: ConversationPlan) -> tuple[Named, int]:
    """Return the names in the lines below an empty `NEXT:`, and the last line of them."""
    named, end = Named(), i
    for at in range(i + 1, len(lines)):
        if lines[at].is_mark or lines[at].fence != lines[i].fence:
            break
        if not lines[at].text.strip():
            continue
        one = named_in(lines[at].text, plan)
        if not (one.agents or one.unsure) or one.others:
            break
        named, end = named.and_(one), at
    return named, end


def _followed(directions: Sequence[_Direction], most: int) -> tuple[tuple[str, ...], Unread | None]:
    """Return who speaks next, as far as the lines say, and the line that could not be followed to the letter."""
    naming = [one for one in directions if one.named.agents] or list(directions)
    one = naming[-1]
    speakers, unread = one.named.agents[:most], None
    if one.named.unsure:
        word, meant = one.named.unsure[0]
        unread = Unread(one.line, "ambiguous", f"'{word}' may mean {' or '.join(meant)}")
    elif not speakers:
        unread = Unread(one.line, "nobody", "it names nobody who takes part")
    elif len({frozenset(other.named.agents) for other in naming}) > 1:
        unread = Unread(one.line, "several", f"{len(naming)} lines name others each; the last one counts")
    elif len(one.named.agents) > most:
        unread = Unread(one.line, "several", f"it names {len(one.named.agents)}, and {most} may speak")
    return speakers, unread


def _next_in_edition_1(text: str, plan: ConversationPlan) -> list[str]:
    """Return whom the last `NEXT:` line names, as runs of edition 1 read it."""
    line = next((part for part in reversed(text.splitlines()) if part.strip().upper().startswith("NEXT:")), "")
    words = {word.strip(" \t.,;:*`'\"").casefold() for word in line.partition(":")[2].replace(",", " ").split()}
    return [name for name in plan.participants if name.casefold() in words]


# -- that the matter is settled


def _closing(lines: Sequence[_Line], speaker: str, plan: ConversationPlan) -> tuple[str, ...]:
    """Return the phrases that lines of their own say, and take these out of the text."""
    said = [line for line in lines if line.is_said and line.kept is not None]
    found: list[str] = []
    for phrase in (one.phrase for one in phrases(plan.terminate) if one.by in (None, speaker)):
        bare = _bare(phrase)
        for line in said if bare else ():
            is_last = line is said[-1] and not (plan.edition > 2 and _stands_among(line, said))
            is_it = _bare(line.text) == bare or (is_last and _bare(line.text).casefold() == bare.casefold())
            if is_it and (is_last or (not line.fence and phrase in QUOTED.sub(" ", line.text))):
                line.kept = None
                found.append(phrase)
    return tuple(dict.fromkeys(found))


def _stands_among(line: _Line, said: Sequence[_Line]) -> bool:
    """Return whether other words stand in the block of a line."""
    return line.fence > 0 and any(one.fence == line.fence for one in said if one is not line)


def _bare(text: str) -> str:
    """Return a line without what may stand around its words."""
    words = unicodedata.normalize("NFKC", _TAGS.sub(" ", text))
    kept = [i for i, char in enumerate(words) if char.isalnum()]
    return words[kept[0] : kept[-1] + 1] if kept else ""


# -- what is left


def _left(lines: Sequence[_Line]) -> str:
    """Return the text without the lines that were taken out, and without what stood around these alone."""
    blocks = {line.fence for line in lines if line.fence and line.kept is None}
    empty = {block for block in blocks if not any(_is_left(one) for one in lines if one.fence == block)}
    wrapped = not any(_is_left(one) for one in lines)
    kept = [
        line.kept for line in lines if line.kept is not None and not (line.is_mark and (line.fence in empty or wrapped))
    ]
    while kept and _RULE.fullmatch(kept[-1]):
        kept.pop()
    while kept and _RULE.fullmatch(kept[0]):
        kept.pop(0)
    return "\n".join(kept)


def _is_left(line: _Line) -> bool:
    return line.is_said and bool(line.kept and line.kept.strip())
