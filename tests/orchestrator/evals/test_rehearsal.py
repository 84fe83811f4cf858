"""A recorded run, rehearsed: equal where the squad asks the same, stale where it asks anything else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents import Tool, tool
from orchestrator.errors import RunNotFound
from orchestrator.evals.judge import Judge, Label
from orchestrator.evals.people import PeoplesAnswers
from orchestrator.evals.recording import RecordingUnusable, read_recording, write_recording
from orchestrator.evals.runner import CaseResult, CaseRunner
from orchestrator.evals.spec import JudgeSpec, With
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions
from orchestrator.runtime import open_run
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from providers.documents.yaml import parse_file
from providers.errors import AllAttemptsFailed, Overloaded
from providers.messages import FinishReason, Request, Response, ToolCall, Usage, assistant
from tests.orchestrator.squads import Answers

pytestmark = pytest.mark.anyio

SQUAD: dict[str, Any] = {
    "version": 1,
    "name": "pair",
    "inputs": {"idea": {"type": "string"}},
    "agents": {
        "ann": {"persona": {"name": "Ann", "role": "Writes.", "tier": "worker"}, "tools": ["rate"]},
        "bob": {"persona": {"name": "Bob", "role": "Reads.", "tier": "worker"}},
    },
    "conversations": {"chat": {"participants": ["ann", "bob"], "terminate": {"max_turns": 3}}},
    "tasks": {
        "price": {"agent": "ann", "description": "Price ${{ inputs.idea }}."},
        "each": {
            "agent": "bob",
            "needs": ["price"],
            "for_each": "${{ ['a', 'b'] }}",
            "key": "${{ item }}",
            "description": "Read ${{ item }}.",
        },
        "gate": {"needs": ["each"], "approval": {"prompt": "Good?"}},
        "talk": {"conversation": "chat", "needs": ["gate"], "description": "Talk it over.", "output_file": "talk.md"},
    },
}
CASE: dict[str, Any] = {
    "name": "prices tea",
    "inputs": {"idea": "tea"},
    "with": {"approvals": {"gate": "approve"}},
    "expect": {
        "run": {"turns": 7, "cost": "> 0"},
        "tools": [{"agent": "ann", "tool": "rate", "args": {"of": "tea"}, "times": 1}],
        "conversations": {"chat": {"turns": 3, "order": ["ann", "bob", "ann"], "ended_by": "max_turns"}},
        "tasks": {"each": {"items": 2, "each": {"contains": "bob"}}, "price": {"output": {"equals": "ann: 5"}}},
        "files": {"talk.md": {"contains": "What was said"}},
        "turns": ["ann", "bob", "ann"],
    },
}


class Rates:
    """A tool that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def tool(self) -> Tool:
        @tool
        async def rate(of: str) -> int:
            """Return the price of a thing."""
            self.calls += 1
            return len(of)

        return rate


def answer(agent: str, request: Request) -> Any:
    last = request.messages[-1]
    if last.role == "user" and "Price" in last.text and request.tools:
        called = assistant(ToolCall("c1", "rate", '{"of": "tea"}'))
        return Response(called, FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)
    return f"{agent}: 5" if last.role == "tool" else f"{agent} has read {len(request.messages)}"


def suite(folder: Path, rates: Rates, case: dict[str, Any] | None = None, **changed: Any) -> Suite:
    """The suite of one case, its squad changed as told: `price=...` is another description of that task."""
    squad = yaml.safe_load(yaml.safe_dump(SQUAD))
    judge = {"judge": changed.pop("judge")} if "judge" in changed else {}
    for name, fields in changed.items():
        squad["tasks"][name].update(fields)
    (folder / "pair.yaml").write_text(yaml.safe_dump(squad, sort_keys=False))
    file = folder / "pair.test.yaml"
    file.write_text(yaml.safe_dump({"squad": "pair.yaml", **judge, "cases": [case or CASE]}, sort_keys=False))
    return load_suite(parse_file(str(file)), lambda path, tools: Squad.from_file(path, tools=tools or [rates.tool()]))


