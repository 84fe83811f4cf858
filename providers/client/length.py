"""When a streamed answer is longer than it may be, and what is made of it then. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from providers.catalog.model import Candidate
from providers.messages import (
    Delta,
    FinishReason,
    ReasoningDelta,
    Request,
    Response,
    TextDelta,
    Usage,
    assistant,
)

SLACK = 1.25
SLACK_TOKENS = 64
CHARACTERS_PER_TOKEN = 4
BLANKS_PER_TOKEN = 16
"""Rows of blanks are few tokens: an indented answer is no long one."""


class AnswerLength:
    """How much of a streamed answer has come, against the cap that was asked for, else the most that its model says.

    A server that ignores the cap may go on for ever. What is clearly too long is cut: as reckoned in tokens low rather
    than high, with a quarter and some tokens more than the cap. Thoughts may fill the model's context: not every
    vendor's cap counts them, and some put what their own tools found there.
    """

    __slots__ = ("_blank", "_dense", "_most", "_most_thought", "_text", "_thought", "is_passed")

    def __init__(self, request: Request, candidate: Candidate) -> None:
        model = candidate.model
        longest = model.context if model.assumed or not model.max_output else model.max_output
        cap = request.max_output_tokens or candidate.provider.quirks.default_max_tokens or longest
        self._most = min(cap, longest) * SLACK + SLACK_TOKENS
        self._most_thought = model.context * SLACK + SLACK_TOKENS
        self._dense = self._blank = self._thought = 0
        self._text: list[str] = []
        self.is_passed = False
        """Whether it is too long: nothing more counts."""

    def take(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Take what came; return what counts of it: all, or up to where the answer is too long."""
        for at, delta in enumerate(deltas):
            self._take(delta)
            tokens = self._dense / CHARACTERS_PER_TOKEN + self._blank / BLANKS_PER_TOKEN
            if tokens > self._most or self._thought / CHARACTERS_PER_TOKEN > self._most_thought:
                self.is_passed = True
                return deltas[: at + 1]
        return deltas

    def _take(self, delta: Delta) -> None:
        if isinstance(delta, ReasoningDelta):
            self._thought += len(delta.text)
            return
        if isinstance(delta, TextDelta):
            self._text.append(delta.text)
        said = delta.text if isinstance(delta, TextDelta) else getattr(delta, "arguments", "")
        blank = said.count(" ") + said.count("\n") + said.count("\t")
        self._blank, self._dense = self._blank + blank, self._dense + len(said) - blank

    def response(self) -> Response:
        """Return the text so far as an answer that was cut. Its usage is not said: what was heard counts."""
        return Response(assistant("".join(self._text)), FinishReason.LENGTH, Usage())
