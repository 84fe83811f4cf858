"""Several agents on one matter: who speaks when, what each one sees, and when it is over.

With `independent_first_round` the participants of the first round speak at the same time from the brief alone: no
request of that round is built from anything but the brief, so none can hold a byte of a peer's reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from orchestrator.events import ConversationEnded, MessageSpoken
from orchestrator.run import prompts
from orchestrator.squad.plan import ConversationPlan, Termination
from providers.errors import BudgetSpent
from providers.events import Emit
from providers.messages import Message, assistant, user

NOVELTY = 0.05
"""A round in which fewer of the words are new than this made no progress."""


class Speak(Protocol):
    """One utterance of one participant. `history` is what it has seen; `prompt` asks it to speak.

    Returns its text and the tokens it took.
    """

    def __call__(
        self, speaker: str, prompt: str, history: tuple[Message, ...], place: str
    ) -> Awaitable[tuple[str, int]]: ...


@dataclass(frozen=True, slots=True)
class Utterance:
    speaker: str
    text: str
    round: int


@dataclass(slots=True)
class Log:
    """What was said, and each participant's own view of it: its own words as the assistant, others' as users.

    Each utterance is one `Message` that all the others share, so it is encoded once, however many hear it.
    """

    opening: Message
    views: dict[str, list[Message]]
    started_at: float
    said: list[Utterance] = field(default_factory=list)
    tokens: int = 0
    idle_rounds: int = 0
    words: set[str] = field(default_factory=set)

    def add(self, speaker: str, text: str, round_number: int) -> None:
        self.said.append(Utterance(speaker, text, round_number))
        own, others = assistant(text), user(text, name=speaker)
        for name, view in self.views.items():
            view.append(own if name == speaker else others)

    def history(self, speaker: str) -> tuple[Message, ...]:
        return (self.opening, *self.views[speaker])

    def end_round(self, number: int) -> None:
        """Count the round as idle where it brought hardly a new word."""
        spoken = {word for u in self.said if u.round == number for word in u.text.casefold().split()}
        new = spoken - self.words
        self.words |= new
        self.idle_rounds = 0 if len(new) > NOVELTY * len(spoken) else self.idle_rounds + 1


@dataclass(frozen=True, slots=True)
class Minutes:
    """How a conversation went. `conclusion` is the moderator's last word, else the last round's words."""

    conclusion: str
    said: tuple[Utterance, ...]
    reason: str

    def document(self) -> str:
        """Return the conclusion, then all that was said, as Markdown."""
        spoken = "\n\n".join(f"### {u.speaker}, round {u.round}\n\n{u.text}" for u in self.said)
        return f"{self.conclusion}\n\n---\n\n## What was said\n\n{spoken}\n\nEnded by: {self.reason}.\n"


def ended(terminate: Termination, log: Log, now: float) -> str | None:
    """Return the condition that holds, in words, None where the conversation goes on. Pure."""
    if terminate.any:
        return next((reason for node in terminate.any if (reason := ended(node, log, now))), None)
    if terminate.all:
        reasons = [ended(node, log, now) for node in terminate.all]
        return " and ".join(r for r in reasons if r) if all(reasons) else None
    match terminate:
        case Termination(max_turns=int(turns)) if len(log.said) >= turns:
            return f"max_turns {turns}"
        case Termination(text=str(text)) if (speaker := _said(text, terminate.text_from, log)) is not None:
            return f"{speaker} said {text!r}"
        case Termination(no_progress_rounds=int(rounds)) if log.idle_rounds >= rounds:
            return f"{rounds} rounds without progress"
        case Termination(tokens=int(tokens)) if log.tokens >= tokens:
            return f"{tokens} tokens"
        case Termination(time=float(seconds)) if now - log.started_at >= seconds:
            return f"{seconds:g} s"
        case Termination(function=function) if function is not None and function(tuple(log.said)):
            return "the given function"
    return None


def _said(text: str, by: str | None, log: Log) -> str | None:
    """Return who said `text` in the latest round: speakers of one round may have spoken at the same time."""
    for utterance in reversed(log.said):
        if utterance.round != log.said[-1].round:
            break
        if text in utterance.text and by in (None, utterance.speaker):
            return utterance.speaker
    return None


@dataclass(slots=True)
class Conversation:
    """One conversation being held. `clock` gives epoch seconds."""

    plan: ConversationPlan
    topic: str
    speak: Speak
    emit: Emit
    clock: Callable[[], float]
    own_account: str = ""
    """The budget account that ends the conversation, rather than fails it, when it is spent."""

    async def hold(self) -> Minutes:
        """Hold it to its end. A failed turn of any speaker fails it."""
        log = self._open()
        try:
            reason = await self._rounds(log)
        except BudgetSpent as spent:
            if spent.which != self.own_account or not log.said:
                raise
            reason = f"its budget of {spent.kind}"
        self.emit(ConversationEnded(self.plan.id, reason, len(log.said)))
        return Minutes(self._conclusion(log), tuple(log.said), reason)

    def _open(self) -> Log:
        everyone = dict.fromkeys((*self.plan.participants, *filter(None, [self.plan.moderator])))
        opening = user(f"{self.topic}\n\n{prompts.house_rules(self.plan)}")
        return Log(opening, {name: [] for name in everyone}, self.clock())

    async def _rounds(self, log: Log) -> str:
        number, speakers = 1, self._first_speakers()
        while True:
            if number == 1 and self.plan.independent_first_round:
                await self._speak_at_once(speakers, log)
            else:
                for speaker in speakers:
                    if (reason := self._ended(log)) is not None:
                        return reason
                    await self._say(speaker, prompts.your_turn(speaker, self.plan), number, log)
            if (reason := self._ended(log)) is not None:
                return reason
            if self.plan.pattern == "party":
                speakers = await self._choose(number, log)
            log.end_round(number)
            if (reason := self._ended(log)) is not None:
                return reason
            number += 1

    def _first_speakers(self) -> list[str]:
        """All of them where they speak independently, so that no view is lost, or in a round robin."""
        plan = self.plan
        everyone = plan.independent_first_round or plan.pattern == "round_robin"
        return list(plan.participants if everyone else plan.participants[: plan.speakers_per_round])

    async def _choose(self, number: int, log: Log) -> list[str]:
        text = ""
        if self.plan.moderator:
            text = await self._say(self.plan.moderator, prompts.moderate(self.plan), number, log)
        return prompts.next_speakers(text, self.plan, [u.speaker for u in log.said])

    async def _speak_at_once(self, speakers: Sequence[str], log: Log) -> None:
        """Let each speak from the brief alone; what they said joins the log in the order of the plan."""
        heard: dict[str, tuple[str, int]] = {}

        async def one(speaker: str) -> None:
            prompt = prompts.your_turn(speaker, self.plan)
            heard[speaker] = await self.speak(speaker, prompt, (log.opening,), f"round-1/{speaker}")

        try:
            async with anyio.create_task_group() as together:
                for speaker in speakers[: self._turns_left()]:
                    together.start_soon(one, speaker)
        except ExceptionGroup as failed:
            # One failed speaker fails the round: as itself, so that retries and budgets know it.
            raise failed.exceptions[0] from None
        for speaker in speakers:
            if speaker in heard:
                self._heard(speaker, *heard[speaker], 1, log)

    def _turns_left(self) -> int | None:
        caps = [leaf.max_turns for leaf in prompts.leaves(self.plan.terminate) if leaf.max_turns is not None]
        return min(caps, default=None)

    async def _say(self, speaker: str, prompt: str, number: int, log: Log) -> str:
        place = f"round-{number}/{'moderator' if prompt == prompts.moderate(self.plan) else speaker}"
        text, tokens = await self.speak(speaker, prompt, log.history(speaker), place)
        self._heard(speaker, text, tokens, number, log)
        return text

    def _heard(self, speaker: str, text: str, tokens: int, number: int, log: Log) -> None:
        log.add(speaker, text, number)
        log.tokens += tokens
        self.emit(MessageSpoken(speaker, text, number))

    def _ended(self, log: Log) -> str | None:
        return ended(self.plan.terminate, log, self.clock())

    def _conclusion(self, log: Log) -> str:
        by_moderator = [u for u in log.said if u.speaker == self.plan.moderator]
        if by_moderator:
            return by_moderator[-1].text
        last = log.said[-1].round if log.said else 0
        return "\n\n".join(f"**{u.speaker}:** {u.text}" for u in log.said if u.round == last)
