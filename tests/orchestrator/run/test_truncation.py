"""Texts that a model did not finish are named: in the task's end, in the run's, and after a resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import to_json
from orchestrator.events import CutText
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.fingerprint import parts_of
from orchestrator.rerun.replay import replay
from orchestrator.runtime import resume_run
from providers.messages import FinishReason, Request, Response, Usage, assistant
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio

LENGTH, FILTER = FinishReason.LENGTH, FinishReason.CONTENT_FILTER


def cut(text: str = "half a", finish: FinishReason = LENGTH) -> Response:
    return Response(assistant(text), finish, Usage(10, output=5), "fake", "fake", 10)


def where(word: str, made: Response) -> Callable[[str, Request], Any]:
    """Answer what asks for `word` with `made`, anything else whole."""
    return lambda agent, request: made if word in request.messages[-1].text else f"{agent}: done"


@pytest.mark.parametrize("finish", [LENGTH, FILTER])
async def test_a_cut_text_is_named_in_the_end_of_its_task_and_of_the_run(finish: FinishReason) -> None:
    made = cut(finish=finish)
    result, events = await run(squad({"a": "long", "b": "short"}), Answers(where("long", made)))
    expected = (CutText("", finish.value, 5),)  # type: ignore[arg-type]  # the two words are the same
    assert {e.task: e.truncated for e in of_type(events, "task.ended")} == {"a": expected, "b": ()}
    assert result.truncated == {"a": expected}
    assert to_json(events[-1])["truncated"] == {"a": [{"place": "", "cause": finish.value, "tokens": 5}]}


async def test_steps_elements_and_utterances_are_each_named() -> None:
    tasks = {
        "s": {"steps": [{"id": one, "agent": "ann", "description": one} for one in ("outline", "long")]},
        "e": {
            "agent": "ann",
            "description": "${{ item }}",
            "for_each": "${{ ['x', 'long', 'y'] }}",
            "key": "${{ item }}",
        },
        "c": {"conversation": "talk", "description": "Talk."},
    }
    talk = {"participants": ["ann", "bob"], "independent_first_round": True, "terminate": {"max_turns": 4}}
    spoken = []

    def answer(agent: str, request: Request) -> Any:
        words = request.messages[-1].text
        if "your turn" in words:
            spoken.append(agent)
            return cut("I say: and", FILTER) if agent == "bob" else f"word {len(spoken)}"
        return cut() if "long" in words else "done"

    result, _ = await run(squad(tasks, conversations={"talk": talk}), Answers(answer))
    assert result.truncated == {
        "s": (CutText("long", "length", 5),),
        "e": (CutText("long", "length", 5),),
        "c": (CutText("round-1/bob", "content_filter", 5), CutText("round-2/bob", "content_filter", 5)),
    }


async def test_a_resumed_run_and_a_replay_know_what_was_cut_before() -> None:
    journal = MemoryJournal()
    tasks = {"a": "long", "ok": {"needs": ["a"], "approval": {"prompt": "Good?"}}}
    first, _ = await run(squad(tasks), Answers(where("long", cut())), journal=journal, run_id="r")
    assert first.status == "waiting"
    async with resume_run(squad(tasks), "r", journal=journal, manager=Answers()) as again:
        _ = [event async for event in again]
    assert again.result.truncated == first.truncated == {"a": (CutText("", "length", 5),)}
    assert (await replay(journal, "r", against=squad(tasks))).is_equal


async def test_a_file_is_written_without_the_fence_around_it_and_the_output_stays(tmp_path: Path) -> None:
    said = "```markdown\n# Title\n```"
    task = {"agent": "ann", "description": "x", "output_file": "a.md"}
    result, _ = await run(
        squad({"a": task}, outputs={"a": "${{ tasks.a.output }}"}), Answers(lambda *_: said), out=tmp_path
    )
    assert (tmp_path / "a.md").read_text() == "# Title"
    assert result.outputs == {"a": said}


async def test_an_agent_s_answers_may_be_given_more_room() -> None:
    manager = Answers()
    persona = {"name": "Tester", "role": "Answers."}
    given = squad({"a": "x"}, agents="", people={"ann": {"persona": persona, "max_output_tokens": 9000}})
    await run(given, manager)
    assert manager.asked[0][1].max_output_tokens == 9000
    plain = squad({"a": "x"}, agents="", people={"ann": {"persona": persona}})
    assert parts_of(plain.plan())["agent ann"] != parts_of(given.plan())["agent ann"]
