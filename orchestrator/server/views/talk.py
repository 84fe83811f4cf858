"""What was said in the conversations of a run, and in a chat, by whom and to whom. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

from orchestrator.events import (
    ConversationEnded,
    Event,
    ExchangesUndone,
    MessageSpoken,
    TaskEnded,
    TaskReset,
    UserSaid,
)
from orchestrator.server.views.part import PartOfRun


class SaidView(NamedTuple):
    """Something that was said. `heard`: who is shown it beside its speaker; None: not recorded."""

    at: float
    speaker: str
    text: str
    round: int = 0
    heard: tuple[str, ...] | None = None
    asked: tuple[str, ...] = ()
    to: str = ""
    """Of a person in a chat: whom it is said to."""
    is_undone: bool = False
    error: str = ""
    """Of an answer that there is none of: why."""


@dataclass(slots=True)
class TalkView:
    """One conversation, at one place of a run. `ended` says why it ended; empty: it goes on."""

    place: str
    task: str
    name: str
    said: list[SaidView] = field(default_factory=list)
    ended: str = ""


class TalksView(PartOfRun):
    """All conversations, by their place, and the chat."""

    __slots__ = ("all", "chat")
    TAKES: ClassVar = {
        MessageSpoken: "_speak",
        ConversationEnded: "_end",
        UserSaid: "_say",
        TaskEnded: "_answer",
        TaskReset: "_reset",
        ExchangesUndone: "_undo",
    }

    def __init__(self) -> None:
        self.all: dict[str, TalkView] = {}
        self.chat: dict[int, list[SaidView]] = {}
        """Of a chat: what the person said, and the answer, by the number of their exchange."""

    def _speak(self, event: Event) -> None:
        spoken: MessageSpoken = event.data
        talk = self._talk(event, spoken.conversation)
        talk.said.append(
            SaidView(event.at, spoken.speaker, spoken.text, spoken.round, spoken.heard, tuple(spoken.asked))
        )

    def _end(self, event: Event) -> None:
        self._talk(event, event.data.conversation).ended = event.data.reason

    def _talk(self, event: Event, name: str) -> TalkView:
        if (talk := self.all.get(event.path)) is None:
            talk = self.all[event.path] = TalkView(event.path, event.unit.task if event.unit else "", name)
        talk.name = talk.name or name
        return talk

    def _reset(self, event: Event) -> None:
        for talk in self.all.values():
            if talk.task == event.data.task and not talk.ended:
                talk.ended = "it was held again"

    def _say(self, event: Event) -> None:
        said: UserSaid = event.data
        self.chat[said.number] = [SaidView(event.at, "you", said.text, to=said.agent)]

    def _answer(self, event: Event) -> None:
        number = event.data.task.removeprefix("say-")
        if event.data.task.startswith("say-") and number.isdigit() and (exchange := self.chat.get(int(number))):
            ended: TaskEnded = event.data
            stopped = "the answer was stopped" if ended.status == "cancelled" else str(ended.status)
            why = "" if ended.status == "ok" else ended.error or stopped
            exchange[1:] = [SaidView(event.at, exchange[0].to, str(ended.output or ""), error=why)]

    def _undo(self, event: Event) -> None:
        for number in event.data.numbers:
            if exchange := self.chat.get(number):
                exchange[:] = [one._replace(is_undone=True) for one in exchange]


def latest(talk: TalkView, most: int) -> TalkView:
    """Return a conversation with no more than its latest utterances."""
    return replace(talk, said=talk.said[-most:])
