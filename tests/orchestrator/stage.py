"""A conversation held with speakers who follow a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from orchestrator.run.conversation import Conversation, Minutes, SpokenWords
from orchestrator.squad.plan import ConversationPlan
from providers.messages import Message

Script = Callable[[str, int], str | SpokenWords]


class Stage:
    """Speakers who say what a function of (speaker, how often it spoke) says; it keeps what each was shown."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[tuple[str, str, tuple[Message, ...], str]] = []
        self.events: list[Any] = []

    async def speak(self, speaker: str, prompt: str, history: tuple[Message, ...], place: str, *_: Any) -> SpokenWords:
        count = sum(s == speaker for s, *_ in self.seen)
        self.seen.append((speaker, prompt, history, place))
        await anyio.lowlevel.checkpoint()
        said = self.script(speaker, count)
        return said if isinstance(said, SpokenWords) else SpokenWords(said, 10)

    async def hold(self, plan: ConversationPlan, **more: Any) -> Minutes:
        return await Conversation(plan, "the topic", self.speak, self.events.append, lambda: 0.0, **more).hold()


def distinct(speaker: str, count: int) -> str:
    return f"{speaker} says something new number {count} {speaker}{count}"
