"""Guardrails of a squad's agents: in runs, with people and judges, on resume, in replays, and wrong ones in a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator import GateAnswered, GateOpened, PlanError
from orchestrator.cli.commands.explain import explanation
from orchestrator.events import to_json
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import resume_run
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio
PERSON = {"name": "T", "role": "r", "tier": "worker"}


def guarded(*output: dict[str, Any], **more: Any) -> Any:
    people = {"ann": {"persona": PERSON, "guardrails": {"output": list(output), **more.pop("sides", {})}}}
    task = {"agent": "ann", "description": "Write.", **more.pop("task", {})}
    return squad({"a": task}, people={**people, **more.pop("people", {})}, **more)


def saying(*texts: str, judge: tuple[bool, ...] = ()) -> Answers:
    said, verdicts = iter(texts), iter(judge)

    def answer(agent: str, request: Any) -> str:
        return json.dumps({"passes": next(verdicts), "why": "too dull"}) if agent == "judge" else next(said)

    return Answers(answer)


async def test_an_answer_that_does_not_pass_fails_its_task_and_is_told() -> None:
    journal = MemoryJournal()
    rail = {"regex": "(?i)password", "message": "it tells a password"}
    result, events = await run(guarded(rail), saying("The password is x"), journal=journal, run_id="r")
    [ended] = of_type(events, "task.ended")
    assert (result.status, ended.status, ended.error_kind) == ("failed", "failed", "GuardrailFailed")
    assert ended.error == "ann: its answer did not pass the guardrail regex: it tells a password"
    [checked] = of_type(events, "guardrail.checked")
    assert (checked.turn, checked.side, checked.check, checked.passed, checked.on_fail) == (
        *(1, "output", "regex", False, "block"),
    )
    lines = list(explanation([to_json(event) for event in events], "a", None))
    assert "  guardrail of its output: regex: block: it tells a password" in lines
    assert (await replay(journal, "r")).is_equal


async def test_it_is_sent_back_within_the_work_and_tried_again_by_the_task() -> None:
    journal = MemoryJournal()
    task = {"retry": {"max_attempts": 2, "on": ["invalid_output"]}}
    given = guarded({"max_words": 1, "on_fail": "retry"}, {"forbid": ["no"]}, task=task)
    result, events = await run(given, saying("a b", "no", "c d", "yes"), journal=journal, run_id="r")
    assert (result.status, result.outputs or "done") == ("done", "done")
    assert [(one.check, one.passed) for one in of_type(events, "guardrail.checked")] == [
        *(("max_words", False), ("forbid", True), ("max_words", True), ("forbid", False)),
        *(("max_words", False), ("forbid", True), ("max_words", True), ("forbid", True)),
    ]
    assert len(of_type(events, "task.retried")) == 1
    assert (await replay(journal, "r")).is_equal


async def test_one_agent_judges_a_text_by_two_rubrics() -> None:
    journal = MemoryJournal()
    rails = ({"agent": "judge", "rubric": rubric, "on_fail": "retry"} for rubric in ("It is short.", "It is kind."))
    given = guarded(*rails, people={"judge": {"persona": PERSON}})
    answers = saying("a", "b", judge=(True, False, True, True))
    result, events = await run(given, answers, journal=journal, run_id="r")
    assert result.status == "done"
    assert [one.passed for one in of_type(events, "guardrail.checked")] == [True, False, True, True]
    assert (await replay(journal, "r")).is_equal


@pytest.mark.long
@pytest.mark.parametrize("choice", ["approve", "reject"])
async def test_a_person_decides_also_days_later(choice: str) -> None:
    journal, given = MemoryJournal(), guarded({"forbid": ["refund"], "on_fail": "escalate"})
    result, events = await run(given, saying("We refund it."), journal=journal, run_id="r")
    [gate] = of_type(events, "gate.opened")
    assert result.status == "waiting"
    assert gate.prompt == "Let the answer of ann pass? The guardrail forbid says: it says 'refund', which it may not"
    assert (gate.name, gate.shown["text"]) == ("a/try-1/output-1-checked", "We refund it.")

    async def answer(asked: GateOpened) -> GateAnswered:
        return GateAnswered(asked.name, choice, "", "test")

    manager = saying()
    async with resume_run(given, "r", journal=journal, manager=manager, ask=answer) as opened:
        async for _ in opened:
            pass
    assert opened.result.status == ("done" if choice == "approve" else "failed")
    assert manager.asked == []
    assert (await replay(journal, "r")).is_equal


async def test_another_agent_judges_and_its_calls_are_recorded_and_counted() -> None:
    journal = MemoryJournal()
    rail = {"agent": "judge", "rubric": "It is lively.", "on_fail": "retry"}
    people = {"judge": {"persona": PERSON, "budget": {"max_turns": 2}}}
    given = guarded(rail, people=people)
    manager = saying("Dull.", "Wow!", judge=(False, True))
    result, events = await run(given, manager, journal=journal, run_id="r")
    assert result.status == "done"
    assert [agent for agent, _ in manager.asked] == ["ann", "judge", "ann", "judge"]
    assert [(one.check, one.passed, one.why) for one in of_type(events, "guardrail.checked")] == [
        ("agent judge", False, "too dull"),
        ("agent judge", True, ""),
    ]
    assert result.cost == 40
    assert (await replay(journal, "r")).is_equal


async def test_each_utterance_of_a_conversation_and_each_brief_is_checked() -> None:
    rails = {"input": [{"regex": r"\d{16}", "on_fail": "block"}], "output": [{"max_words": 3}]}
    people = {"ann": {"persona": PERSON, "guardrails": rails}, "bob": {"persona": PERSON}}
    talk = {"pattern": "round_robin", "participants": ["ann", "bob"], "terminate": {"max_turns": 3}}
    pay = {"agent": "ann", "description": "Pay ${{ inputs.n }}"}
    given = squad(
        {
            "t": {"conversation": "c", "description": "Talk."},
            "u": pay,
        },
        people=people,
        conversations={"c": talk},
        inputs={"n": {"type": "string"}},
    )
    manager = Answers()
    result, events = await run(given, manager, inputs={"n": "1234567812345678"})
    ends = {ended.task: (ended.status, ended.error_kind) for ended in of_type(events, "task.ended")}
    assert ends == {"t": ("ok", None), "u": ("failed", "GuardrailFailed")}
    assert len(of_type(events, "guardrail.checked")) == 2 * 2 + 1
    assert len(manager.asked) == 3
    assert result.status == "failed"


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        ({"on_fail": "block"}, "one-of", "this one has none of them"),
        ({"regex": "a", "max_words": 3}, "one-of", "this one has regex and max_words"),
        ({"regex": "("}, "invalid-value", "the pattern cannot be searched for"),
        ({"schema": {"type": "objec"}}, "bad-schema", "objec"),
        ({"agent": "nobody", "rubric": "r"}, "unknown-agent", "nobody"),
        ({"agent": "ann", "rubric": "r"}, "cycle", "the agent 'ann' judges itself"),
        ({"agent": "bob"}, "missing-field", "`agent` and `rubric` go together"),
        ({"max_words": 3, "must": "match"}, "misplaced-field", "`must` belongs to `regex`"),
        ({"max_words": 0}, "out-of-range", "max_words"),
        ({"pattern": "x"}, "unknown-field", "pattern"),
    ],
)
def test_wrong_ones_are_told_before_a_run(output: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        guarded(output, people={"bob": {"persona": PERSON}}).plan()
    found = [(one.code, one.message) for one in caught.value.problems if one.severity == "error"]
    assert [one for one, _ in found] == [code]
    assert words in found[0][1]


def test_what_an_agent_is_told_cannot_be_sent_back() -> None:
    with pytest.raises(PlanError, match="an input cannot be retried, only an answer"):
        guarded({"max_words": 3}, sides={"input": [{"max_words": 3, "on_fail": "retry"}]}).plan()


async def test_a_task_and_a_step_have_their_own_beside_the_agent_s() -> None:
    people = {"ann": {"persona": PERSON, "guardrails": {"output": [{"max_words": 9}]}}, "judge": {"persona": PERSON}}
    strict = {"output": [{"agent": "judge", "rubric": "Kind."}]}
    steps = [{"id": "s", "agent": "ann", "description": "S", "guardrails": {"input": [{"forbid": ["eve"]}]}}]
    tasks = {"a": {"agent": "ann", "description": "A", "guardrails": strict}, "b": {"steps": steps}, "c": "C"}
    journal = MemoryJournal()
    given = squad(tasks, people=people)
    result, events = await run(given, saying(*"xyz", judge=(True,)), journal=journal, run_id="r")
    assert result.status == "done"
    checked = [(event.unit.task, event.data.check) for event in events if event.type == "guardrail.checked"]
    assert sorted(checked) == [
        *(("a", "agent judge"), ("a", "max_words")),
        *(("b", "forbid"), ("b", "max_words")),
        ("c", "max_words"),
    ]
    assert (await replay(journal, "r")).is_equal
    assert [one.code for one in given.warnings] == []


def test_a_conversation_has_none() -> None:
    talk = {"pattern": "round_robin", "participants": ["ann", "bob"], "terminate": {"max_turns": 2}}
    task = {"conversation": "c", "description": "T", "guardrails": {"output": [{"max_words": 1}]}}
    with pytest.raises(PlanError, match="give them to the agents that take part"):
        squad({"t": task}, conversations={"c": talk}).plan()
