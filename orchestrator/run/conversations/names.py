"""Who is meant by a name, as people and models write names: pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from orchestrator.squad.plan import ConversationPlan

Words = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_REASON = re.compile(r"\s[—–-]\s|[.;!?](?:\s|$)|[()]|\b(?:to|because|so|who|for|since|as|please)\b", re.IGNORECASE)
"""What follows it says why somebody is named, and may name others."""
_JOINING = frozenset(
    {"and", "or", "then", "both", "plus", "also", "with", "speaker", "speakers", "the", "by", "und", "et", "y", "e"}
)


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a text names. `unsure` are words that may mean several, with those; `others` are words that are no names."""

    agents: tuple[str, ...] = ()
    unsure: tuple[tuple[str, tuple[str, ...]], ...] = ()
    others: tuple[str, ...] = ()

    def and_(self, more: Named) -> Named:
        agents = tuple(dict.fromkeys((*self.agents, *more.agents)))
        return Named(agents, (*self.unsure, *more.unsure), (*self.others, *more.others))


def named_in(text: str, plan: ConversationPlan) -> Named:
    """Return which participants a text names, each by its id, its persona's name, or a word of that name.

    The longest name counts where several fit, and an id before a name. What says why somebody is named is left out.
    """
    parts = [named for part in _REASON.split(text) if (named := _named(part, plan)) != Named()]
    naming = next((named for named in parts if named.agents or named.unsure), None)
    if naming is not None:
        return naming
    return Named(others=tuple(word for named in parts for word in named.others))


def mentioned_in(text: str, plan: ConversationPlan) -> Named:
    """Return all participants that a text names anywhere."""
    return _named(text, plan)


def name_at_start(text: str, plan: ConversationPlan) -> str | None:
    """Return whom the longest name means with which a text begins; None: nobody, or it is a part of another word."""
    known, close = _known(plan), _close(plan)
    starts = list(_WORD.finditer(text))[: max(map(len, known), default=0)]
    for length in range(len(starts), 0, -1):
        end = starts[length - 1].end()
        words = words_of(text[:end])
        if re.match(r"[.@/_-]?[^\W]|@", text[end:]):
            continue
        agent, taken = _run_together(words, close, known)
        if words not in known and (agent is None or taken < length):
            continue
        meant = _exactly(known[words], text[:end]) if words in known else (agent or "",)
        return meant[0] if len(meant) == 1 else None
    return None


def words_of(text: str) -> Words:
    """Return the words of a text in one spelling."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _named(text: str, plan: ConversationPlan) -> Named:
    words, known = words_of(text), _known(plan)
    close = _close(plan)

    @cache  # a name may stand in a text very often
    def exactly(name: Words) -> tuple[str, ...]:
        return _exactly(known[name], text)

    longest = max((len(name) for name in known), default=1)
    found: dict[str, None] = {}
    unsure: list[tuple[str, tuple[str, ...]]] = []
    others: list[str] = []
    at = 0
    while at < len(words):
        length = next((n for n in range(longest, 0, -1) if words[at : at + n] in known), 0)
        agent, wider = _run_together(words[at : at + longest + 1], close, known) if close else (None, 0)
        if agent is not None and wider > length:
            found[agent] = None
            at += wider
            continue
        if not length:
            others += [] if words[at] in _JOINING or words[at].isdigit() else [words[at]]
            at += 1
            continue
        meant = exactly(words[at : at + length])
        if len(meant) == 1:
            found[meant[0]] = None
        else:
            unsure.append((" ".join(words[at : at + length]), meant))
        at += length
    # Of people who share a name, one may be named in full beside it.
    left = tuple((word, meant) for word, meant in unsure if not any(one in found for one in meant))
    return Named(tuple(found), left, tuple(others))


def _known(plan: ConversationPlan) -> dict[Words, tuple[str, ...]]:
    """Return each name with whom it may mean: ids first, then the names of personas, then the words of these."""
    known: dict[Words, tuple[str, ...]] = {}
    for names in _names(plan):
        layer: dict[Words, tuple[str, ...]] = {}
        for words, agent in names:
            if words and agent not in layer.get(words, ()):
                layer[words] = (*layer.get(words, ()), agent)
        known = {**layer, **known}
    return known


def _close(plan: ConversationPlan) -> dict[str, str]:
    """Return by the letters of each id, without spaces, whose it is: `DevOps` for `Dev Ops`. Two alike mean nobody."""
    if plan.edition < 3:
        return {}
    letters = {agent: "".join(words_of(agent)) for agent in plan.participants}
    return {one: agent for agent, one in letters.items() if one and list(letters.values()).count(one) == 1}


def _run_together(
    words: Words, close: Mapping[str, str], known: Mapping[Words, tuple[str, ...]]
) -> tuple[str | None, int]:
    """Return whose id the first words are when they are written together, or apart, and how many words it takes.

    Words that all mean somebody each are left alone: `dev, ops` are two.
    """
    for length in range(len(words), 0, -1):
        agent = close.get("".join(words[:length]))
        if agent is not None and words[:length] not in known and not all((one,) in known for one in words[:length]):
            return agent, length
    return None, 0


def _names(plan: ConversationPlan) -> Iterator[list[tuple[Words, str]]]:
    called = {agent: words_of(plan.names.get(agent, "")) for agent in plan.participants}
    yield [(words_of(agent), agent) for agent in plan.participants]
    yield [(words, agent) for agent, words in called.items()]
    yield [((word,), agent) for agent, words in called.items() for word in words if word not in _JOINING]


def _exactly(meant: tuple[str, ...], text: str) -> tuple[str, ...]:
    """Return the one of several whose id stands in the text to the letter, else all of them."""
    if len(meant) == 1:
        return meant
    exact = [agent for agent in meant if re.search(rf"(?<!\w){re.escape(agent)}(?!\w)", text)]
    return (exact[0],) if len(exact) == 1 else meant
