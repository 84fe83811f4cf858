"""The section `tools:` as it is written: one entry a tool, of exactly one kind, and what holds for it.

A kind of tool joins here by a field of its own, in `KINDS`, and in `orchestrator/squad/declared_tools.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.squad.shared_spec import NonEmpty
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel

KINDS = ("python",)
"""The fields of which an entry has exactly one."""


class ToolEntry(StrictModel):
    """A tool that this file declares."""

    noun: ClassVar[str] = "a tool"
    other_names: ClassVar[Mapping[str, str]] = {
        "function": "python",
        "file": "python",
        "module": "python",
        "timeout_s": "timeout",
        "max_output": "max_chars",
    }
    examples: ClassVar[Mapping[str, str]] = {"python": 'python: "mytools.py:convert"'}
    python: NonEmpty | None = Field(
        default=None, description="A function of a file beside this one: mytools.py:convert"
    )
    description: NonEmpty | None = Field(default=None, description="What the model reads; default: the docstring")
    approval: Literal["never", "ask"] | None = Field(default=None, description="ask: a person allows each call")
    risk: Literal["read_only", "writes", "risky"] | None = Field(
        default=None, description="What a call may do; risky: it reaches beyond the run"
    )
    timeout: PositiveDuration | None = Field(default=None, description="Of one call")
    max_chars: Annotated[int, Field(ge=100, le=10_000_000)] | None = Field(
        default=None, description="Characters of a result that the model reads"
    )
    idempotent: bool | None = Field(default=None, description="Whether calling it twice does no harm")
    untrusted: bool | None = Field(default=None, description="Whether others wrote what it returns")

    @property
    def kinds(self) -> list[str]:
        """The kinds that are written; one, in an entry that is sound."""
        return [kind for kind in KINDS if getattr(self, kind) is not None]

    def settings(self) -> dict[str, Any]:
        """Return what the entry says of how its tool is called, by the names that `Tool` has."""
        said = {
            "timeout_s": self.timeout,
            **{name: getattr(self, name) for name in ("approval", "risk", "max_chars", "idempotent", "untrusted")},
        }
        return {name: value for name, value in said.items() if value is not None}
