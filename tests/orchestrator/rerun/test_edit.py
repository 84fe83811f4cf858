"""Editing the squad of a recorded run: only what the edit touches is asked again."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import GateAnswered, GateOpened, RunResult, Squad
from orchestrator.errors import EditUnknown, RunChanged, RunOver
from orchestrator.events import Event
from orchestrator.execution import Run
from orchestrator.fork import edit_of_run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal
from orchestrator.run.history import standing
from orchestrator.runtime import open_run, resume_run
from providers.errors import AllAttemptsFailed, ServerFault
from providers.messages import Request
from tests.orchestrator.run.test_resume import begin, cut, hanging_at, journal, turn
from tests.orchestrator.squads import Answers, of_type, squad

__all__ = ["journal"]

pytestmark = pytest.mark.anyio


def reading(*needs: str, says: str = "x", **more: Any) -> dict[str, Any]:
    """A task that reads what it needs."""
    read = "".join(f" ${{{{ tasks.{need}.output }}}}" for need in needs)
    return {"agent": "ann", "description": f"{says}{read}", "needs": list(needs), **more}


FOUR = {
    "a": reading(says="first", output_file="a.md"),
    "b": reading("a", says="second", output_file="b.md"),
    "c": reading("b", says="third", output_file="c.md"),
    "d": reading("a", says="aside"),
}
"""a feeds b and d, b feeds c."""
EDITED = {**FOUR, "b": reading("a", says="changed", output_file="b.md")}


def words(manager: Answers, since: int = 0) -> list[str]:
    """Return the first word of each task that was asked."""
    return sorted(r.messages[1].text.rpartition("# Task\n\n")[2].split()[0] for _, r in manager.asked[since:])


def echo(agent: str, request: Request) -> str:
    """Answer each request with something of its own, whatever the tasks in it are called."""
    said = "\n".join(message.text for message in request.messages)
    return hashlib.sha256(re.sub("# Context: .*", "# Context", said).encode()).hexdigest()[:8]


class Went(NamedTuple):
    result: RunResult
    events: list[Event]
    asked: list[str]


async def edit(tasks: Mapping[str, Any] | Squad, journal: Journal, manager: Answers | None = None, **more: Any) -> Went:
    """Go on with the run as edited."""
    made = tasks if isinstance(tasks, Squad) else squad(tasks)
    manager = manager or Answers(echo)
    async with resume_run(made, "r", journal=journal, manager=manager, edited=True, **more) as run:
        events = [event async for event in run]
    recorded = [event.id for event in await journal.events("r")]
    assert len(set(recorded)) == len(recorded)
    return Went(run.result, events, words(manager))


async def fresh(given: Mapping[str, Any] | Squad, **more: Any) -> RunResult:
    """Return how a run of this squad ends that has no past."""
    made = given if isinstance(given, Squad) else squad(given)
    return await begin(made, MemoryJournal(), Answers(echo), **more)


async def test_only_an_edited_task_and_what_needs_it_are_asked_again(journal: Journal, tmp_path: Path) -> None:
    await begin(squad(FOUR), journal, Answers(echo), out=tmp_path / "r")
    untouched = (tmp_path / "r" / "a.md").stat().st_mtime_ns
    went = await edit(EDITED, journal)
    assert went.asked == ["changed", "third"]
    assert (went.result.status, went.result.cost) == ("done", 60), "what was spent before stays spent"
    assert went.result.artifacts == (await fresh(EDITED, out=tmp_path / "f")).artifacts
    assert (tmp_path / "r" / "c.md").read_text() == (tmp_path / "f" / "c.md").read_text()
    assert (tmp_path / "r" / "a.md").stat().st_mtime_ns == untouched
    (told,) = of_type(list(await journal.events("r")), "run.edited")
    assert (told.parts, told.again, told.in_flight) == (("task b",), ("b", "c"), ())


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
@pytest.mark.few(3)
async def test_a_run_that_was_killed_goes_on_as_edited(journal: Journal, turns: int) -> None:
    """Turns: a, then b and d, then c; the last one that began has no answer."""
    first = hanging_at(turns, echo)
    await cut(squad(FOUR, max_parallel=1), journal, first, turn(turns))
    went = await edit(EDITED, journal)
    done = set(words(first)[:]) - {first.asked[-1][1].messages[1].text.rpartition("# Task\n\n")[2].split()[0]}
    assert went.asked == sorted({"first", "changed", "third", "aside"} - done)
    assert went.result.texts == (await fresh(EDITED)).texts
    assert went.result.cost == 10 * (turns - 1 + len(went.asked))


async def test_a_call_that_was_in_flight_for_an_edited_task_is_reported_and_not_made_again(journal: Journal) -> None:
    await cut(squad(FOUR, max_parallel=1), journal, hanging_at(2, echo), turn(2))
    went = await edit(EDITED, journal)
    (told,) = of_type(list(await journal.events("r")), "run.edited")
    assert told.in_flight == ("b/try-1/turn-1/model",)
    assert of_type(went.events, "call.repeated") == []
    assert of_type(went.events, "run.resumed")[0].in_flight == ()


async def test_a_failed_task_is_mended_by_an_edit(journal: Journal) -> None:
    def answer(agent: str, request: Request) -> str:
        if "second" in request.messages[1].text:
            raise AllAttemptsFailed("down", [ServerFault("down")])
        return echo(agent, request)

    result = await begin(squad(FOUR, fail_fast=True), journal, Answers(answer))
    assert (result.status, result.tasks["c"]) == ("failed", "waiting")
    went = await edit(squad(EDITED, fail_fast=True), journal)
    assert (went.asked, went.result.status) == (["changed", "third"], "done")


async def test_other_names_and_another_order_cost_nothing(journal: Journal) -> None:
    outputs = {"last": "${{ tasks.c.output }}"}
    whole = await begin(squad(FOUR, outputs=outputs), journal, Answers(echo))
    renamed = {
        "dd": reading("root", says="aside"),
        "c": reading("b", says="third", output_file="c.md"),
        "root": reading(says="first", output_file="a.md"),
        "b": {**reading("root", output_file="b.md"), "description": "second ${{ tasks['root'].output }}"},
    }
    renamed["b"]["description"] = FOUR["b"]["description"].replace("tasks.a", "tasks.root")
    went = await edit(squad(renamed, outputs=outputs), journal)
    assert (went.asked, went.result.status) == ([], "done")
    assert (went.result.outputs, went.result.artifacts) == (whole.outputs, whole.artifacts)
    assert went.result.tasks == dict.fromkeys(renamed, "ok") | {}
    again = await edit(squad({**renamed, "b": reading("root", says="changed", output_file="b.md")}), journal)
    assert again.asked == ["changed", "third"], "its new name has a past of its own now"


async def test_a_renamed_task_that_was_at_work_keeps_its_turns(journal: Journal) -> None:
    def answer(agent: str, request: Request) -> str:
        return "" if len(request.messages) == 2 else "said"

    # The first answer is empty, so that a second turn is at work when it is cut short.
    await cut(squad({"a": "first"}), journal, hanging_at(2, answer), turn(2))
    went = await edit({"z": "first"}, journal)
    assert len(went.asked) == 1
    assert of_type(went.events, "turn.started")[0].turn == 2
    assert (went.result.tasks, went.result.cost) == ({"z": "ok"}, 20)


async def test_a_task_at_work_whose_brief_names_a_renamed_one_begins_anew(journal: Journal) -> None:
    def named(first: str) -> dict[str, Any]:
        return {first: "first", "b": {"agent": "ann", "description": "second", "needs": [first]}}

    def answer(agent: str, request: Request) -> str:
        return "" if "second" in request.messages[-1].text else "said"

    await cut(squad(named("a")), journal, hanging_at(3, answer), turn(3))
    went = await edit(named("z"), journal, Answers())
    assert (went.asked, went.result.status) == (["second"], "done")


async def test_a_task_at_work_that_takes_a_name_with_a_past_begins_anew(journal: Journal) -> None:
    """What the name's former task recorded under it no longer counts, and is there still."""
    await begin(squad({"a": "first"}), journal, Answers(echo))
    edited = squad({"z": reading(says="second"), "a": reading("z", says="third")})
    assert await follow(resume_run(edited, "r", journal=journal, manager=hanging_at(1, echo), edited=True), 3) is None
    went = await edit({"a": reading(says="second")}, journal)
    assert (went.asked, went.result.tasks) == (["second"], {"a": "ok"})


