"""What a request demands of a candidate: how many tokens it is, and which capabilities. Measured once. Pure."""

from __future__ import annotations

import json
from dataclasses import replace

from providers.catalog.model import Model
from providers.messages import Capability, Image, Message, OutputSchema, Request, ToolSpec, estimate_tokens

REMEMBERED = 1024
"""How many sizes are kept at hand."""
SHORT = 4
"""So few messages are summed up anew: that costs no more than to remember them."""
TOOLS = frozenset({Capability.TOOLS})
VISION = frozenset({Capability.VISION})


def as_taken(request: Request, model: Model) -> Request:
    """Return the request as a model can take it: without tools that it cannot call and need not."""
    if not request.tools or request.tools_needed or Capability.TOOLS in model.capabilities:
        return request
    return replace(request, tools=(), tool_choice="auto")


class Demands:
    """Measures requests, and remembers the sizes of tools and schemas, which many requests share."""

    __slots__ = ("_sizes",)

    def __init__(self) -> None:
        self._sizes: dict[int, tuple[ToolSpec | OutputSchema, int]] = {}

    def of(self, request: Request) -> tuple[int, frozenset[Capability]]:
        """Return `request.input_tokens` and the capabilities without which it cannot be answered.

        A JSON schema is no such capability: it can be put into words. What was measured before is not measured again.
        """
        tokens, images = _measure(request.messages)
        for spec in request.tools:
            tokens += self._sized(spec)
        if request.output_schema is not None:
            tokens += self._sized(request.output_schema)
        capabilities = request.needs.capabilities
        if request.tools and request.tools_needed:
            capabilities |= TOOLS
        return tokens, capabilities | VISION if images else capabilities

    def _sized(self, spec: ToolSpec | OutputSchema) -> int:
        known = self._sizes.get(id(spec))
        if known is None:
            if len(self._sizes) >= REMEMBERED:
                self._sizes.clear()
            if isinstance(spec, ToolSpec):
                text = spec.name + spec.description + json.dumps(spec.parameters)
            else:
                text = json.dumps(spec.schema)
            # The spec is kept beside its size: as long as it is kept here, no other object has its id.
            known = self._sizes[id(spec)] = (spec, estimate_tokens(text))
        return known[1]


class _Measured:
    """The last transcript that went through a message, and its size. A cache: it never changes what is returned."""

    __slots__ = ("images", "messages", "tokens")

    def __init__(self) -> None:
        self.messages: tuple[Message, ...] = ()
        self.tokens = 0
        self.images = False


def _measure(messages: tuple[Message, ...]) -> tuple[int, bool]:
    """Return the tokens of `messages`, and whether there is an image: a turn costs what it adds, not its history.

    A transcript grows at its end, so the last measure is kept with its second message (the first may be a system
    prompt that many share) and holds for as long as what was measured is a prefix, which tuples compare by identity.
    """
    if len(messages) <= SHORT:
        tokens = sum([message.tokens for message in messages])
        return tokens, any(isinstance(part, Image) for message in messages for part in message.parts)
    last = messages[:2][-1].memo("measured", lambda _: _Measured())
    seen = len(last.messages)
    if last.messages != messages[:seen]:
        seen, last.tokens, last.images = 0, 0, False
    if seen < len(messages):
        for message in messages[seen:]:
            last.tokens += message.tokens
            last.images = last.images or any(isinstance(part, Image) for part in message.parts)
        last.messages = messages
    return last.tokens, last.images
