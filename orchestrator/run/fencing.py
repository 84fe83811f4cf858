"""The brief of a piece of work with what others wrote in it inside a fence, drawn once for each piece of work."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agents.run_context import RunContext, StepKey
from agents.untrusted import fenced, joined, told
from orchestrator.run.taint import Fed, Sources, Taint
from orchestrator.units import FENCED

if TYPE_CHECKING:
    from personas.sandbox import ExpressionText


@dataclass(frozen=True, slots=True)
class Brief:
    """What a piece of work is told: its texts as written, what they were rendered to, and what others made for it."""

    description: ExpressionText
    expected_output: ExpressionText | None
    told: str
    expected: str | None
    context: Mapping[str, Fed]

    @property
    def fed(self) -> dict[str, str]:
        """The context as texts, by title."""
        return {title: one.text for title, one in self.context.items()}

    def sources(self, taint: Taint) -> Sources:
        """Return the sources of what others wrote in it."""
        texts = [text for text in (self.description, self.expected_output) if text is not None]
        found = joined((), (one for text in texts for one in taint.of(text.names)))
        return joined(found, (one for fed in self.context.values() for one in fed.untrusted))

    @property
    def digest(self) -> bytes:
        """SHA-256 of what it says."""
        said = [self.told, self.expected or "", *(f"{title}\0{text}" for title, text in self.fed.items())]
        return hashlib.sha256("\0\0".join(said).encode("utf-8", "surrogatepass")).digest()


async def fenced_brief(brief: Brief, values: Mapping[str, Any], taint: Taint, ctx: RunContext) -> tuple[Brief, Sources]:
    """Return the brief with each part that others wrote in a fence, and the sources of these parts.

    The number of the fence is drawn in a durable step, once all texts in it are known: the same is sent again.
    """
    sources = brief.sources(taint)
    if not sources:
        return brief, ()

    async def draw() -> str:
        return secrets.token_hex(8)

    fence: str = await ctx.do(StepKey(ctx.step, 0, FENCED), brief.digest, draw)

    def of(text: ExpressionText | None, rendered: str | None) -> str | None:
        if text is None or rendered is None or not (found := taint.of(text.names)):
            return rendered
        return fenced(rendered, fence, told(found)) if text.is_whole else text.text(values, around)

    def around(names: frozenset[tuple[str, ...]], part: str) -> str:
        return f"\n{fenced(part, fence, told(own))}\n" if (own := taint.of(names)) else part

    context = {
        title: one._replace(text=fenced(one.text, fence, told(one.untrusted))) if one.untrusted else one
        for title, one in brief.context.items()
    }
    made = of(brief.description, brief.told) or ""
    return replace(brief, told=made, expected=of(brief.expected_output, brief.expected), context=context), sources
