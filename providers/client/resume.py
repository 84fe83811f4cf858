"""How an answer that broke off is continued: what is asked, and which part of the rest is new. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from providers.messages import Capability, Delta, Part, Request, Response, Text, TextDelta, assistant


class ResumedStream:
    """`said` is what was passed on, and not blank.

    It is sent without the blanks at its end, which some vendors refuse, so the rest may begin with blanks that stand
    there already. Some servers (llama.cpp's) repeat the text that they continue: that is left out too.
    """

    def __init__(self, said: str) -> None:
        self._said = said
        self._sent = said.rstrip()
        self._heard: str | None = ""
        """The beginning of the rest, until it is known where what is new begins; None: it is."""

    def request(self, request: Request) -> Request:
        """Return the request with the answer so far at its end."""
        needs = replace(request.needs, capabilities=request.needs.capabilities | {Capability.PREFILL})
        return replace(request, messages=(*request.messages, assistant(self._sent)), needs=needs)

    def passed(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Return what is new of the next deltas."""
        new: list[Delta] = []
        for delta in deltas:
            if self._heard is None or not isinstance(delta, TextDelta):
                new.append(delta)
                continue
            self._heard += delta.text
            if self._sent.startswith(self._heard):
                continue  # it may be what was said
            if rest := self._new(self._heard):
                new.append(TextDelta(rest))
                self._heard = None
        return new

    def held(self) -> list[Delta]:
        """Return what was held back until the end: it only began like what was said."""
        heard, self._heard = self._heard, None
        rest = self._new(heard or "")
        return [TextDelta(rest)] if rest else []

    def joined(self, response: Response) -> Response:
        """Return the whole answer, of which `response` is the rest."""
        before, text, after = _around_text(response.message.parts)
        rest = self._new(text)
        if not before:
            return replace(response, message=assistant(Text(self._said + rest), *after))
        new = (Text(rest),) if rest else ()
        return replace(response, message=assistant(Text(self._said), *before, *new, *after))

    def _new(self, rest: str) -> str:
        rest = rest.removeprefix(self._sent)
        return rest.lstrip() if self._said != self._sent else rest


def _around_text(parts: Sequence[Part]) -> tuple[Sequence[Part], str, Sequence[Part]]:
    """Return what stands before the first text, the text, and what stands behind it: a model may reason first."""
    for at, part in enumerate(parts):
        if isinstance(part, Text):
            return parts[:at], part.text, parts[at + 1 :]
    return parts, "", ()
