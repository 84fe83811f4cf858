"""What a conversation pattern yields, what it is sent, and what patterns have in common. Pure.

A pattern is a generator: it yields who speaks next, is sent what they said, and returns the conclusion once it is sent
nothing: the conversation is over then. The driver runs it with real speakers, a forecast with estimated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.run import prompts
from orchestrator.run.conversations.attribution import quoted
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import most_turns


@dataclass(frozen=True, slots=True)
class Assigned:
    """Words of another that a prompt holds, and that its speaker remembers."""

    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Speak:
    """One participant speaks, after all that was said. `step` names its durable step within the round.

    `names` is how many it may name in a `NEXT:` line: 0: such a line of it is not followed; None: there are none.
    `closes`: the conversation is over, and this is its conclusion.

    `among` are those of whom this turn picks one. Such a turn steers the conversation alone: nobody hears it, it is no
    utterance, and no condition but those of tokens and time counts it.

    `successors` are those to whom it may hand over; None: nobody hands over here. `workers` are those to whom it may
    delegate; None: nobody delegates here. `to` are those who hear it beside its speaker; None: everybody does.
    """

    speaker: str
    prompt: str
    round: int
    step: str
    names: int | None = None
    closes: bool = False
    among: tuple[str, ...] = ()
    successors: tuple[str, ...] | None = None
    workers: tuple[str, ...] | None = None
    to: tuple[str, ...] | None = None
    told: Assigned | None = None

    @property
    def place(self) -> str:
        return f"round-{self.round}/{self.step}"


@dataclass(frozen=True, slots=True)
class SpeakTogether:
    """Several participants speak at the same time: no request holds what a peer says now."""

    speeches: tuple[Speak, ...]


Speech = Speak | SpeakTogether


@dataclass(frozen=True, slots=True)
class Utterance:
    """What was said, as the others hear it: `written` is the whole of it where control lines were taken out.

    `next` are those whom it names to speak next, `closing` the phrases that end the conversation and have a line of
    their own in it, `tasks` what it asks of whom. `misread` is why a handover or a delegation in it could not be
    followed. `to` are those who hear it; None: everybody does.
    """

    speaker: str
    text: str
    round: int
    written: str | None = None
    next: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    tasks: tuple[tuple[str, str], ...] = ()
    misread: str = ""
    tools: tuple[str, ...] = ()
    """The tools that its speaker called on the way to it."""
    to: tuple[str, ...] | None = None

    def is_heard_by(self, name: str) -> bool:
        """Return whether one hears it, or said it. Who said nothing is not heard: dialects refuse empty messages."""
        if name == self.speaker:
            return bool(self.whole)
        return bool(self.text) and (self.to is None or name in self.to)

    @property
    def whole(self) -> str:
        return self.text if self.written is None else self.written


def heard_by(name: str, said: Iterable[Utterance]) -> list[Utterance]:
    """Return which utterances one has heard, its own among them, of those with words in them."""
    return [one for one in said if one.is_heard_by(name)]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a conversation came to; `why` it is over, where its pattern knows better than by its end."""

    text: str
    why: str = ""


Heard = tuple[Utterance, ...]
"""What was said, in the order of the speeches. Empty: the conversation is over."""
Pattern = Generator[Speech, Heard, str | Conclusion]
MakePattern = Callable[[ConversationPlan], Pattern]


def advance(pattern: Pattern, heard: Heard | None) -> Speech | Conclusion:
    """Return what follows after `heard`. None begins the conversation."""
    try:
        return next(pattern) if heard is None else pattern.send(heard)
    except StopIteration as over:
        return over.value if isinstance(over.value, Conclusion) else Conclusion(over.value)


def is_pick(speech: Speech) -> bool:
    """Return whether a turn only picks who speaks next."""
    return isinstance(speech, Speak) and bool(speech.among)


def speeches_of(speech: Speech) -> tuple[Speak, ...]:
    """Return the speeches that it is made of."""
    return speech.speeches if isinstance(speech, SpeakTogether) else (speech,)


def round_of(
    plan: ConversationPlan,
    speakers: Sequence[str],
    number: int,
    names: int | None = None,
    ask: Callable[[str, ConversationPlan], str] = prompts.your_turn,
) -> list[Speech]:
    """Return the speeches of one round of participants. `names` is as `Speak` has it; `ask` words the request.

    In an independent first round every participant speaks, so that no view is lost, but no more than may speak at all.
    """
    is_independent = number == 1 and plan.independent_first_round
    named = plan.participants[: most_turns(plan.terminate)] if is_independent else speakers
    one_by_one = [Speak(name, ask(name, plan), number, name, names) for name in named]
    return [SpeakTogether(tuple(one_by_one))] if is_independent else list(one_by_one)


def conclusion(plan: ConversationPlan, said: Sequence[Utterance]) -> str:
    """Return the moderator's last word, else the last round's words. Who was silent, or wrote but a control line, said
    none."""
    is_worded = (lambda one: bool(one.text.strip())) if plan.edition > 2 else _has_words_of_2
    worded = list(filter(is_worded, said)) or said
    by_moderator = [one for one in worded if one.speaker == plan.moderator]
    if by_moderator:
        return by_moderator[-1].text
    last = worded[-1].round if worded else 0
    return "\n\n".join(f"**{one.speaker}:** {quoted(one.text, plan)}" for one in worded if one.round == last)


def _has_words_of_2(one: Utterance) -> bool:
    """Return whether somebody said more than a control line, as runs of edition 2 count it: silence, too."""
    return bool(one.text.strip()) or one.written is None


def closed(plan: ConversationPlan, pattern: Pattern) -> Pattern:
    """Hold `pattern`, and let the moderator conclude what it came to, unless the moderator spoke last.

    This turn is the conversation's, not its round's: no condition of `terminate` keeps it from being taken. Where
    nothing is sent for it, the conclusion is the pattern's own.
    """
    said: list[Utterance] = []
    names: int | None = None
    following = advance(pattern, None)
    while not isinstance(following, Conclusion):
        if any(one.names is not None for one in speeches_of(following)):
            names = 0  # whom it names cannot speak any more
        heard = yield following
        said += () if is_pick(following) else heard
        following = advance(pattern, heard)
    if plan.moderator is None or not said or _is_last_word(said[-1], plan.moderator):
        return following
    step = step_of(plan, "closing")
    heard = yield Speak(plan.moderator, prompts.conclude(plan), said[-1].round, step, names, closes=True)
    return replace(following, text=conclusion(plan, [*said, *heard])) if heard else following


def _is_last_word(utterance: Utterance, moderator: str) -> bool:
    """Return whether a moderator spoke, and asked nobody for anything."""
    return utterance.speaker == moderator and not utterance.tasks and not utterance.misread


def step_of(plan: ConversationPlan, name: str) -> str:
    """Return a step's name that is nobody's: a participant may be called like it."""
    while name in plan.participants:
        name = f"as-{name}"
    return name
