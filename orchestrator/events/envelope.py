"""Where and when something happened, and the document that is shown of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, NamedTuple

from orchestrator.events.runs import RunFinished
from orchestrator.units import StepPath, Unit, path_of
from providers.messages import Usage

SCHEMA_VERSION = 1

MONEY = frozenset({"cost", "spent", "cap", "reserved", "cut_short"})
"""Fields that hold micro-USD."""


class Event(NamedTuple):
    """Where and when `data` happened: `unit` None: to the run itself; `step` is where in the unit's work.

    What a run decides of a task has the task for its unit, in each attempt. `turn` is 0 outside a turn, `seq` counts
    the events of one place and turn from 1, `at` is epoch seconds UTC.
    """

    run_id: str
    """The run that it is an event of."""
    unit: Unit | None
    """The task, or its element, that it happened to; None: the run itself."""
    step: StepPath
    """Where in the unit's work, the outermost part first; empty: the unit itself."""
    turn: int
    """The model call that it belongs to, from 1; 0: none."""
    seq: int
    """Its number among the events of one place and turn, from 1."""
    at: float
    """Epoch seconds UTC."""
    data: Any
    """What happened: `TaskStarted`, `TurnEnded`, ...; its class says which."""

    @property
    def path(self) -> str:
        """Its place as text: `build[S-1]/try-1/code`; empty for the run itself."""
        return path_of(self.unit, self.step)

    @property
    def id(self) -> str:
        """Run, place, turn and number as one text: no other event has it."""
        return f"{self.run_id}/{self.path}/{self.turn}/{self.seq}"

    @property
    def type(self) -> str:
        """The name of what happened: `task.started`, `gate.opened`."""
        return type_of(self.data)


def type_of(payload: Any) -> str:
    """Return the public name of a payload: `TaskStarted` is `task.started`, `GateOpened` `gate.opened`."""
    first, *rest = re.findall("[A-Z][a-z0-9]*", type(payload).__name__)
    return ".".join(filter(None, (first.lower(), "_".join(rest).lower())))


def to_json(event: Event) -> dict[str, Any]:
    """Return the event as the document that `--json` and the web page show. Money is in USD there.

    `unit` is its place as text, `place` the same as fields; None: the run itself.
    """
    head = {"type": event.type, "id": event.id, "run_id": event.run_id, "at": round(event.at, 6), "unit": event.path}
    head["place"] = _place(event)
    if isinstance(event.data, RunFinished):
        head["schema_version"] = SCHEMA_VERSION
    return {**head, **_plain(event.data)}


def _place(event: Event) -> dict[str, Any] | None:
    if event.unit is None:
        return None
    return {**event.unit._asdict(), "step": list(event.step), "turn": event.turn}


def _plain(value: Any) -> Any:
    if isinstance(value, Usage):
        return {
            "input_tokens": value.input + value.cache_read + value.cache_write,
            "output_tokens": value.output + value.reasoning,
            "cached_tokens": value.cache_read,
            "reasoning_tokens": value.reasoning,
        }
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "__dataclass_fields__"):
        return dict(_field(f.name, getattr(value, f.name)) for f in fields(value) if f.repr)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _field(name: str, value: Any) -> tuple[str, Any]:
    if name in MONEY:
        return f"{name}_usd", None if value is None else value / 1e6
    return name, _plain(value)
