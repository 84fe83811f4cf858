"""A conversation being held: real speakers for a pure pattern, what each one sees, and when it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import anyio

from agents.run_context import Suspended, all_of
from agents.untrusted import joined
from orchestrator.errors import NoReply
from orchestrator.events import ControlUnread, ConversationEnded, MessageSpoken
from orchestrator.run import prompts
from orchestrator.run.conversations import pattern_of
from orchestrator.run.conversations.attribution import heard_as, quoted
from orchestrator.run.conversations.control import Control, control_of
from orchestrator.run.conversations.delegation import delegations_of
from orchestrator.run.conversations.ending import EndReason, SoFar, ended
from orchestrator.run.conversations.handing import handover_of
from orchestrator.run.conversations.picking import pick_of
from orchestrator.run.conversations.speech import (
    Assigned,
    Conclusion,
    Heard,
    Speak,
    SpeakTogether,
    Speech,
    Utterance,
    advance,
    speeches_of,
)
from orchestrator.squad.parts import everyone
from orchestrator.squad.plan import HUMAN, ConversationPlan
from orchestrator.squad.termination import listens
from providers.budgets import BudgetRef
from providers.emit import Emit
from providers.errors import BudgetSpent
from providers.messages import Image, Message, Origin, assistant, user, with_images

NOVELTY = 0.05
"""A round in which fewer of the words are new than this made no progress."""


class SpokenWords(NamedTuple):
    """What a speaker said, the tokens that it took, and the tools that it called on the way."""

    text: str
    tokens: int = 0
    tools: tuple[str, ...] = ()
    untrusted: tuple[str, ...] = ()
    """The sources of what others wrote that its speaker had read."""
    handed: tuple[str, ...] = ()
    """Those whom the speaker handed over to by calling their tools, in the order of the calls."""


class Speaker(Protocol):
    """Makes one utterance. `history` is what the speaker has seen; `prompt` asks for it; `place` is below the unit.

    `untrusted` are the sources of what others wrote that the prompt may hold. `to` are those whom the speaker may hand
    over to, by a tool for each where it can call tools.
    """

    def __call__(
        self,
        speaker: str,
        prompt: str,
        history: tuple[Message, ...],
        place: str,
        untrusted: tuple[str, ...],
        to: tuple[str, ...] = (),
    ) -> Awaitable[SpokenWords]: ...


@dataclass(slots=True)
class Transcript:
    """What was said, and each participant's own view of it: its own words as the assistant, others' as users.

    Each utterance is one `Message` that all the others share, so it is encoded once, however many hear it. Only who
    wrote a control line sees it again. A person is no assistant: its words stand under its name everywhere.
    """

    plan: ConversationPlan
    opening: Message
    views: dict[str, list[Message]]
    started_at: float
    said: list[Utterance] = field(default_factory=list)
    tokens: int = 0
    idle_rounds: int = 0
    words: set[str] = field(default_factory=set)
    unread: int = 0
    openings: Mapping[str, Message] = field(default_factory=dict)
    """What those hear first who do not hear the topic."""
    rounds: int = 0
    """The newest round that is over."""
    untrusted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By speaker: the sources of what others wrote that it had read when it spoke."""

    def add(self, utterance: Utterance, words: SpokenWords) -> None:
        self.said.append(utterance)
        self.tokens += words.tokens
        self.untrusted[utterance.speaker] = joined(self.untrusted.get(utterance.speaker, ()), words.untrusted)
        origin = Origin(utterance.speaker, words.untrusted)
        heard = heard_as(utterance.text, utterance.speaker, self.plan)
        own = replace(assistant(utterance.whole), origin=origin)
        others = replace(user(heard, name=utterance.speaker), origin=origin)
        if utterance.speaker == HUMAN and self.plan.edition > 1:
            own = others
        for name, view in self.views.items():
            if utterance.is_heard_by(name) or self.plan.edition == 1:
                view.append(own if name == utterance.speaker else others)

    def tell(self, speaker: str, told: Assigned) -> None:
        """Let a speaker alone hear words of another."""
        origin = Origin(told.by, self.untrusted.get(told.by, ()))
        self.views[speaker].append(replace(user(told.text, name=told.by), origin=origin))

    def history(self, speaker: str) -> tuple[Message, ...]:
        return (self.openings.get(speaker, self.opening), *self.views[speaker])

    def end_round(self, number: int) -> None:
        """Count the round as idle where it brought hardly a new word. Once for each round."""
        if number <= self.rounds:
            return
        self.rounds = number
        spoken = {word for u in self.said if u.round == number for word in u.text.casefold().split()}
        new = spoken - self.words
        self.words |= new
        self.idle_rounds = 0 if len(new) > NOVELTY * len(spoken) else self.idle_rounds + 1