async def record(folder: Path, rates: Rates, case: dict[str, Any] | None = None) -> CaseResult:
    made = suite(folder, rates, case)
    manager = Answers(answer)
    return await CaseRunner(made, RunOptions(manager=manager)).live(made.spec.cases[0], record=True)


async def rehearse(folder: Path, rates: Rates, case: dict[str, Any] | None = None, **changed: Any) -> CaseResult:
    made = suite(folder, rates, case, **changed)
    return await CaseRunner(made).offline(made.spec.cases[0])


async def test_what_was_recorded_passes_without_a_call_of_a_model_or_a_tool(tmp_path: Path) -> None:
    rates = Rates()
    live = await record(tmp_path, rates)
    assert (live.verdict, live.recorded, rates.calls) == ("passed", True, 1)
    again = await rehearse(tmp_path, rates)
    assert (again.verdict, rates.calls) == ("passed", 1), [check.message for check in again.attempts[0].failed_checks]
    one, other = live.attempts[0].facts, again.attempts[0].facts
    assert one is not None
    assert other is not None
    assert (one.cost, one.tokens, one.turns, one.spoke, one.tools) == (
        other.cost,
        other.tokens,
        other.turns,
        other.spoke,
        other.tools,
    )
    assert one.seconds == pytest.approx(other.seconds, abs=0.01)
    assert (one.tasks, one.conversations, one.files) == (other.tasks, other.conversations, other.files)


async def test_the_same_run_writes_the_same_file(tmp_path: Path) -> None:
    rates = Rates()
    await record(tmp_path, rates)
    file = tmp_path / "recordings" / "prices-tea.json"
    recording = await read_recording(file)
    again = tmp_path / "again.json"
    assert await write_recording(recording.journal, recording.run, again)
    assert again.read_text() == file.read_text()
    assert not await write_recording(recording.journal, recording.run, again)
    assert str(tmp_path) not in file.read_text().replace("pair.yaml", ""), "no folder of the machine is in it"


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("changed", "step", "shown"),
    [
        ({"price": {"description": "Price ${{ inputs.idea }} now."}}, "price/try-1/turn-1/model", "+Price tea now."),
        ({"price": {"agent": "bob"}}, "price/try-1/turn-1/model", "You are Bob"),
        ({"each": {"for_each": "${{ ['a', 'c'] }}"}}, "each[c]/try-1/turn-1/model", "no such call"),
        ({"talk": {"description": "Talk about it."}}, "talk/try-1/round-1/ann/turn-1/model", "+Talk about it."),
    ],
)
async def test_another_request_is_stale_and_told(
    tmp_path: Path, changed: dict[str, Any], step: str, shown: str
) -> None:
    rates = Rates()
    await record(tmp_path, rates)
    result = await rehearse(tmp_path, rates, **changed)
    assert result.verdict == "stale"
    assert result.attempts[0].why.startswith(step)
    assert shown in result.attempts[0].why
    assert rates.calls == 1


async def test_the_answers_of_another_model_are_stale(tmp_path: Path) -> None:
    await record(tmp_path, Rates())
    made = suite(tmp_path, Rates())
    squad = yaml.safe_load((tmp_path / "pair.yaml").read_text())
    squad["agents"]["bob"]["tier"] = "boss"
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(squad, sort_keys=False))
    made = load_suite(parse_file(str(made.file)), lambda path, tools: Squad.from_file(path, tools=[Rates().tool()]))
    result = await CaseRunner(made).offline(made.spec.cases[0])
    assert result.verdict == "stale"
    assert result.attempts[0].why.splitlines()[0].endswith("bob has another tier: worker -> boss")


class Asking(Rates):
    """A tool that takes a person's leave."""

    def tool(self) -> Tool:
        return replace(super().tool(), approval="ask")


