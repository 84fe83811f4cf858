"""Who speaks in a conversation that goes on to its bounds, and what each reads: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from agents.summaries import INSTRUCTIONS, LEAST, most_tokens
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.run.conversations import pattern_of
from orchestrator.run.conversations.ending import SoFar, ended
from orchestrator.run.conversations.speech import (
    Conclusion,
    Speak,
    SpeakTogether,
    Speech,
    Utterance,
    advance,
    speeches_of,
)
from orchestrator.squad.plan import (
    HUMAN,
    Budget,
    ConversationPlan,
    History,
)
from orchestrator.squad.termination import countable
from providers.messages import estimate_tokens

MOST_UTTERANCES = 1000
"""Of one conversation; one that may go on for longer is cut there, and said to be."""


@dataclass(slots=True)
class ExpectedTalk:
    """Who speaks in a conversation that goes on to its bounds, and how many tokens each speaker reads."""

    plan: ConversationPlan
    assumed: Assumptions
    opening: int
    history: History
    summaries: list[tuple[str, int, int]] = field(default_factory=list)
    """Those that are made before the next turns: for whom, and the tokens that are read and written for it."""
    covered: dict[str, int] = field(default_factory=dict)
    """Utterances for which a speaker has a summary."""
    said: list[Utterance] = field(default_factory=list)
    tokens: int = 0
    calls: int = 0

    @property
    def why(self) -> str:
        if len(self.said) >= MOST_UTTERANCES:
            return "and it may go on"
        return "(utterances)" if countable(self.plan.terminate) is None else "up to its own bounds"

    def turns(self) -> Iterator[list[tuple[str, int]]]:
        """Yield who speaks at the same time: each with the tokens that it reads beside its instructions."""
        pattern = pattern_of(self.plan)
        following = advance(pattern, None)
        while not isinstance(following, Conclusion):
            before = len(self.said)
            heard = 0 if isinstance(following, SpeakTogether) else before
            turns = [(one.speaker, self._speak(one, heard)) for one in speeches_of(following) if self._is_held(one)]
            if turns:
                yield turns
            following = advance(pattern, self._heard(following, before) if turns else ())

    def _heard(self, speech: Speech, before: int) -> tuple[Utterance, ...]:
        """Return what was said. A selector picks who was silent longest, for no name is known; a word is handed on to
        each once; and a manager delegates to everybody in the first round alone.
        """
        match speech:
            case Speak(among=(_, *_)):
                return (Utterance(speech.speaker, "", speech.round),)
            case Speak(successors=tuple(successors)):
                spoken = {one.speaker for one in self.said}
                following = [name for name in successors if name not in spoken]
                self.said[-1] = replace(self.said[-1], next=tuple(following[:1]))
            case Speak(workers=tuple(workers), round=1):
                self.said[-1] = replace(self.said[-1], tasks=tuple((name, "") for name in workers))
        return tuple(self.said[before:])

    def _speak(self, speech: Speak, heard: int) -> int:
        """Let one participant speak, and return the tokens that it reads."""
        read = self.opening + estimate_tokens(speech.prompt) + self._history(speech.speaker, heard)
        self.tokens += 0 if speech.speaker == HUMAN else read + self.assumed.utterance_tokens
        self.calls += 1
        if speech.among:
            return read
        # What will be said is not known; without it a party lets those speak who were silent longest.
        self.said.append(Utterance(speech.speaker, "", speech.round))
        return read

    def _history(self, speaker: str, heard: int) -> int:
        """Return the tokens of what was said that a speaker reads, after its summary where one is due."""
        size, most = self.assumed.utterance_tokens, self.history.keep_last
        is_agent = speaker != HUMAN and speaker not in (self.plan.nested or ())
        if self.history.tokens is None or not is_agent or self.plan.edition < 3:
            return (heard if most is None else min(heard, most)) * size
        limit = max(self.history.tokens, LEAST)
        written = most_tokens(limit)
        covered = self.covered.get(speaker, 0)
        open_tokens = (written if covered else 0) + (heard - covered) * size
        if open_tokens <= limit:
            return open_tokens
        kept = min(limit // 2 // size, heard if most is None else most) or 1
        read = estimate_tokens(INSTRUCTIONS) + open_tokens - kept * size
        self.summaries.append((speaker, read, written))
        self.tokens += read + written
        self.calls += 1
        self.covered[speaker] = heard - kept
        return written + kept * size

    def _is_held(self, speech: Speak) -> bool:
        """Return whether it comes to a speech: its own budget alone ends a conversation without a conclusion."""
        return not (self._is_spent(self.plan.budget) if speech.closes else self._is_over())

    def _is_over(self) -> bool:
        if self._is_spent(self.plan.budget) or len(self.said) >= MOST_UTTERANCES:
            return True
        end = countable(self.plan.terminate)
        if end is None:
            return len(self.said) >= self.assumed.utterances
        return ended(end, SoFar(self.said, self.tokens)) is not None

    def _is_spent(self, caps: Budget | None) -> bool:
        if caps is None:
            return False
        reached = ((caps.max_turns, self.calls), (caps.max_tokens, self.tokens))
        return any(cap is not None and so_far >= cap for cap, so_far in reached)
