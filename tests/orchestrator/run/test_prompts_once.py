"""What a model reads is there once: a list in parts, an output that the description quotes in its place."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.journal.memory import MemoryJournal
from orchestrator.runtime import open_run
from orchestrator.squad.plan import EDITION
from providers.messages import Request
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio

STORIES = {"type": "array", "items": {"type": "string"}}
LIST = {
    "plan": {"agent": "ann", "description": "Plan.", "output_schema": STORIES},
    "other": "Look around.",
}
EACH = {"agent": "bob", "for_each": "${{ tasks.plan.output }}", "key": "${{ item }}", "description": "Do ${{ item }}."}


def answer(agent: str, request: Request) -> str:
    return '["story one", "story two"]' if "Plan." in request.messages[-1].text else f"the words of {agent}"


async def test_an_element_is_not_handed_the_whole_list_but_what_else_it_needs() -> None:
    manager = Answers(answer)
    result, _ = await run(squad({**LIST, "do": {**EACH, "needs": ["plan", "other"]}}), manager)
    assert result.status == "done"
    for asked, absent in zip(manager.prompts("bob"), ["two", "one"], strict=True):
        assert f"story {absent}" not in asked
        assert "the words of ann" in asked


@pytest.mark.parametrize("context", [["plan"], ["plan", "other"]])
async def test_a_context_that_is_named_is_handed_to_each_element(context: list[str]) -> None:
    manager = Answers(answer)
    await run(squad({**LIST, "do": {**EACH, "needs": ["plan", "other"], "context": context}}), manager)
    assert all("story one" in asked and "story two" in asked for asked in manager.prompts("bob"))


@pytest.mark.parametrize(
    "quote",
    ["${{ tasks.a.output }}", "${{ tasks['a'].output | trim }}", "${{ tasks.a.output if true else '' }}"],
)
async def test_an_output_that_is_needed_and_quoted_is_sent_once(quote: str) -> None:
    manager = Answers(lambda agent, request: "a text of note")
    await run(squad({"a": "Write.", "b": {"agent": "bob", "needs": ["a"], "description": f"Mend: {quote}"}}), manager)
    assert manager.prompts("bob")[0].count("a text of note") == 1


@pytest.mark.parametrize("part", ["output | length", "output[:6]", "status"])
async def test_an_output_of_which_a_part_is_quoted_stays_in_the_context(part: str) -> None:
    manager = Answers(lambda agent, request: "a text of note")
    mend = f"Mend: ${{{{ tasks.a.{part} }}}}"
    await run(squad({"a": "Write.", "b": {"agent": "bob", "needs": ["a"], "description": mend}}), manager)
    assert "# Context: a\n\na text of note" in manager.prompts("bob")[0]


async def test_steps_and_structured_outputs_are_quoted_once_too() -> None:
    steps = [
        {"id": "one", "agent": "ann", "description": "Write.", "output_schema": STORIES},
        {"id": "two", "agent": "bob", "description": "Mend: ${{ steps.one.output }}"},
    ]
    manager = Answers(lambda agent, request: '["a text of note"]')
    await run(squad({"a": {"steps": steps}}), manager)
    assert manager.prompts("bob")[0].count("a text of note") == 1


async def test_a_run_that_began_under_the_first_edition_is_fed_as_it_was() -> None:
    given = squad({**LIST, "do": {**EACH, "needs": ["plan", "other"]}})
    assert given.plan(edition=1).tasks["do"].context == ("plan", "other")
    journal: Any = MemoryJournal()
    async with open_run(given, manager=Answers(answer), journal=journal, run_id="r") as opened:
        _ = [event async for event in opened]
    assert (await journal.manifest("r")).edition == EDITION