async def test_the_question_of_a_tool_is_answered_by_the_case_and_recorded(tmp_path: Path) -> None:
    rates = Asking()
    expect = {"tools": [{"tool": "rate", "ok": False, "times": 1}]}
    case = {**CASE, "with": {"approvals": {"gate": "approve", "rate": "reject"}}, "expect": expect}
    assert (await record(tmp_path, rates, case)).verdict == "passed"
    assert (await rehearse(tmp_path, rates, case)).verdict == "passed"
    less = await rehearse(tmp_path, rates, case, each={"for_each": "${{ ['a'] }}"})
    assert less.attempts[0].why.startswith("1 of the recorded answers were not asked for, the first at each[b]/")
    other = {**case, "with": {"approvals": {"gate": "approve", "rate": "approve"}}}
    stale = (await rehearse(tmp_path, rates, other)).attempts[0]
    assert (stale.outcome, "'reject', and now it is 'approve'" in stale.why) == ("stale", True)


async def test_a_judge_whose_word_was_advice_fails_no_case_offline_either(tmp_path: Path) -> None:
    case = {**CASE, "expect": {"judge": [{"of": "price", "rubric": "Good."}]}}
    made = suite(tmp_path, Rates(), case, judge={"votes": 1})
    async with scripted(json.dumps({"why": "no", "score": 0.9}), json.dumps({"why": "no", "score": 0.1})) as votes:
        judge = Judge(JudgeSpec(), votes)
        await judge.calibrate([Label("x", "r", False)])
        runner = CaseRunner(made, RunOptions(manager=Answers(answer)), judge=judge)
        assert (await runner.live(made.spec.cases[0], record=True)).verdict == "passed"
    assert (await CaseRunner(made).offline(made.spec.cases[0])).verdict == "passed"


async def test_a_judge_that_answers_nonsense_says_nothing_of_the_squad(tmp_path: Path) -> None:
    case = {**CASE, "expect": {"judge": [{"of": "price", "rubric": "Good."}]}}
    made = suite(tmp_path, Rates(), case, judge={"votes": 1})
    judge = Judge(JudgeSpec(), Answers(lambda *_: '{"score": "very good"}'))
    runner = CaseRunner(made, RunOptions(manager=Answers(answer)), judge=judge)
    result = await runner.live(made.spec.cases[0], record=True)
    assert (result.verdict, result.recorded) == ("error", False)
    assert "output_schema" in result.attempts[0].why


async def test_no_further_run_begins_once_the_budget_is_spent(tmp_path: Path) -> None:
    made = suite(tmp_path, Rates(), {**CASE, "repeat": 5})
    result = await CaseRunner(made, RunOptions(manager=Answers(answer)), most=0.0001).live(made.spec.cases[0])
    assert (result.verdict, [one.outcome for one in result.attempts]) == ("error", ["passed", "passed", "error"])
    assert result.attempts[2].why == "not run, as 0.00014 USD of 0.0001 are spent"


async def test_a_run_that_waits_for_leave_is_recorded_as_that(tmp_path: Path) -> None:
    case = {**CASE, "with": {}, "expect": {"run": {"status": "waiting", "turns": 1}}}
    assert (await record(tmp_path, Asking(), case)).verdict == "passed"
    assert (await rehearse(tmp_path, Asking(), case)).verdict == "passed"


async def test_a_run_that_nobody_answered_takes_the_place_of_no_recording(tmp_path: Path) -> None:
    def down(agent: str, request: Request) -> Any:
        raise AllAttemptsFailed("nobody answered", [Overloaded("full")])

    await record(tmp_path, Rates())
    made = suite(tmp_path, Rates())
    before = made.recording(made.spec.cases[0]).read_bytes()
    result = await CaseRunner(made, RunOptions(manager=Answers(down))).live(made.spec.cases[0], record=True)
    assert (result.verdict, result.recorded) == ("error", False)
    assert made.recording(made.spec.cases[0]).read_bytes() == before


