"""The page of events has each class of events, and says of each field what it is."""

from __future__ import annotations

import inspect
import runpy
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from agents import events as of_agents
from orchestrator import events as of_runs
from orchestrator.events import to_json
from orchestrator.events.listing import SUBJECTS, UNRECORDED
from orchestrator.events.tasks import CutText
from orchestrator.journal.codec import pack, unpack
from providers import events as of_providers
from providers.messages import Estimate, Usage
from tests.orchestrator.squads import Answers, run, squad

REFERENCE = Path(__file__).parents[1] / "docs/reference"
MADE = runpy.run_path(str(REFERENCE / "generate_events.py"))
LISTED = {cls for classes in SUBJECTS.values() for cls in classes}


def test_the_page_is_what_the_code_says() -> None:
    hint = "run python docs/reference/generate_events.py"
    assert (REFERENCE / "events.md").read_text("utf-8") == MADE["page"](), hint


def test_each_class_of_events_is_listed() -> None:
    modules = (of_runs, of_agents, of_providers)
    known = {cls for one in modules for cls in vars(one).values() if inspect.isclass(cls) and is_dataclass(cls)}
    assert known - LISTED == {CutText, Estimate, Usage}
    assert known >= LISTED


@pytest.mark.parametrize("cls", sorted(LISTED, key=lambda cls: cls.__name__))
def test_each_event_and_each_of_its_fields_is_described(cls: type) -> None:
    text = vars(cls)["__doc__"]
    assert not text.startswith(f"{cls.__name__}("), "it has no docstring"
    said = MADE["said_of_fields"](cls)
    assert [one.name for one in fields(cls) if one.name not in said] == []


def test_what_is_said_to_be_recorded_can_be() -> None:
    for payload in MADE["EXAMPLES"]:
        if type(payload) not in UNRECORDED:
            packed = pack(payload)
            assert unpack(packed.data, packed.bodies.__getitem__) == payload


@pytest.mark.anyio
async def test_a_run_writes_the_fields_that_the_page_shows() -> None:
    each = {"agent": "ann", "description": "Do it.", "for_each": "${{ inputs.list }}", "key": "${{ item }}"}
    given = squad(
        {"each": each, "talk": {"conversation": "two", "description": "Talk."}},
        inputs={"list": {"type": "list", "default": ["a", "b"]}},
        conversations={"two": {"participants": ["ann", "bob"], "terminate": {"max_turns": 2}}},
    )
    _, events = await run(given, Answers())
    told = {event.type: event for event in events}
    assert {"run.started", "task.expanded", "element.ended", "message.spoken", "turn.ended"} <= set(told)
    for event in told.values():
        assert list(to_json(event)) == list(MADE["example_of"](type(event.data)))
