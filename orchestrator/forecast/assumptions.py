"""What no squad file says of the turns of a run, and is taken to be so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What no squad file says. Tokens are those of one turn's output, unless they are said to be something else."""

    answer_tokens: int = 800
    """The answer to a piece of work."""
    structured_tokens: int = 400
    """Such an answer where it has an `output_schema`."""
    utterance_tokens: int = 300
    """What one participant of a conversation says at a time."""
    tool_turns: int = 3
    """Turns in which an agent with tools calls some, before its answer."""
    tool_call_tokens: int = 100
    tool_result_tokens: int = 600
    """Tokens that the results of one such turn add to the next one's input."""
    elements: int = 5
    """Elements of a `for_each` whose list is made while the run goes."""
    repeats: int = 2
    """Attempts of a `repeat`, where it allows as many."""
    utterances: int = 12
    """Utterances of a conversation without `max_turns`."""
