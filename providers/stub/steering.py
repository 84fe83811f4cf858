"""What the offline stub is asked by a conversation: who speaks next, whom to ask for what, or for its end. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from providers.messages import Message

TAIL_CHARS = 20_000
HUMAN = "human"
"""A person: nobody may be there to answer offline, so the stub asks none of its own accord."""
_LISTED = re.compile(r"^- (?P<name>[^\s:(]+)(?P<about>[^\n]*)$", re.MULTILINE)
_DATA = re.compile(r"<data (\w+)>\n(.*?)\n</data \1>", re.DOTALL)
_WORD = re.compile(r"\w{3,}")

SteeringKind = Literal["pick", "hand_over", "delegate", "work", "conclude", "summarise"]
_ASKED: tuple[tuple[SteeringKind, str], ...] = (
    ("pick", "Answer with one line, `NEXT: ` and the name"),
    ("hand_over", "end with one line `HANDOFF: ` and the name"),
    ("delegate", "write one line for each, `DELEGATE name: the task`"),
    ("work", "Do what you were asked for, and answer with the result alone."),
    ("conclude", "It is all that others will read."),
    ("summarise", "Write the summary of all of it, in at most"),
    ("summarise", "Write the text as that task needs it, in at most"),
)
"""What a prompt says that asks for each."""


@dataclass(frozen=True, slots=True)
class Steering:
    """What a prompt asks for; `listed` are those whom it offers, each with what it says of them."""

    kind: SteeringKind
    listed: tuple[tuple[str, str], ...] = ()

    @property
    def agents(self) -> tuple[str, ...]:
        """Those who are no persons; where there are none, all."""
        names = tuple(name for name, _ in self.listed)
        return tuple(name for name in names if name != HUMAN) or names


def steering_of(messages: Sequence[Message]) -> Steering | None:
    """Return what the last message asks for, None where that is to speak like anybody."""
    last = next(reversed(messages), None)
    if last is None or last.role != "user" or last.name is not None:
        return None
    text = last.text[-TAIL_CHARS:]
    kind = next((kind for kind, words in _ASKED if words in text), None)
    if kind is None:
        return None
    listed = tuple((found["name"], found["about"]) for found in _LISTED.finditer(text))
    return Steering(kind, listed if kind in ("pick", "hand_over", "delegate") else ())


def best_for(steering: Steering, words: str) -> str:
    """Return which agent is told to know most of `words`; of equals, the first."""
    wanted = _stems(words)
    about = dict(steering.listed)

    def known(name: str) -> int:
        return len(wanted & _stems(f"{name} {about[name]}"))

    return max(steering.agents, key=known)


def _stems(text: str) -> set[str]:
    """Return the words of a text, so short that a router and routers are one."""
    return {word.casefold()[:5] for word in _WORD.findall(text)}


def beginnings(messages: Sequence[Message], words: int = 12) -> str:
    """Return how each paragraph of what is to be summarised begins: without a model there is no other summary."""
    found = _DATA.findall(messages[-1].text)
    said = [part.split() for _, text in found for part in text.split("\n\n")]
    return "\n".join(" ".join(part[:words]) for part in said if part)