async def test_tasks_that_swap_their_names_keep_what_is_theirs(journal: Journal) -> None:
    pair = {"a": "first", "b": "second"}
    await begin(squad(pair), journal, Answers())
    went = await edit({"a": "second", "b": "first"}, journal)
    assert went.asked == []
    again = await edit({"a": "second again", "b": "first"}, journal)
    assert again.asked == ["second"]
    last = await edit({"a": "second again", "b": "other"}, journal)
    assert (last.asked, last.result.tasks) == (["other"], {"a": "ok", "b": "ok"})


async def test_an_edit_that_is_taken_back_is_one_more_edit(journal: Journal) -> None:
    await begin(squad(FOUR), journal, Answers(echo))
    assert (await edit(EDITED, journal)).asked == ["changed", "third"]
    back = await edit(FOUR, journal)
    assert back.asked == ["second", "third"]
    assert back.result.texts == (await fresh(FOUR)).texts


async def test_a_changed_agent_is_asked_again_for_its_tasks_alone(journal: Journal) -> None:
    def people(role: str) -> dict[str, Any]:
        return {"bob": {"persona": {"name": "Bob", "role": role, "tier": "worker"}}}

    tasks = {**FOUR, "d": {**FOUR["d"], "agent": "bob"}}
    await begin(squad(tasks, people=people("Answers.")), journal, Answers(echo))
    edited = squad(tasks, people=people("Asks."))
    preview = await edit_of_run(edited, "r", journal=journal)
    assert (preview.again, set(preview.kept)) == ({"d": "agent bob was edited"}, {"a", "b", "c"})
    assert (await edit(edited, journal)).asked == ["aside"]


