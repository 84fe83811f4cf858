"""One round in which several speak one after the other, and may give each other the word. Pure."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from orchestrator.run import prompts
from orchestrator.run.conversations.mentions import mentioned
from orchestrator.run.conversations.speakers import with_turns_left
from orchestrator.run.conversations.speech import Heard, Speak, Speech, Utterance, round_of, step_of
from orchestrator.squad.plan import ConversationPlan


def hold_round(
    plan: ConversationPlan, speakers: Sequence[str], number: int, said: list[Utterance], names: int | None = None
) -> Generator[Speech, Heard, bool]:
    """Let `speakers` speak, and enter in `said` what they say. Return False where the conversation is over.

    With `mentions` who is mentioned speaks next: one that has yet to speak in the round earlier than it would have,
    any other participant once more, and once a round only, so that no two can keep the others from speaking.
    """
    waiting = round_of(plan, speakers, number, names)
    given: set[str] = set()
    while waiting:
        speech = waiting.pop(0)
        heard = yield speech
        if not heard:
            return False
        said += heard
        if plan.mentions and isinstance(speech, Speak):
            _give_the_word(plan, said, waiting, given, names)
    return True


def _give_the_word(
    plan: ConversationPlan, said: Sequence[Utterance], waiting: list[Speech], given: set[str], names: int | None
) -> None:
    """Put the first of those whom the last utterance mentions before all who wait, where it may speak."""
    last = said[-1]
    for name in mentioned(last.text, plan):
        if name == last.speaker:
            continue
        at = next((i for i, one in enumerate(waiting) if isinstance(one, Speak) and one.speaker == name), None)
        if at is not None:
            waiting.insert(0, waiting.pop(at))
            return
        if name not in given and with_turns_left(plan, [name], said):
            given.add(name)
            step = step_of(plan, f"{name}-mentioned")
            waiting.insert(0, Speak(name, prompts.your_turn(name, plan), last.round, step, names))
            return
