"""What is told of a run before anything is spent, as its inputs alone decide it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.errors import PlanError
from tests.orchestrator.squads import Answers, run, squad
from tests.orchestrator.subsquads import written

INPUTS = {"names": {"type": "list", "default": ["a"]}, "text": {"default": "x"}}
EACH = {"agent": "ann", "for_each": "${{ inputs.names }}", "key": "${{ item }}", "description": "Do ${{ item }}"}


def told(task: dict[str, Any], inputs: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    given = squad({"a": task}, inputs=INPUTS, **more)
    try:
        given.foresee(given.plan(inputs))
    except PlanError as error:
        return [(problem.code, problem.message) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("task", "code", "message"),
    [
        (EACH, "too-many-elements", "the list has 1,001 elements; at most 1,000 are done"),
        ({"agent": "ann", "description": "${{ inputs.text }}."}, "too-long", "more than 262,144 characters"),
        (
            {"agent": "ann", "description": "x", "output_file": "${{ inputs.text[:300] }}.md"},
            "unsafe-path",
            "a part of the path has 303 bytes",
        ),
    ],
)
def test_what_the_inputs_make_too_long_is_told_with_its_line(task: dict[str, Any], code: str, message: str) -> None:
    inputs = {"names": [str(i) for i in range(1001)], "text": "x" * 262_144}
    [(found, why)] = told(task, inputs)
    assert found == code
    assert message in why
    assert told(task, {"names": ["0"], "text": "x"}) == []


@pytest.mark.parametrize(
    "guard",
    [{"continue_on_error": True}, {"if": "${{ inputs.text == 'y' }}"}, {"for_each": "${{ [] }}", "key": "${{ item }}"}],
)
def test_what_is_not_sure_to_be_reached_or_may_fail_is_not_told(guard: dict[str, Any]) -> None:
    task = {"agent": "ann", "description": "${{ inputs.text }}.", **guard}
    assert told(task, {"text": "x" * 262_144}) == []


def test_a_mistake_of_the_data_fails_its_task_alone() -> None:
    assert told({"agent": "ann", "description": "${{ inputs.names[7] }}."}, {}) == []


def test_the_caps_are_the_squads_own_where_it_states_them() -> None:
    limits = {"max_items": 2, "max_chars": 1000}
    assert told(EACH, {"names": ["1", "2"]}, limits=limits) == []
    assert "at most 2 are" in told(EACH, {"names": ["1", "2", "3"]}, limits=limits)[0][1]
    long = {"agent": "ann", "description": "${{ inputs.text }}."}
    assert "more than 1,000 characters" in told(long, {"text": "x" * 1000}, limits=limits)[0][1]
    assert told(long, {"text": "x" * 300_000}, limits={"max_chars": 400_000}) == []
    with pytest.raises(PlanError, match="max_items"):
        squad({"a": "x"}, limits={"max_items": 0})


def test_a_squad_alone_is_checked_for_what_no_input_can_mend() -> None:
    squad({"a": EACH}, inputs=INPUTS).foresee()
    with pytest.raises(PlanError, match="too-many-elements"):
        squad({"a": {**EACH, "for_each": "${{ [1, 2, 3] }}"}}, inputs=INPUTS, limits={"max_items": 2}).foresee()


ROWS = {"agent": "ann", "for_each": "${{ inputs.names }}", "as": "row", "description": "Do it."}


def test_elements_with_one_key_are_told_by_their_numbers() -> None:
    rows = {"names": [{"id": 7, "of": "x"}, {"id": 8, "of": "x"}, {"id": "7", "of": "y"}]}
    by_id = {**ROWS, "key": "${{ row.id }}"}
    assert told(by_id, rows) == [("equal-keys", "elements 1 and 3 of the list have the same key, '7'")]
    assert told({**ROWS, "key": "${{ row.id }}-${{ row.of }}"}, rows) == []
    same = {"names": [{"id": 1}] * 8}
    assert told(by_id, same) == [("equal-keys", "elements 1, 2, 3, 4, 5 and 3 more of the list have the same key, '1'")]
    assert told({**by_id, "continue_on_error": True}, rows) == [], "the run goes on without it"
    assert told({**ROWS, "key": "${{ row.none }}"}, rows) == [], "a mistake of the data fails its task alone"
    csv = {**by_id, "for_each": "${{ inputs.text | from_csv }}"}
    assert told(csv, {"text": "id,name\n1,Ann\n2,Bob\n1,Cay\n"})[0][0] == "equal-keys"


def test_equal_keys_of_a_sub_squads_elements_are_told_where_the_outer_file_has_the_key(tmp_path: Path) -> None:
    review = {"for_each": "${{ inputs.names }}", "key": "${{ item }}", "squad": "review.yaml", "with": {"draft": "x"}}
    path = written(tmp_path, {"review": review}, inputs=INPUTS)
    with pytest.raises(PlanError, match=r"outer\.yaml:\d+:\d+: error\[equal-keys\]: elements 1 and 2"):
        Squad.from_file(path).foresee(Squad.from_file(path).plan({"names": ["a", "a"]}))


@pytest.mark.anyio
async def test_a_run_does_not_begin_with_what_is_sure_to_fail() -> None:
    manager = Answers()
    given = squad({"b": {"agent": "bob", "description": "x"}, "a": EACH}, inputs=INPUTS)
    with pytest.raises(PlanError, match="1,001 elements"):
        await run(given, manager, inputs={"names": [str(i) for i in range(1001)]})
    assert manager.asked == []