async def test_a_preview_says_why_and_what_it_cost_and_records_nothing(journal: Journal) -> None:
    await begin(squad(FOUR), journal, Answers(echo))
    before = list(await journal.events("r"))
    preview = await edit_of_run(squad(EDITED), "r", journal=journal)
    assert preview.again == {"b": "it was edited", "c": "it needs b"}
    assert preview.spent_on(preview.kept).cost == 20
    assert list(await journal.events("r")) == before
    with pytest.raises(RunOver, match="done"):
        await edit(FOUR, journal)


async def test_without_a_word_an_edited_squad_is_refused_and_it_is_said_how_to_go_on(journal: Journal) -> None:
    await cut(squad(FOUR), journal, hanging_at(2, echo), turn(2))
    with pytest.raises(RunChanged, match="task b") as refused:
        async with resume_run(squad(EDITED), "r", journal=journal, manager=Answers()):
            pass
    assert "runs resume r --edited" in refused.value.hint


async def test_what_an_older_release_recorded_is_not_guessed_at(journal: Journal) -> None:
    await begin(squad(FOUR), journal, Answers(echo))
    await journal.edit("r", replace(await journal.manifest("r"), dependency_digests={}), [])
    with pytest.raises(EditUnknown, match="task b"):
        await edit(EDITED, journal)


