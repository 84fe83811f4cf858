"""What a tool may ask for beside its arguments: where it is called, what the program gave it, how to tell progress.

    @tool
    async def find(query: str, context: ToolContext[Shop]) -> str:
        return await context.deps.find(query)

A parameter with this annotation is filled in by us. No model sees it, and none can give it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from typing_extensions import TypeVar

Deps = TypeVar("Deps", default=Any)


def _tell_nobody(text: str, done: float | None, total: float | None) -> None:
    """Take what is told where nobody listens: a tool that is called by itself."""


@dataclass(frozen=True, slots=True)
class CallPlace:
    """Where in a run something happens. `run` is None and `unit` empty for an agent that works outside of one.

    `unit` is the task, or its element (`build[S-1]`), `step` the place inside it, `turn` counts an agent's model calls.
    """

    agent: str = ""
    """Whose call it is."""
    turn: int = 0
    """Its model call, from 1; 0: none."""
    run: str | None = None
    """The id of the run; None outside of one."""
    unit: str = ""
    """The task, or its element (`build[S-1]`); empty outside of a run."""
    step: tuple[str, ...] = ()
    """The place in the unit's work."""


@dataclass(frozen=True, slots=True)
class ToolContext(CallPlace, Generic[Deps]):
    """What surrounds one call of a tool, number `call` of its turn. `deps` is what the program gave the agent or run.

    `call_id` is the call's own, as the model or its provider named it; it differs between a call and its repetition.
    """

    tool: str = ""
    """The name of the tool."""
    call: int = 1
    """The number of the call in its turn."""
    call_id: str = ""
    """As the model or its provider named the call; another one when it is repeated."""
    deps: Deps = None  # type: ignore[assignment]  # what needs dependencies is refused where there are none
    """What the program gave the agent, or the run."""
    around: Any = field(default=None, repr=False)
    """The `RunContext` of the agent that calls: what works below the call is durable by it. None: called by itself."""
    tell: Callable[[str, float | None, float | None], None] = field(default=_tell_nobody, repr=False)
    """Is called by `progress`: a text, how much is done, of how much."""

    def progress(self, text: str, done: float | None = None, total: float | None = None) -> None:
        """Tell those who watch the run how far the call is: `done` of `total`. From any thread; it never waits.

        What is told after the call was given up, or more than a hundred times, is dropped.
        """
        self.tell(text, done, total)