async def test_what_changes_no_request_is_not_stale(tmp_path: Path) -> None:
    rates = Rates()
    await record(tmp_path, rates)
    result = await rehearse(tmp_path, rates, price={"timeout": "5m", "retry": {"max_attempts": 2}})
    assert result.verdict == "passed"


async def test_an_expectation_that_does_not_hold_fails_the_rehearsal_too(tmp_path: Path) -> None:
    rates = Rates()
    await record(tmp_path, rates)
    case = {**CASE, "expect": {"run": {"turns": 3}, "files": {"other.md": {}}}}
    result = await rehearse(tmp_path, rates, case)
    assert result.verdict == "broken"
    assert [check.path[:2] for check in result.attempts[0].failed_checks] == [("run", "turns"), ("files", "other.md")]


async def test_a_persons_answer_is_the_cases_own(tmp_path: Path) -> None:
    rates = Rates()
    case = {**CASE, "with": {"approvals": {"gate": "reject"}}, "expect": {"run": {"status": "rejected"}}}
    assert (await record(tmp_path, rates, case)).verdict == "passed"
    assert (await rehearse(tmp_path, rates, case)).verdict == "passed"
    without = {**case, "with": {}}
    assert (await rehearse(tmp_path, rates, without)).verdict == "passed", "where it gives none, the recorded one holds"
    other = {**case, "with": {"approvals": {"gate": "approve"}}}
    assert (await rehearse(tmp_path, rates, other)).verdict == "stale", "no call behind it was recorded"


@pytest.mark.few(1)
@pytest.mark.parametrize("scripted", [{"returns": 7}, {"fails": "no rates today"}])
async def test_a_scripted_tool_does_no_work(tmp_path: Path, scripted: dict[str, Any]) -> None:
    rates = Rates()
    case = {**CASE, "with": {**CASE["with"], "tools": {"rate": scripted}}}
    case["expect"] = {"tools": [{"tool": "rate", "ok": "returns" in scripted}]}
    for result in (await record(tmp_path, rates, case), await rehearse(tmp_path, rates, case)):
        assert (result.verdict, rates.calls) == ("passed", 0)
        facts = result.attempts[0].facts
        assert facts is not None
        assert ("7" if "returns" in scripted else "no rates today") in facts.tools[0].result


async def test_a_run_that_no_provider_answers_is_an_error_and_no_failure(tmp_path: Path) -> None:
    def down(agent: str, request: Request) -> Any:
        raise AllAttemptsFailed("nobody answered", [Overloaded("full")])

    made = suite(tmp_path, Rates())
    result = await CaseRunner(made, RunOptions(manager=Answers(down)), repeat=3).live(made.spec.cases[0])
    assert (result.verdict, [one.outcome for one in result.attempts]) == ("error", ["error"] * 3)
    assert "no provider answered" in result.attempts[0].why


async def test_a_flaky_case_has_a_pass_rate_of_its_own(tmp_path: Path) -> None:
    runs = iter(range(100))

    def sometimes(agent: str, request: Request) -> Any:
        if "Price" in request.messages[-1].text:
            return "ann: 5" if next(runs) % 3 else "nothing"
        return answer(agent, request)

    case = {**CASE, "repeat": 3, "pass_rate": 0.6, "expect": {"tasks": {"price": {"output": {"contains": "5"}}}}}
    made = suite(tmp_path, Rates(), case)
    runner = CaseRunner(made, RunOptions(manager=Answers(sometimes)))
    flaky = await runner.live(made.spec.cases[0], record=True)
    assert (flaky.verdict, [one.outcome for one in flaky.attempts]) == ("flaky", ["failed", "passed", "passed"])
    assert (await rehearse(tmp_path, Rates(), case)).verdict == "passed", "the first run that passed was recorded"