@dataclass(frozen=True, slots=True)
class Minutes:
    """How a conversation went. `conclusion` is what its pattern made of it."""

    plan: ConversationPlan
    conclusion: str
    said: tuple[Utterance, ...]
    reason: str
    tokens: int = 0
    untrusted: tuple[str, ...] = ()
    """The sources of what others wrote that those who spoke had read."""

    def transcript(self) -> tuple[str, ...]:
        """Return all that was said, as the paragraphs of a Markdown text: each utterance behind its speaker and round.

        Apart, for a record keeps a text once, and these it has already.
        """
        return self._paragraphs(self.said)

    def document(self) -> str:
        """Return the conclusion, then what else was said, as Markdown."""
        is_apart = self.plan.edition < 4 or not self.said or not self._concludes(self.said[-1])
        spoken = self._paragraphs(self.said if is_apart else self.said[:-1])
        head = ("## What was said",) if spoken or self.plan.edition < 4 else ()
        ending = f"Ended by: {self.reason}.\n"
        return "\n\n".join((self.conclusion, "---", *head, *spoken, ending))

    def _concludes(self, one: Utterance) -> bool:
        return one.speaker == self.plan.moderator and one.text == self.conclusion

    def _paragraphs(self, said: Sequence[Utterance]) -> tuple[str, ...]:
        heard = (u for u in said if u.text or u.written is None)
        return tuple(part for u in heard for part in (f"### {u.speaker}, round {u.round}", quoted(u.text, self.plan)))


def budget_reason(kind: str) -> str:
    """Return why a conversation ended whose own budget was spent."""
    return f"its budget of {kind}"


def _out_of_budget(ending: EndReason | None, kind: str) -> EndReason:
    """Return what ended a conversation whose own budget leaves no room for a turn, be it that of its conclusion."""
    if ending is None:
        return EndReason("budget", budget_reason(kind), kind)
    return replace(ending, text=f"{ending.text}; {budget_reason(kind)} left no room for a conclusion", budget=kind)


@dataclass(slots=True)
class _Spoken:
    """What came of one speech: texts with the tokens that each took; `spent` is set where the budget left no room, or a
    person's silence ends it all."""

    texts: dict[Speak, SpokenWords] = field(default_factory=dict)
    spent: BudgetSpent | NoReply | None = None
    waiting: list[Suspended] = field(default_factory=list)
    """Of those who speak together, what was suspended: the others end what they say, and it is recorded."""


async def _never(utterances: int) -> bool:  # noqa: ARG001
    return False


