"""Sub-squads at work: what goes in and comes out, failures, skips, budgets, people, resumes, replays, forks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import GateAnswered, GateOpened, PlanError
from orchestrator.fork import fork_run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from providers.errors import ServerFault
from providers.messages import Request
from tests.orchestrator.squads import Answers, of_type, run
from tests.orchestrator.subsquads import OUTER, REVIEW, edited, made

pytestmark = pytest.mark.anyio


def said(agent: str, request: Request) -> str:
    """Answer with the last line of what was asked, by whom."""
    return f"{agent}<{request.messages[-1].text.splitlines()[-1]}>"


def failing(who: str) -> Answers:
    def answer(agent: str, request: Request) -> str:
        if agent == who:
            raise ServerFault("down")
        return said(agent, request)

    return Answers(answer)


async def test_inputs_go_in_and_outputs_come_out(tmp_path: Path) -> None:
    manager = Answers(said)
    result, events = await run(made(tmp_path), manager)
    assert result.status == "done"
    assert [agent for agent, _ in manager.asked] == ["ann", "review.ann", "review.bob", "ann"]
    (entry,) = [one for one in of_type(events, "task.ended") if one.task == "review.inputs"]
    assert entry.output == {"draft": "ann<Draft it.>", "tone": "kind"}
    (end,) = [one for one in of_type(events, "task.ended") if one.task == "review"]
    assert end.output == {"notes": "review.ann<Check ann<Draft it.>>", "verdict": "review.bob<Judge it.>"}
    assert "Reviews in a kind tone." in manager.prompts("review.ann")[0]
    assert "# Context: check\n" in manager.prompts("review.bob")[0], "names are those of the inner file"


async def test_two_uses_have_inputs_of_their_own(tmp_path: Path) -> None:
    def use(tone: str) -> dict[str, Any]:
        return {"squad": "review.yaml", "with": {"draft": f"the {tone} one", "tone": tone}}

    manager = Answers(said)
    outputs = {"both": "${{ [tasks.one.output.notes, tasks.two.output.notes] }}"}
    result, _ = await run(
        made(tmp_path, {"one": use("kind"), "two": use("harsh")}, agents={}, outputs=outputs), manager
    )
    assert result.outputs == {"both": ["one.ann<Check the kind one>", "two.ann<Check the harsh one>"]}
    assert "Reviews in a harsh tone." in manager.prompts("two.ann")[0]
    assert "Reviews in a kind tone." in manager.prompts("one.ann")[0]


async def test_native_values_stay_what_they_are(tmp_path: Path) -> None:
    review = {**REVIEW, "inputs": {"draft": {"type": "list"}, "tone": {"type": "integer", "default": 1}}}
    review["outputs"] = {"all": "${{ inputs.draft }}", "count": "${{ inputs.tone + 1 }}"}
    given = {"draft": ["${{ inputs.n }}", "x ${{ inputs.n }}", 3], "tone": "${{ inputs.n }}"}
    tasks = {"review": {"squad": "review.yaml", "with": given}}
    more = {"inputs": {"n": {"type": "integer", "default": 4}}, "outputs": {"all": "${{ tasks.review.output }}"}}
    result, _ = await run(made(tmp_path, tasks, {"review.yaml": review}, agents={}, **more))
    assert result.outputs == {"all": {"all": [4, "x 4", 3], "count": 5}}


async def test_an_input_of_another_type_fails_it_before_anything_is_spent(tmp_path: Path) -> None:
    review = {**REVIEW, "inputs": {**REVIEW["inputs"], "draft": {"type": "integer"}}}
    manager = Answers(said)
    result, events = await run(made(tmp_path, files={"review.yaml": review}), manager)
    assert result.status == "failed"
    ended = {one.task: one for one in of_type(events, "task.ended")}
    assert (ended["review.inputs"].error_kind, ended["review"].error_kind) == ("BadInputs", "BadInputs")
    assert "input 'draft' is of type integer; given was" in str(ended["review"].error)
    assert {name: one.status for name, one in ended.items()} == {
        "draft": "ok",
        "review.inputs": "failed",
        "review.check": "cancelled",
        "review.judge": "cancelled",
        "review": "failed",
        "end": "cancelled",
    }
    assert [agent for agent, _ in manager.asked] == ["ann"]


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.few(1)
async def test_a_failure_inside_fails_the_task_and_only_that(tmp_path: Path, goes_on: bool) -> None:
    tasks = {**OUTER, "review": {**OUTER["review"], "continue_on_error": goes_on}}
    tasks["end"] = {**OUTER["end"], "description": "End after ${{ tasks.review.status }}"}
    result, events = await run(made(tmp_path, tasks), failing("review.ann"))
    assert result.status == ("done" if goes_on else "failed")
    ended = {one.task: one for one in of_type(events, "task.ended")}
    assert (ended["review"].status, ended["end"].status) == ("failed", "ok" if goes_on else "cancelled")
    assert str(ended["review"].error).startswith("review.check: ")


async def test_a_task_inside_may_fail_where_it_says_so(tmp_path: Path) -> None:
    review = edited(REVIEW, "check", continue_on_error=True)
    result, _ = await run(made(tmp_path, files={"review.yaml": review}), failing("review.ann"))
    assert (result.status, result.tasks["review"]) == ("done", "ok")


async def test_fail_fast_inside_stops_what_is_inside(tmp_path: Path) -> None:
    aside = {"agent": "bob", "needs": ["slow"], "description": "Aside."}
    review = {**edited(edited(REVIEW, "slow", agent="bob", description="Slow."), "aside", **aside), "fail_fast": True}
    tasks = {"review": {"squad": "review.yaml", "with": {"draft": "x"}}, "other": OUTER["draft"]}
    result, _events = await run(made(tmp_path, tasks, {"review.yaml": review}, max_parallel=1), failing("review.ann"))
    assert (result.status, result.tasks["other"], result.tasks["review"]) == ("failed", "ok", "failed")
    assert {result.tasks[f"review.{name}"] for name in ("slow", "aside", "judge")} == {"cancelled"}


async def test_one_that_is_skipped_is_skipped_whole(tmp_path: Path) -> None:
    tasks = {**OUTER, "review": {**OUTER["review"], "if": False}, "end": OUTER["draft"] | {"needs": ["review"]}}
    manager = Answers(said)
    result, _ = await run(made(tmp_path, tasks), manager)
    assert result.status == "done"
    assert [name for name, status in result.tasks.items() if status == "skipped"] == [
        *("review.inputs", "review.check", "review.judge", "review"),
    ]
    assert len(manager.asked) == 2


@pytest.mark.parametrize("where", ["task", "file"])
@pytest.mark.few(1)
async def test_a_budget_around_it_holds_for_all_of_it(tmp_path: Path, where: str) -> None:
    caps = {"budget": {"max_turns": 1}}
    tasks = {**OUTER, "review": {**OUTER["review"], **(caps if where == "task" else {})}}
    review = {**REVIEW, **(caps if where == "file" else {})}
    manager = Answers(said)
    result, events = await run(made(tmp_path, tasks, {"review.yaml": review}), manager)
    assert result.status == "stopped"
    (reached,) = of_type(events, "budget.reached")
    assert (reached.which, reached.kind) == ("task review", "max_turns")
    assert [agent for agent, _ in manager.asked] == ["ann", "review.ann"]


GATE = {"needs": ["check"], "approval": {"prompt": "Good: ${{ tasks.check.output }}?", "show": ["check"]}}
GATE |= {"on_revise": {"rerun": ["check"], "max_attempts": 2}}
ASKING = edited(edited(REVIEW, "gate", **GATE), "judge", needs=["gate"], context=["check"])


async def test_a_person_is_asked_inside_and_may_have_it_done_again(tmp_path: Path) -> None:
    asked: list[GateOpened] = []

    async def ask(gate: GateOpened) -> GateAnswered:
        asked.append(gate)
        return GateAnswered(gate.task, "revise" if len(asked) == 1 else "approve", "shorter", "terminal")

    manager = Answers(said)
    journal = MemoryJournal()
    squad = made(tmp_path, files={"review.yaml": ASKING})
    result, _ = await run(squad, manager, ask=ask, journal=journal, run_id="r")
    assert result.status == "done"
    assert [(gate.task, gate.prompt, list(gate.shown)) for gate in asked] == [
        ("review.gate", "Good: review.ann<Check ann<Draft it.>>?", ["review.check"])
    ] * 2
    assert "shorter" in manager.prompts("review.ann")[1]
    assert (await replay(journal, "r")).is_equal


async def test_a_person_may_have_the_whole_of_it_done_again(tmp_path: Path) -> None:
    gate = {"needs": ["review"], "approval": {"prompt": "Good?", "choices": ["approve", "revise"]}}
    gate |= {"on_revise": {"rerun": ["review"], "max_attempts": 1}}

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "revise" if gate.attempt == 1 else "approve", "more", "terminal")

    manager, journal = Answers(said), MemoryJournal()
    squad = made(tmp_path, {**OUTER, "gate": gate})
    result, _ = await run(squad, manager, ask=ask, journal=journal, run_id="r")
    assert result.status == "done"
    assert [agent for agent, _ in manager.asked].count("review.ann") == 2
    assert [agent for agent, _ in manager.asked].count("ann") == 2
    assert (await replay(journal, "r")).is_equal


async def test_it_waits_for_an_answer_and_goes_on_in_another_process(tmp_path: Path) -> None:
    journal, manager = MemoryJournal(), Answers(said)
    squad = made(tmp_path, files={"review.yaml": ASKING})
    result, _ = await run(squad, manager, journal=journal, run_id="r")
    assert (result.status, set(result.waiting)) == ("waiting", {"review.gate"})
    before = len(manager.asked)

    async def ask(gate: GateOpened) -> GateAnswered:
        return GateAnswered(gate.task, "approve", "", "terminal")

    async with resume_run(squad, "r", journal=journal, manager=manager, ask=ask) as opened:
        assert [event async for event in opened]
    assert opened.result.status == "done"
    assert [agent for agent, _ in manager.asked[before:]] == ["review.bob", "ann"]
    assert (await replay(journal, "r")).is_equal


async def test_an_edit_of_the_inner_file_asks_again_what_it_touches(tmp_path: Path) -> None:
    journal = MemoryJournal()
    await run(made(tmp_path), Answers(said), journal=journal, run_id="r")
    manager = Answers(said)
    after = made(tmp_path, files={"review.yaml": edited(REVIEW, "judge", description="Judge anew.")})
    async with resume_run(after, "r", journal=journal, manager=manager, edited=True) as opened:
        assert [event async for event in opened]
    assert opened.result.status == "done"
    assert [agent for agent, _ in manager.asked] == ["review.bob", "ann"]
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize(
    ("start", "again"),
    [("review", ["review.ann", "review.bob", "ann"]), ("review.judge", ["review.bob", "ann"])],
)
@pytest.mark.few(1)
async def test_a_fork_does_all_of_it_anew_or_a_task_in_it(tmp_path: Path, start: str, again: list[str]) -> None:
    journal, manager = MemoryJournal(), Answers(said)
    await run(made(tmp_path), Answers(said), journal=journal, run_id="r")
    async with fork_run(made(tmp_path), "r", journal=journal, manager=manager, run_id="f", start=start) as opened:
        assert [event async for event in opened]
    assert opened.result.status == "done"
    assert [agent for agent, _ in manager.asked] == again


async def test_a_conversation_inside_goes_by_the_names_of_its_file(tmp_path: Path) -> None:
    talk = {"participants": ["ann", "bob"], "moderator": "bob", "terminate": {"max_turns": 2}}
    review = {**REVIEW, "conversations": {"talk": {**talk, "budget": {"max_turns": 9}}}}
    review = edited(review, "check", agent=None, conversation="talk", description="Agree.")
    review["tasks"]["check"].pop("agent")
    journal, manager = MemoryJournal(), Answers(said)
    result, events = await run(made(tmp_path, files={"review.yaml": review}), manager, journal=journal, run_id="r")
    assert result.status == "done"
    assert [one.speaker for one in of_type(events, "message.spoken")][:2] == ["ann", "bob"]
    assert "ann, it is your turn" in manager.prompts("review.ann")[0]
    assert (await replay(journal, "r")).is_equal


async def test_an_agent_is_chosen_and_a_case_too_inside(tmp_path: Path) -> None:
    review = edited(REVIEW, "check", agent="${{ inputs.tone }}")
    cases = {"ann": {"agent": "ann", "description": "One."}, "bob": {"agent": "bob", "description": "Two."}}
    judge = {"needs": ["check"], "switch": {"on": "${{ inputs.tone }}", "cases": {**cases, "default": cases["ann"]}}}
    review = {**review, "tasks": {**review["tasks"], "judge": judge}}
    tasks = {"review": {"squad": "review.yaml", "with": {"draft": "x", "tone": "bob"}}}
    manager = Answers(said)
    result, events = await run(made(tmp_path, tasks, {"review.yaml": review}, agents={}), manager)
    assert result.status == "done"
    assert [agent for agent, _ in manager.asked] == ["review.bob", "review.bob"]
    assert [one.agent for one in of_type(events, "agent.chosen")] == ["review.bob"]


@pytest.mark.parametrize("after", range(1, 8))
@pytest.mark.few(1)
async def test_a_run_that_was_cut_short_anywhere_goes_on_as_if_nothing_were(tmp_path: Path, after: int) -> None:
    journal, manager = MemoryJournal(), Answers(said)
    squad = made(tmp_path)
    whole, _ = await run(squad, Answers(said))
    ends = 0
    async with open_run(squad, journal=journal, manager=manager, run_id="r") as opened:
        async for event in opened:
            ends += event.type == "task.ended"
            if ends == after:
                opened.stop()
    if opened.result.status == "cancelled":
        async with resume_run(squad, "r", journal=journal, manager=manager) as opened:
            assert [event async for event in opened]
    assert (opened.result.status, opened.result.outputs) == (whole.status, whole.outputs)
    assert [agent for agent, _ in manager.asked] == ["ann", "review.ann", "review.bob", "ann"]
    assert (await replay(journal, "r")).is_equal


PNG = bytes.fromhex("89504e470d0a1a0a") + b"x" * 400


async def test_files_and_images_go_in_as_what_they_are(tmp_path: Path) -> None:
    review = {**REVIEW, "inputs": {"draft": {"type": "file"}, "tone": {"type": "image"}}}
    review["agents"] = {**REVIEW["agents"], "ann": REVIEW["agents"]["bob"]}
    review = edited(
        review, "check", description="See ${{ inputs.tone }} of ${{ inputs.draft.name }}: ${{ inputs.draft }}"
    )
    tasks = {"review": {"squad": "review.yaml", "with": {"draft": "${{ inputs.text }}", "tone": "${{ inputs.photo }}"}}}
    inputs = {"text": {"type": "file"}, "photo": {"type": "image"}}
    squad = made(tmp_path, tasks, {"review.yaml": review}, agents={}, inputs=inputs)
    journal, manager = MemoryJournal(), Answers(said)
    given = {"text": b"the text", "photo": PNG}
    result, _ = await run(squad, manager, journal=journal, run_id="r", inputs=given)
    assert result.status == "done", result.errors
    (message,) = [one for one in manager.asked[0][1].messages if one.role == "user"]
    assert "See [image: photo] of text: the text" in message.text
    assert [type(part).__name__ for part in message.parts].count("Image") == 1
    assert (await replay(journal, "r")).is_equal


KIND = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["long", "short", "odd one"]}}}
USE = {"squad": "review.yaml", "with": {"draft": "${{ tasks.draft.output.kind }}"}}
ROUTED: dict[str, Any] = {
    "draft": {"agent": "ann", "description": "Which?", "output_schema": KIND},
    "work": {
        "needs": ["draft"],
        "switch": {
            "on": "${{ tasks.draft.output.kind }}",
            "cases": {"long": USE, "short": {"agent": "ann", "description": "Short."}, "odd one": USE},
        },
    },
    "end": {"agent": "ann", "needs": ["work"], "description": "End of ${{ tasks.work.output }}"},
}


def choosing(kind: str, broken: str = "") -> Answers:
    def answer(agent: str, request: Request) -> str:
        if agent == broken:
            raise ServerFault("down")
        return f'{{"kind": "{kind}"}}' if "Which?" in request.messages[-1].text else said(agent, request)

    return Answers(answer)


@pytest.mark.parametrize(
    ("kind", "asked", "skipped"),
    [
        ("long", ["ann", "work-long.ann", "work-long.bob", "ann"], {"work-3"}),
        ("short", ["ann", "ann", "ann"], {"work-long", "work-3"}),
        ("odd one", ["ann", "work-3.ann", "work-3.bob", "ann"], {"work-long"}),
    ],
)
@pytest.mark.few(2)
async def test_a_case_may_be_a_sub_squad(tmp_path: Path, kind: str, asked: list[str], skipped: set[str]) -> None:
    journal, manager = MemoryJournal(), choosing(kind)
    result, events = await run(made(tmp_path, ROUTED), manager, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    assert [agent for agent, _ in manager.asked] == asked
    assert {name for name, status in result.tasks.items() if status == "skipped" and "." not in name} == skipped
    assert [one.case for one in of_type(events, "case.chosen")] == [kind]
    assert (await replay(journal, "r")).is_equal


async def test_a_case_that_fails_fails_its_task(tmp_path: Path) -> None:
    result, events = await run(made(tmp_path, ROUTED), choosing("long", broken="work-long.bob"))
    ended = {one.task: one for one in of_type(events, "task.ended")}
    assert (result.status, ended["work"].error_kind) == ("failed", "SquadFailed")
    assert str(ended["work-long"].error).startswith("work-long.judge: ")
    going_on = {**ROUTED, "work": {**ROUTED["work"], "continue_on_error": True}}
    result, _ = await run(made(tmp_path, going_on), choosing("long", broken="work-long.bob"))
    assert result.status == "done"


async def test_a_task_with_a_case_that_is_a_sub_squad_is_done_anew_whole(tmp_path: Path) -> None:
    journal, manager = MemoryJournal(), choosing("long")
    await run(made(tmp_path, ROUTED), choosing("long"), journal=journal, run_id="r")
    async with fork_run(made(tmp_path, ROUTED), "r", journal=journal, manager=manager, run_id="f", start="work") as one:
        assert [event async for event in one]
    assert [agent for agent, _ in manager.asked] == ["work-long.ann", "work-long.bob", "ann"]


def test_a_case_that_is_a_sub_squad_is_checked_where_it_stands(tmp_path: Path) -> None:
    cases = {**ROUTED["work"]["switch"]["cases"], "long": {**USE, "with": {"draft": 3, "x": 1}, "description": "x"}}
    work = {**ROUTED["work"], "switch": {**ROUTED["work"]["switch"], "cases": cases}}
    with pytest.raises(PlanError) as caught:
        made(tmp_path, {**ROUTED, "work": {**work, "timeout": "3m"}})
    place = ("tasks", "work", "switch", "cases", "long")
    assert {(one.code, one.path) for one in caught.value.problems} == {
        ("invalid-input", (*place, "with", "draft")),
        ("unknown-input", (*place, "with", "x")),
        ("misplaced-field", (*place, "description")),
        ("misplaced-field", ("tasks", "work", "timeout")),
    }