@pytest.mark.parametrize("key", ["ann: 5", 'ab"c\\d', "schlüssel"])
async def test_a_recording_that_would_hold_a_key_is_not_written(tmp_path: Path, key: str) -> None:
    def leaking(agent: str, request: Request) -> Any:
        said = answer(agent, request)
        return f"{said} {json.dumps({'key': key})}" if isinstance(said, str) else said

    made = suite(tmp_path, Rates())
    runner = CaseRunner(made, RunOptions(manager=Answers(leaking)), secrets=[key])
    with pytest.raises(RecordingUnusable, match="value of a key"):
        await runner.live(made.spec.cases[0], record=True)
    assert not made.recording(made.spec.cases[0]).exists()


async def test_an_answer_that_was_edited_in_a_recording_is_told(tmp_path: Path) -> None:
    await record(tmp_path, Rates())
    file = tmp_path / "recordings" / "prices-tea.json"
    document = json.loads(file.read_text())
    key = next(iter(document["texts"]))
    for edited in ({**document, "texts": {**document["texts"], key: "Said by nobody."}}, {**document, "events": []}):
        file.write_text(json.dumps(edited))
        with pytest.raises(RecordingUnusable, match=r"was edited|no event"):
            await read_recording(file)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recording": 9}', '{"recording": 1, "texts": {"zz": "x"}}', "\0"])
async def test_a_file_that_is_no_recording_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(RecordingUnusable, match=r"x\.json"):
        await read_recording(file)


async def test_a_past_run_is_checked_by_the_same_expectations(tmp_path: Path) -> None:
    made, journal = suite(tmp_path, Rates()), MemoryJournal()
    async with open_run(
        made.squad,
        inputs={"idea": "tea"},
        manager=Answers(answer),
        journal=journal,
        run_id="past",
        ask=PeoplesAnswers(With(approvals={"gate": "approve"}), made.squad.outline()).ask(),
    ) as run:
        async for _ in run:
            pass
    result = await CaseRunner(made).past(made.spec.cases[0], journal, "past")
    assert result.verdict == "passed", [check.message for check in result.attempts[0].failed_checks]
    other = replace(made, squad=replace(made.squad, spec=made.squad.spec.model_copy(update={"name": "x"}))._resolved())
    with pytest.raises(RecordingUnusable, match="past is a run of 'pair'"):
        await CaseRunner(other).past(made.spec.cases[0], journal, "past")
    with pytest.raises(RunNotFound):
        await CaseRunner(made).past(made.spec.cases[0], journal, "other")


PYTHON = """\
def rate(of: {kind}) -> int:
    return 5
"""


async def test_a_scripted_tool_is_told_of_as_its_code_says_and_memory_begins_empty(tmp_path: Path) -> None:
    squad = {"name": "one", "memory": True, "tools": {"rate": {"python": "mine.py:rate"}}}
    squad["agents"] = {"ann": {"role": "Writes.", "tools": ["rate"]}}
    squad["tasks"] = {"price": {"agent": "ann", "description": "Price tea."}}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(squad, sort_keys=False))
    (tmp_path / "mine.py").write_text(PYTHON.format(kind="str"))
    case = {"name": "one", "with": {"tools": {"rate": {"returns": 7}}}, "expect": {"tools": [{"tool": "rate"}]}}
    (tmp_path / "one.test.yaml").write_text(yaml.safe_dump({"squad": "one.yaml", "cases": [case]}))

    def made() -> Suite:
        return load_suite(parse_file(str(tmp_path / "one.test.yaml")), lambda p, t: Squad.from_file(p, tools=t))

    manager = Answers(answer)
    runner = CaseRunner(made(), RunOptions(manager=manager, state=tmp_path / "state"))
    assert (await runner.live(made().spec.cases[0], record=True)).verdict == "passed"
    (shown,) = [tool for tool in manager.asked[0][1].tools if tool.name == "rate"]
    assert shown.parameters["properties"]["of"]["type"] == "string"
    assert not list(tmp_path.glob("state/memory.db*"))
    assert (await CaseRunner(made()).offline(made().spec.cases[0])).verdict == "passed"
    (tmp_path / "mine.py").write_text(PYTHON.format(kind="int"))
    assert (await CaseRunner(made()).offline(made().spec.cases[0])).verdict == "stale"
