"""What a manager's words delegate, and to whom."""

from __future__ import annotations

import json

import pytest

from orchestrator.run.conversations.control import Control
from orchestrator.run.conversations.delegation import delegations_of
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import MaxTurns

NAMES = {"ann": "Ann Lee", "bob": "Bob Smith", "cat": "Catherine Smith"}
PLAN = ConversationPlan("work", "hierarchical", ("ann", "bob", "cat"), MaxTurns(9), "boss", names=NAMES, rounds=3)


def read(text: str, workers: tuple[str, ...] = PLAN.participants) -> Control:
    return delegations_of(Control(text), PLAN, workers)


@pytest.mark.parametrize(
    "text",
    [
        "DELEGATE ann: write it",
        "Plan: two steps.\n\nDELEGATE ann: write it",
        "**DELEGATE ann:** write it",
        "- **DELEGATE** to @Ann Lee: write it",
        "1. DELEGATE: ann: write it",
        "> delegate to ann - write it",
        "### DELEGATE ann\n\nwrite it",
        "```\nDELEGATE ann: write it\n```",
        "`DELEGATE(ann)`: write it",
        "ASSIGN Ann → write it",
        "ＤＥＬＥＧＡＴＥ ann：write it",
        '{"delegate": [{"to": "ann", "task": "write it"}]}',
        '```json\n[{"agent": "Ann Lee", "description": "write it"}]\n```',
        '{"plan": "short", "delegations": {"ann": "write it"}}',
        'I delegate:\n{"tasks": [{"name": "ann", "task": "write it"}]}\nThank you.',
    ],
)
@pytest.mark.few(6)
def test_a_task_is_found_in_every_dress(text: str) -> None:
    found = read(text)
    assert found.tasks == (("ann", "write it"),)
    assert found.unread is None
    assert found.text == text


def test_several_are_asked_and_a_task_may_have_lines() -> None:
    found = read("Plan.\n\nDELEGATE ann: write\n- a\n- b\n\n**DELEGATE bob, cat:** test it\nDELEGATE ann: and read it")
    assert found.tasks == (("ann", "write\n- a\n- b\n\nand read it"), ("bob", "test it"), ("cat", "test it"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("DELEGATE zoe: write it", "'zoe' is nobody to delegate to"),
        ("DELEGATE boss: write it", "'boss' is nobody to delegate to"),
        ("DELEGATE Smith: write it", "'smith' may mean bob or cat"),
        ("DELEGATE: ", "it names nobody"),
        ("DELEGATE ann", "it asks ann for nothing"),
        ('{"delegate": {"zoe": "write it"}}', "'zoe' is nobody to delegate to"),
    ],
)
def test_what_names_nobody_who_works_is_told(text: str, why: str) -> None:
    found = read(text)
    assert found.tasks == ()
    assert found.unread is not None
    assert found.unread.why == why


def test_who_has_no_turns_left_is_nobody_to_delegate_to() -> None:
    found = read("DELEGATE ann: one\nDELEGATE bob: two", workers=("bob",))
    assert found.tasks == (("bob", "two"),)
    assert found.unread is not None
    assert found.unread.why == "'ann' is nobody to delegate to"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The result: all is well.",
        "Delegate as little as you can; that was the lesson.",
        "We delegated the tests to bob.",
        "Assigning blame helps nobody.",
        json.dumps({"result": "done", "by": "ann"}),
        "[" * 100_000,
        "x" * 300_000,
        "\x00\ud800",
    ],
)
def test_a_result_delegates_nothing(text: str) -> None:
    found = read(text)
    assert (found.tasks, found.unread) == ((), None)