async def test_money_that_was_spent_counts_in_the_caps_of_the_edited_run(journal: Journal) -> None:
    cap = {"budget": {"max_turns": 5, "on_exceed": "pause"}}
    await begin(squad(FOUR, **cap), journal, Answers(echo))
    went = await edit(squad(EDITED, **cap), journal)
    assert (went.asked, went.result.status) == (["changed"], "paused")
    async with resume_run(squad(EDITED, budget={"max_turns": 6}), "r", journal=journal, manager=Answers(echo)) as run:
        assert [event.data.agent async for event in run if event.type == "turn.ended"] == ["ann"]
    assert run.result.status == "done"


GATED = {
    "stories": "Write.",
    "gate": {
        "approval": {"prompt": "Build?", "show": ["stories"], "choices": ["approve", "revise", "reject"]},
        "needs": ["stories"],
        "on_revise": {"rerun": ["stories"], "max_attempts": 2},
    },
    "build": {"agent": "bob", "needs": ["gate"], "description": "Build."},
}


async def revise_once(gate: GateOpened) -> GateAnswered:
    return GateAnswered(gate.task, "revise" if gate.attempt == 1 else "approve", "smaller", "terminal")


async def approve(gate: GateOpened) -> GateAnswered:
    return GateAnswered(gate.task, "approve", "", "terminal")


async def test_an_answered_gate_is_asked_again_only_where_the_edit_touches_it(journal: Journal) -> None:
    await begin(squad(GATED), journal, Answers(), ask=revise_once)
    later = {**GATED, "build": {**GATED["build"], "description": "Build well."}}
    went = await edit(later, journal)
    assert (went.asked, of_type(went.events, "gate.opened")) == (["Build"], [])
    asked = {**later, "gate": {**GATED["gate"], "approval": {**GATED["gate"]["approval"], "prompt": "Really?"}}}
    went = await edit(asked, journal, ask=approve)
    assert (went.asked, [gate.prompt for gate in of_type(went.events, "gate.opened")]) == (["Build"], ["Really?"])
    went = await edit({**asked, "stories": "Rewrite."}, journal, ask=approve)
    assert (went.asked, went.result.status) == (["Build", "Rewrite."], "done")
    assert "smaller" not in str(went.events), "the comment was on what is no more"


async def test_a_revision_at_work_begins_anew_where_the_gate_it_came_from_was_edited(journal: Journal) -> None:
    def answer(agent: str, request: Request) -> str:
        return "" if "smaller" in str(request.messages[1].text) else "said"

    await cut(squad(GATED), journal, hanging_at(3, answer), turn(3), ask=revise_once)
    gate = {**GATED["gate"], "approval": {**GATED["gate"]["approval"], "prompt": "Really?"}}
    went = await edit({**GATED, "gate": gate}, journal, Answers(), ask=approve)
    assert (went.asked, went.result.status) == (["Build.", "Write."], "done")


async def test_elements_of_a_fan_out_that_an_edit_does_not_touch_are_kept(journal: Journal) -> None:
    build = {"for_each": "${{ inputs.names }}", "key": "${{ item }}", "agent": "ann", "description": "make ${{ item }}"}
    names = {"names": {"type": "list", "default": ["x", "y", "z"]}}

    def tasks(last: str) -> Squad:
        return squad({"build": build, "after": {**reading("build", says=last)}}, inputs=names, max_parallel=1)

    await cut(tasks("told"), journal, hanging_at(3), turn(3))
    went = await edit(tasks("retold"), journal, Answers())
    assert (went.asked, went.result.status) == (["make", "retold"], "done")
    went = await edit(squad({"build": {**build, "description": "craft ${{ item }}"}}, inputs=names), journal, Answers())
    assert (went.asked, went.result.tasks) == (["craft"] * 3, {"build": "ok"})


async def test_a_file_of_a_task_that_is_gone_may_be_anothers(journal: Journal) -> None:
    await begin(squad(FOUR), journal, Answers(echo))
    went = await edit(
        {
            **FOUR,
            "c": reading("b", says="new", output_file="new.md"),
            "e": reading("b", says="more", output_file="c.md"),
        },
        journal,
    )
    assert went.asked == ["more", "new"]
    assert sorted(went.result.artifacts) == ["a.md", "b.md", "c.md", "new.md"]


