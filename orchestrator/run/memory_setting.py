"""Where the memory of a run is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.memory.store import MemoryStore

FILE = "memory.db"
"""The store in the state folder."""


@dataclass(frozen=True, slots=True)
class MemorySetting:
    """Where a run's memory is: `given` is a store, or its path; else it is a file in the folder `state`; without one it
    ends with the run. Knowledge stands in the folder `beside`."""

    run: str
    clock: Callable[[], float]
    beside: Path
    given: MemoryStore | Path | str | None = None
    state: Path | None = None
    answers: Any = None
    """Who answers the run's turns, and makes vectors where it can."""