@dataclass(slots=True)
class Conversation:
    """One conversation being held. `clock` gives epoch seconds."""

    plan: ConversationPlan
    topic: str
    speaker: Speaker
    emit: Emit
    clock: Callable[[], float]
    own_account: BudgetRef | None = None
    """The budget account that ends the conversation, rather than fails it, when it is spent."""
    images: tuple[Image, ...] = ()
    """What the topic mentions: everybody who reads the topic sees them."""
    is_ended_outside: Callable[[int], Awaitable[bool]] = _never
    """Whether it was ended from outside, as of so many utterances: a recorded answer."""

    async def hold(self) -> Minutes:
        """Hold it to its end. A failed turn of any speaker fails it."""
        transcript, pattern = self._open(), pattern_of(self.plan)
        following, ending = advance(pattern, None), None
        while not isinstance(following, Conclusion):
            heard, spent = await self._hear(following, transcript)
            if heard:
                following = advance(pattern, heard)
            if isinstance(spent, NoReply):
                ending = EndReason("no_reply", str(spent))
                if not (isinstance(following, Speak) and following.closes):
                    following = advance(pattern, ())
            elif spent is not None:
                ending = _out_of_budget(ending, spent.kind)
                while not isinstance(following, Conclusion):  # nor is there room for a conclusion
                    following = advance(pattern, ())
            elif not isinstance(following, Conclusion) and ending is None:
                ending = await self._ended(following, transcript)
                if ending is not None and not (isinstance(following, Speak) and following.closes):
                    following = advance(pattern, ())
        ending = ending or EndReason("pattern", following.why or "its pattern")
        self.emit(self._end(ending, transcript))
        read = joined((), (source for sources in transcript.untrusted.values() for source in sources))
        return Minutes(self.plan, following.text, tuple(transcript.said), ending.text, transcript.tokens, read)

    def _end(self, ending: EndReason, transcript: Transcript) -> ConversationEnded:
        ended = ConversationEnded(self.plan.id, ending.text, len(transcript.said))
        if self.plan.edition == 1:
            return ended
        return replace(ended, kind=ending.kind, budget=ending.budget, unread=transcript.unread)

    def _open(self) -> Transcript:
        opening = with_images(f"{self.topic}\n\n{prompts.house_rules(self.plan)}", self.images)
        views: dict[str, list[Message]] = {name: [] for name in everyone(self.plan)}
        openings: dict[str, Message] = {}
        if self.plan.pattern == "hierarchical":
            openings = dict.fromkeys(self.plan.participants, with_images(prompts.rules_of_work(self.plan), self.images))
        return Transcript(self.plan, opening, views, self.clock(), openings=openings)

    async def _hear(self, speech: Speech, transcript: Transcript) -> tuple[Heard, BudgetSpent | NoReply | None]:
        """Return what was said, and the error where the conversation's own budget left no room for a turn, or where it
        is over as a person does not reply."""
        spoken = _Spoken()
        if isinstance(speech, SpeakTogether):
            await self._together(speech, transcript, spoken)
        else:
            await self._one(speech, transcript, spoken)
        if spoken.spent is not None and not (transcript.said or spoken.texts):
            raise spoken.spent
        made = [one for one in speeches_of(speech) if one in spoken.texts]
        return tuple(self._heard(one, spoken.texts[one], transcript) for one in made), spoken.spent

    async def _together(self, speech: SpeakTogether, transcript: Transcript, spoken: _Spoken) -> None:
        try:
            async with anyio.create_task_group() as together:
                for one in speech.speeches:
                    together.start_soon(self._beside_others, one, transcript, spoken)
        except BaseExceptionGroup as group:
            failed, cancelled = group.split(Exception)
            if failed is None or cancelled is not None:  # a run that is cancelled reports no failure of a speaker
                raise cancelled or group from None
            # One failed speaker fails the round: as itself, so that retries and budgets know it.
            raise failed.exceptions[0] from None
        if spoken.waiting:
            raise all_of(spoken.waiting)

    async def _beside_others(self, speech: Speak, transcript: Transcript, spoken: _Spoken) -> None:
        try:
            await self._one(speech, transcript, spoken)
        except Suspended as error:
            spoken.waiting.append(error)

    async def _one(self, speech: Speak, transcript: Transcript, spoken: _Spoken) -> None:
        history = transcript.history(speech.speaker)
        told = () if speech.told is None else transcript.untrusted.get(speech.told.by, ())
        try:
            spoken.texts[speech] = await self.speaker(
                speech.speaker, speech.prompt, history, speech.place, told, speech.successors or ()
            )
        except NoReply as error:
            if not error.ends or error.conversation != self.plan.id:
                raise
            spoken.spent = error
        except BudgetSpent as error:
            if error.budget != self.own_account:
                raise
            # No failure of the round: the others that speak now have reserved their cost, and it will be paid.
            spoken.spent = error

    def _heard(self, speech: Speak, words: SpokenWords, transcript: Transcript) -> Utterance:
        text = words.text
        if speech.among:
            return self._picked(speech, words, transcript)
        control = self._control(speech, words)
        written = None if control.text == text else text
        if words.handed:  # else it would not see that it handed over, and what is but a call would be silence
            written = f"{text}\n\nHANDOFF: {words.handed[0]}".strip()
        utterance = Utterance(speech.speaker, control.text, speech.round, written, control.next, control.closing)
        utterance = replace(utterance, tools=words.tools)
        if speech.successors is not None or speech.workers is not None:
            misread = "" if control.unread is None else control.unread.why
            utterance = replace(utterance, tasks=control.tasks, misread=misread)
        if speech.told is not None:
            transcript.tell(speech.speaker, speech.told)
        utterance = replace(utterance, to=speech.to)
        transcript.add(utterance, words)
        self.emit(self._spoken(utterance, is_last=speech.closes))
        self._tell_unread(speech, control, transcript)
        return utterance

    def _spoken(self, said: Utterance, *, is_last: bool) -> MessageSpoken:
        if self.plan.edition < 3:
            return MessageSpoken(said.speaker, said.text, said.round)
        others = () if is_last else everyone(self.plan)  # after a closing word nobody has a turn to be shown it in
        heard = tuple(name for name in others if name != said.speaker and said.is_heard_by(name))
        asked = tuple(name for name, _ in said.tasks)
        return MessageSpoken(said.speaker, said.text, said.round, self.plan.id, heard, asked)

    def _control(self, speech: Speak, words: SpokenWords) -> Control:
        text = words.text
        if speech.successors is not None:
            return handover_of(text, speech.speaker, self.plan, speech.successors, words.handed)
        control = control_of(text, speech.speaker, self.plan, speech.names)
        return control if speech.workers is None else delegations_of(control, self.plan, speech.workers)

    def _picked(self, speech: Speak, words: SpokenWords, transcript: Transcript) -> Utterance:
        """Return a turn that picks who speaks next: no part of what is said."""
        control = pick_of(words.text, speech.among, self.plan)
        transcript.tokens += words.tokens
        self._tell_unread(speech, control, transcript)
        return Utterance(speech.speaker, "", speech.round, words.text, control.next)

    def _tell_unread(self, speech: Speak, control: Control, transcript: Transcript) -> None:
        if (unread := control.unread) is not None:
            transcript.unread += 1
            self.emit(ControlUnread(self.plan.id, speech.speaker, unread.line, unread.fault, unread.why))

    async def _ended(self, following: Speech | Conclusion, transcript: Transcript) -> EndReason | None:
        """Return the condition that holds before the following speech."""
        if not transcript.said:
            return None
        last = transcript.said[-1].round
        if not isinstance(following, Speak) or following.round != last:
            transcript.end_round(last)
        seconds = self.clock() - transcript.started_at
        is_ended = listens(self.plan.terminate) and await self.is_ended_outside(len(transcript.said))
        so_far = SoFar(transcript.said, transcript.tokens, transcript.idle_rounds, seconds, is_ended, self.plan.edition)
        return ended(self.plan.terminate, so_far)