class Draft:
    """A squad that is edited at random. A task's tag says what it is, whatever it is called."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.tags = iter(range(1000))
        self.names = iter(range(1000))
        self.tasks: list[tuple[str, str, list[str]]] = []
        for _ in range(dice.randrange(2, 6)):
            self.add()

    def add(self) -> None:
        needs = self.dice.sample([name for name, _, _ in self.tasks], min(len(self.tasks), self.dice.randrange(3)))
        self.tasks.append((f"t{next(self.names)}", f"tag{next(self.tags)}", needs))

    def edit(self) -> None:
        for _ in range(self.dice.randrange(1, 4)):
            at = self.dice.randrange(len(self.tasks))
            name, _, needs = self.tasks[at]
            match self.dice.randrange(5):
                case 0:
                    self.tasks[at] = (name, f"tag{next(self.tags)}", needs)
                case 1:
                    self.rename(name, f"t{next(self.names)}")
                case 2:
                    other = self.dice.choice(self.tasks)[0]
                    self.rename(name, "swapped")
                    self.rename(other, name)
                    self.rename("swapped", other)
                case 3:
                    self.add()
                case 4 if len(self.tasks) > 1 and not any(name in task[2] for task in self.tasks):
                    del self.tasks[at]

    def rename(self, old: str, new: str) -> None:
        called = {old: new}
        self.tasks = [
            (called.get(name, name), tag, [called.get(need, need) for need in needs]) for name, tag, needs in self.tasks
        ]

    def squad(self) -> Squad:
        shuffled = self.dice.sample(self.tasks, len(self.tasks))
        tasks = {name: reading(*needs, says=tag, output_file=f"{tag}.md") for name, tag, needs in shuffled}
        return squad(tasks, max_parallel=self.dice.randrange(1, 4))

    def dependency_digests(self) -> dict[str, str]:
        """Return tag -> all that it is made of."""
        made: dict[str, str] = {}
        for name, tag, needs in self.tasks:
            made[name] = f"{tag}({','.join(made[need] for need in needs)})"
        return {tag: made[name] for name, tag, _ in self.tasks}


@pytest.mark.long
@settings(max_examples=settings().max_examples // 2)
@given(st.integers(0, 10**6))
def test_however_a_run_is_cut_and_edited_it_ends_like_a_new_one_and_pays_only_for_what_changed(seed: int) -> None:
    anyio.run(edits_and_cuts, random.Random(seed))


async def edits_and_cuts(dice: random.Random) -> None:
    draft, journal, manager = Draft(dice), MemoryJournal(), Answers(echo)
    opening = open_run(draft.squad(), journal=journal, manager=manager, run_id="r")
    paid: set[str] = set()
    for edits_left in (3, 2, 1, 0):
        dependency_digests, since = draft.dependency_digests(), len(manager.asked)
        ended = await follow(opening, dice.randrange(1, 40) if edits_left else 1000)
        asked = [dependency_digests[word] for word in words(manager, since)]
        assert paid.isdisjoint(asked), "what was answered is not asked again"
        called = {name: tag for name, tag, _ in draft.tasks}
        events = standing(await journal.events("r"))
        paid = {dependency_digests[called[event.data.task]] for event in events if event.type == "task.ended"}
        if edits_left:
            draft.edit()
            opening = resume_run(draft.squad(), "r", journal=journal, manager=manager, edited=True)
    assert paid == set(draft.dependency_digests().values())
    if ended is not None:
        assert ended.texts == (await fresh(draft.squad())).texts


async def follow(opening: AbstractAsyncContextManager[Run], events: int) -> RunResult | None:
    """Let a run go on for so many events, then be gone; return how it ended, None where it did not or had before."""
    try:
        async with opening as run:
            async for _ in run:
                events -= 1
                if events == 0:
                    return None
            return run.result
    except RunOver:
        return None
