"""What a conversation pattern yields, what it is sent, and what patterns have in common. Pure.

A pattern is a generator: it yields who speaks next, is sent what they said, and returns the conclusion once it is sent
nothing: the conversation is over then. The driver runs it with real speakers, a forecast with estimated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from orchestrator.run import prompts
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import most_turns


@dataclass(frozen=True, slots=True)
class Speak:
    """One participant speaks, after all that was said. `step` names its durable step within the round."""

    speaker: str
    prompt: str
    round: int
    step: str

    @property
    def place(self) -> str:
        return f"round-{self.round}/{self.step}"


@dataclass(frozen=True, slots=True)
class SpeakTogether:
    """Several participants speak at the same time, each from the brief alone: no request holds a peer's words."""

    speeches: tuple[Speak, ...]


Speech = Speak | SpeakTogether


@dataclass(frozen=True, slots=True)
class Utterance:
    speaker: str
    text: str
    round: int


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a conversation came to."""

    text: str


Heard = tuple[Utterance, ...]
"""What was said, in the order of the speeches. Empty: the conversation is over."""
Pattern = Generator[Speech, Heard, str]
MakePattern = Callable[[ConversationPlan], Pattern]


def advance(pattern: Pattern, heard: Heard | None) -> Speech | Conclusion:
    """Return what follows after `heard`. None begins the conversation."""
    try:
        return next(pattern) if heard is None else pattern.send(heard)
    except StopIteration as over:
        return Conclusion(over.value)


def speeches_of(speech: Speech) -> tuple[Speak, ...]:
    """Return the speeches that it is made of."""
    return speech.speeches if isinstance(speech, SpeakTogether) else (speech,)


def round_of(plan: ConversationPlan, speakers: Sequence[str], number: int) -> list[Speech]:
    """Return the speeches of one round of participants.

    In an independent first round every participant speaks, so that no view is lost, but no more than may speak at all.
    """
    is_independent = number == 1 and plan.independent_first_round
    named = plan.participants[: most_turns(plan.terminate)] if is_independent else speakers
    one_by_one = [Speak(name, prompts.your_turn(name, plan), number, name) for name in named]
    return [SpeakTogether(tuple(one_by_one))] if is_independent else list(one_by_one)


def conclusion(plan: ConversationPlan, said: Sequence[Utterance]) -> str:
    """Return the moderator's last word, else the last round's words."""
    by_moderator = [one for one in said if one.speaker == plan.moderator]
    if by_moderator:
        return by_moderator[-1].text
    last = said[-1].round if said else 0
    return "\n\n".join(f"**{one.speaker}:** {one.text}" for one in said if one.round == last)
