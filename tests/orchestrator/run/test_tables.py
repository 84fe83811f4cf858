"""A file of a task that ends in .csv or .tsv: a list of flat mappings becomes a table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio

ROW = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "number"}}}
ROWS = [{"name": "Ann, Lee", "n": 1}, {"name": "Bob"}]
TABLE = {"type": "array", "items": ROW}


def writing(file: str, schema: Any = None, **more: Any) -> Squad:
    task = {"agent": "ann", "description": "x", "output_file": file, **more}
    return squad({"t": task if schema is None else {**task, "output_schema": schema}})


@pytest.mark.parametrize(
    ("file", "text"),
    [("a.csv", 'name,n\n"Ann, Lee",1\nBob,\n'), ("A.TSV", "name\tn\nAnn, Lee\t1\nBob\t\n")],
)
async def test_a_list_of_flat_mappings_is_written_as_a_table(file: str, text: str) -> None:
    result, _ = await run(writing(file, TABLE), Answers(lambda agent, request: json.dumps(ROWS)))
    assert result.texts == {file: text}
    assert result.status == "done"


async def test_text_stays_as_it_is_without_its_fence() -> None:
    result, _ = await run(writing("a.csv"), Answers(lambda agent, request: "```csv\na;b\n1;2\n```"))
    assert result.texts == {"a.csv": "a;b\n1;2"}


async def test_a_value_that_is_no_table_is_told_when_it_is_there() -> None:
    result, _ = await run(writing("a.csv", {}), Answers(lambda agent, request: json.dumps([{"a": {"b": 1}}])))
    assert result.error_kinds == {"t": "NotATable"}
    assert "a.csv is a file for a table, and the output is not a table: row 1 has a mapping as 'a'" in str(
        result.errors
    )


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (ROW, "the output is of type object"),
        ({"type": "array", "items": {"type": "string"}}, "is a list of strings, not of objects"),
        ({"type": "array", "items": {"properties": {"tags": {"type": "array"}}}}, "has the array 'tags' in each row"),
    ],
)
def test_a_schema_that_allows_no_table_is_a_mistake_of_the_squad(schema: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        writing("a.csv", schema)


def test_the_outputs_of_steps_are_no_table_and_one_of_them_may_be() -> None:
    steps = {"steps": [{"id": "s", "agent": "ann", "description": "x"}], "output_file": "a.csv"}
    with pytest.raises(PlanError, match="is of type object"):
        squad({"t": steps})
    squad({"t": {**steps, "result": "s"}})


async def test_each_row_of_a_table_that_an_agent_wrote_is_an_element() -> None:
    each = {"for_each": "${{ tasks.t.output | from_csv }}", "as": "row", "key": "${{ row.a }}"}
    tasks = {"t": "Write a table.", "u": {"agent": "bob", "needs": ["t"], "description": "${{ row.b }}", **each}}
    manager = Answers(lambda agent, request: "```csv\na;b\nx;two\n```" if agent == "ann" else request.messages[-1].text)
    result, _ = await run(squad(tasks, outputs={"said": "${{ tasks.u.output | join }}"}), manager)
    assert "two" in result.outputs["said"]
    with pytest.raises(PlanError, match="'for_each' takes a list, not a string"):
        squad({**tasks, "u": {**tasks["u"], "for_each": "${{ tasks.t.output }}"}})


async def test_a_table_of_the_outputs_of_a_list_needs_no_model() -> None:
    each = {"for_each": "${{ ['a', 'b'] }}", "key": "${{ item }}"}
    with pytest.raises(PlanError, match=r"tasks\.t\.output \| to_csv"):
        writing("a.csv", ROW, **each)
    task = {"agent": "ann", "description": "${{ item }}", "output_schema": ROW, **each}
    made = squad({"t": task}, outputs={"table": "${{ tasks.t.output | to_csv }}"})
    result, _ = await run(made, Answers(lambda agent, request: json.dumps(ROWS[0])))
    assert result.outputs == {"table": 'name,n\n"Ann, Lee",1\n"Ann, Lee",1\n'}
