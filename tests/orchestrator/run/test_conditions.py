"""What a model's words mean where a squad asks whether something is so."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from orchestrator import PlanError
from orchestrator.squad.conditions import NoCondition, holds
from personas.errors import TemplateError
from personas.sandbox import Sandbox
from providers.messages import Request
from tests.orchestrator.squads import Answers, run, squad

IF = "${{ tasks.a.output }}"


@pytest.mark.parametrize(
    "text",
    [
        "false",
        "False.",
        " no\n",
        "**No**",
        "OFF",
        "`false`",
        '"no"',
        "",
        '""',
        "No!",
        "- no",
        "❌ No",
        "no\u00a0",
        "no。",
    ],
)
def test_a_text_that_says_no_is_false(text: str) -> None:
    assert holds(text, "if", 2) is False


@pytest.mark.parametrize(
    "text", ["true", "TRUE.", " yes\n", "**Yes**", "on", "`true`", '"yes"', "Yes ✅", "(yes)", "«Yes»", "ｙｅｓ"]
)
def test_a_text_that_says_yes_is_true(text: str) -> None:
    assert holds(text, "if", 2) is True


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (None, False), (0, False), (2, True), ([], False), ([0], True), ({}, False)],
)
def test_other_values_are_as_they_are_everywhere(value: Any, expected: bool) -> None:
    assert holds(value, "until", 2) is expected


@pytest.mark.parametrize("text", ["Not yet", "No, it is not done", "approved", "1", "n/a", "None", "yes?", "...", "👍"])
def test_any_other_text_is_refused_and_the_first_edition_takes_it_for_true(text: str) -> None:
    with pytest.raises(NoCondition, match=r"`until` is true or false.*compare it"):
        holds(text, "until", 2)
    assert holds(text, "until", 1)


@pytest.mark.anyio
@pytest.mark.parametrize(("text", "status"), [("No.", "skipped"), ("Yes", "ok"), ("Perhaps", "failed")])
async def test_if_reads_what_a_task_said(text: str, status: str) -> None:
    given = squad({"a": "Decide.", "b": {"agent": "bob", "needs": ["a"], "if": IF, "description": "x"}})
    result, _ = await run(given, Answers(lambda agent, request: text))
    assert result.tasks["b"] == status
    assert status != "failed" or "compare it" in result.errors["b"]


@pytest.mark.anyio
async def test_until_and_the_if_of_a_step_read_it_too() -> None:
    said = iter(["no", "False.", "**Yes**"])

    def answer(agent: str, request: Request) -> str:
        return next(said) if agent == "bob" else "words"

    steps = [
        {"id": "check", "agent": "bob", "description": "Good?"},
        {"id": "mend", "agent": "ann", "description": "Mend.", "if": "${{ steps.check.output }}"},
    ]
    repeat = {"until": "${{ steps.check.output }}", "max_attempts": 3}
    manager = Answers(answer)
    result, _ = await run(squad({"a": {"steps": steps, "repeat": repeat}}), manager)
    assert (result.status, [agent for agent, _ in manager.asked]) == ("done", ["bob", "bob", "bob", "ann"])


@pytest.mark.anyio
@pytest.mark.parametrize("holds_", [True, False])
async def test_yaml_s_own_true_and_false_are_conditions(holds_: bool) -> None:
    result, _ = await run(squad({"a": {"agent": "ann", "description": "x", "if": holds_}}))
    assert result.tasks == {"a": "ok" if holds_ else "skipped"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [("no", "write false"), ("Yes", "write true"), ("done", "write one expression that reads an input or a task")],
)
def test_a_literal_text_is_no_condition(text: str, hint: str) -> None:
    with pytest.raises(PlanError) as refused:
        squad({"a": {"agent": "ann", "description": "x", "if": text}})
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("not output", True),
        ("not not output", False),
        ("output and good", "No."),
        ("good and output", "No."),
        ("output or good", "yes"),
        ("output or also_bad or good", "yes"),
        ("(output or also_bad) == 'false'", True),
        ("(output and good and boom) == 'No.'", True),
        ("'a' if output else 'b'", "b"),
        ("'a' if not output and good else 'b'", "a"),
        ("output == 'No.' and 'o' in output", True),
        ("[output and good, output][0]", "No."),
        ("count or items", 3),
        ("not items", True),
        ("not (output | lower)", True),
    ],
)
def test_an_operand_is_read_as_the_whole_is_and_stays_what_it_is(expression: str, expected: Any) -> None:
    values = {"output": "No.", "also_bad": "false", "good": "yes", "count": 3, "items": []}
    text = Sandbox().expression_text(f"${{{{ {expression} }}}}", truth=partial(holds, field="until", edition=2))
    found = text.render(values)
    assert (found, type(found)) == (expected, type(expected))


def test_an_operand_that_is_no_answer_is_refused_where_it_is_asked() -> None:
    text = Sandbox().expression_text("${{ no and a or not b }}", truth=partial(holds, field="if", edition=2))
    with pytest.raises(TemplateError, match=r"`if` is true or false.*'Perhaps': compare it.* in \$\{\{ no and a"):
        text.render({"no": "no", "a": "never read", "b": "Perhaps"})
    with pytest.raises(TemplateError, match="'a' is unknown"):
        text.render({"no": "yes", "b": ""})


@pytest.mark.anyio
async def test_if_until_and_the_if_of_a_step_read_operands_so_and_other_texts_do_not() -> None:
    given = squad(
        {
            "a": "Decide.",
            "b": {"agent": "bob", "needs": ["a"], "if": "${{ not tasks.a.output }}", "description": "x"},
            "c": {"agent": "bob", "needs": ["a"], "if": "${{ tasks.a.output and true }}", "description": "x"},
            "d": {
                "needs": ["a"],
                "steps": [
                    {"id": "one", "agent": "bob", "description": "${{ 'set' if tasks.a.output else 'unset' }}"},
                    {"id": "two", "agent": "bob", "description": "x", "if": "${{ steps.one.output or false }}"},
                ],
                "repeat": {"until": "${{ not output.one and not output.two }}", "max_attempts": 1},
            },
        }
    )
    manager = Answers(lambda agent, request: "no")
    result, _ = await run(given, manager)
    assert result.tasks == {"a": "ok", "b": "ok", "c": "skipped", "d": "ok"}
    assert any("set" in prompt and "unset" not in prompt for prompt in manager.prompts("bob"))
    assert len(manager.prompts("bob")) == 2


@pytest.mark.parametrize(("edition", "expected"), [(1, False), (2, True)])
def test_a_run_of_the_first_edition_keeps_its_reading(edition: int, expected: bool) -> None:
    given = squad(
        {"a": "x", "b": {"agent": "ann", "needs": ["a"], "if": "${{ not tasks.a.output }}", "description": "x"}}
    )
    condition = given.plan(edition=edition).tasks["b"].condition
    assert condition is not None
    assert condition.render({"tasks": {"a": {"output": "no"}}}) is expected
