"""A new run that shares the record of another one: what it takes over is not paid again, and the other one stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.errors import RunNotFound, UnknownTask
from orchestrator.fork import fork_run
from orchestrator.journal.protocols import Journal, RunExists
from orchestrator.runtime import open_run, resume_run
from providers.messages import Request
from tests.orchestrator.rerun.test_edit import EDITED, FOUR, GATED, Went, approve, echo, edit, fresh, reading, words
from tests.orchestrator.run.test_resume import begin, hanging_at, journal
from tests.orchestrator.squads import Answers, of_type, squad

__all__ = ["journal"]

pytestmark = pytest.mark.anyio


async def fork(given: Any, journal: Journal, source: str = "r", **options: Any) -> Went:
    """Fork the run and let the fork go on to its end."""
    made = given if isinstance(given, Squad) else squad(given)
    manager = options.pop("manager", None) or Answers(echo)
    async with fork_run(made, source, journal=journal, manager=manager, **{"run_id": "f", **options}) as run:
        events = [event async for event in run]
    return Went(run.result, events, words(manager))


async def test_a_fork_does_a_task_and_what_needs_it_anew_and_takes_over_the_rest(
    journal: Journal, tmp_path: Path
) -> None:
    whole = await begin(squad(FOUR), journal, Answers(echo), out=tmp_path / "r")
    before, manifest = list(await journal.events("r")), await journal.manifest("r")
    went = await fork(FOUR, journal, start="b", out=tmp_path / "f")
    assert went.asked == ["second", "third"]
    assert went.result.artifacts == whole.artifacts
    for name in ("a.md", "b.md", "c.md"):
        assert (tmp_path / "f" / name).read_bytes() == (tmp_path / "r" / name).read_bytes()
    assert (list(await journal.events("r")), await journal.manifest("r")) == (before, manifest), "the other one stays"
    recorded = list(await journal.events("f"))
    assert len({event.id for event in recorded}) == len(recorded)
    (told,) = of_type(recorded, "run.forked")
    assert (told.source, told.kept, told.again, told.cost) == ("r", ("a", "d"), ("b", "c"), 20)
    assert (went.result.cost, went.result.usage.total) == (20, 30), "what was taken over is not its own spending"


async def test_a_fork_may_have_another_squad_and_another_input(journal: Journal) -> None:
    def made(says: str) -> Squad:
        tasks = {**FOUR, "b": reading("a", says=says), "d": {**FOUR["d"], "description": "aside ${{ inputs.idea }}"}}
        return squad(tasks, inputs={"idea": {"type": "string", "default": "tea"}})

    await begin(made("second"), journal, Answers(echo))
    assert (await fork(made("other"), journal)).asked == ["other", "third"]
    went = await fork(made("second"), journal, inputs={"idea": "coffee"}, run_id="g")
    assert went.asked == ["aside"]
    assert dict((await journal.manifest("g")).inputs) == {"idea": "coffee"}


async def test_a_fork_has_the_whole_of_its_own_budget(journal: Journal) -> None:
    cap = {"budget": {"max_turns": 4}}
    await begin(squad(FOUR, **cap), journal, Answers(echo))
    went = await fork(squad(FOUR, **cap), journal, start="a")
    assert (went.result.status, len(went.asked)) == ("done", 4)
    went = await fork(squad(FOUR, **cap), journal, start="a", run_id="g", max_cost_usd=25e-6)
    assert (went.result.status, len(went.asked)) == ("stopped", 2)


async def test_a_run_at_work_is_forked_as_it_stands_and_its_finished_turns_with_it(journal: Journal) -> None:
    def answer(agent: str, request: Request) -> str:
        return "" if "aside" in request.messages[-1].text else echo(agent, request)

    given = squad({name: FOUR[name] for name in "ad"})
    source = hanging_at(3, answer)  # the second turn of d: its first answer was empty
    async with open_run(given, run_id="r", journal=journal, manager=source) as run:
        async for event in run:
            if event.type == "turn.started" and event.turn == 2:
                break
        went = await fork(given, journal)
    assert (len(went.asked), went.result.status, went.result.cost) == (1, "done", 10)
    assert of_type(went.events, "call.repeated") == [], "the call in flight is the other run's"


async def test_an_open_gate_is_asked_by_the_fork_and_an_answered_one_is_not(journal: Journal) -> None:
    assert (await begin(squad(GATED), journal, Answers())).status == "waiting"
    went = await fork(GATED, journal, ask=approve)
    assert (went.asked, went.result.status) == (["Build."], "done")
    again = await fork(GATED, journal, "f", run_id="g", start="build")
    assert (again.asked, of_type(again.events, "gate.opened"), again.result.status) == (["Build."], [], "done")


async def test_an_edited_run_and_a_fork_are_forked_like_any_other(journal: Journal) -> None:
    await begin(squad(FOUR), journal, Answers(echo))
    await edit(EDITED, journal)
    first = await fork(EDITED, journal, start="c")
    assert first.asked == ["third"]
    renamed = {"z" if name == "b" else name: task for name, task in EDITED.items()}
    renamed["c"] = reading("z", says="third", output_file="c.md")
    second = await fork(renamed, journal, "f", run_id="g", start="d")
    assert second.asked == ["aside"]
    assert second.result.texts == (await fresh(EDITED)).texts
    assert of_type(list(await journal.events("g")), "run.forked")[0].cost == 30


async def test_a_fork_that_was_cut_short_is_resumed_like_any_other_run(journal: Journal) -> None:
    await begin(squad(FOUR), journal, Answers(echo))
    manager = hanging_at(2, echo)
    async with fork_run(squad(FOUR), "r", journal=journal, start="b", run_id="f", manager=manager) as run:
        async for event in run:
            if event.type == "turn.started" and len(manager.asked) == 2:
                break
    later = Answers(echo)
    async with resume_run(squad(FOUR), "f", journal=journal, manager=later) as run:
        events = [event async for event in run]
    assert (words(later), run.result.status, run.result.cost) == (["third"], "done", 20)
    assert [event.step for event in of_type(events, "call.repeated")] == ["c/try-1/turn-1/model"]


async def test_what_cannot_be_forked_says_why_and_leaves_nothing(journal: Journal) -> None:
    with pytest.raises(RunNotFound):
        await fork(FOUR, journal)
    await begin(squad(FOUR), journal, Answers(echo))
    with pytest.raises(UnknownTask, match="no task e") as unknown:
        await fork(FOUR, journal, start="e")
    assert unknown.value.hint == "its tasks: a, b, c, d"
    with pytest.raises(RunExists):
        await fork(FOUR, journal, start="b", run_id="r")
    assert [line.run for line in await journal.runs()] == ["r"]
