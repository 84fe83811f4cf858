"""A task's context within its budget: long outputs are shortened for it, each in a step of its own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given as of
from hypothesis import settings
from hypothesis import strategies as st

from agents.events import ContextSummarised
from agents.run_context import RunContext
from agents.summariser import Summariser
from orchestrator import PlanError, Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.synthesis import LEAST, within
from providers.errors import ServerFault
from providers.messages import Needs, Request, estimate_tokens
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio
LONG = "Kafka stays. " + "words of no bearing " * 200
SHORT = "A short text."


def is_a_summary(request: Request) -> bool:
    return "You shorten a text" in request.messages[0].text


def writing(summary: Any = "Kafka, in short.") -> Answers:
    def answer(_: str, request: Request) -> Any:
        if is_a_summary(request):
            if isinstance(summary, Exception):
                raise summary
            return summary
        return SHORT if "Write a note." in request.messages[-1].text else LONG

    return Answers(answer)


TASKS = {
    "one": "Write a lot.",
    "two": "Write a lot more.",
    "note": "Write a note.",
    "last": {
        "agent": "bob",
        "description": "Put it together.",
        "needs": ["one", "two", "note"],
        "context_max_tokens": 400,
    },
}


def asked_last(manager: Answers) -> str:
    return next(r.messages[-1].text for _, r in manager.asked if "Put it together." in r.messages[-1].text[-60:])


async def test_long_outputs_are_shortened_for_the_task_that_reads_them() -> None:
    manager, journal = writing(), MemoryJournal()
    result, events = await run(squad(TASKS), manager, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    words = asked_last(manager)
    assert words.count("Kafka, in short.") == 2
    assert SHORT in words
    assert LONG not in words
    made = [event for event in events if isinstance(event.data, ContextSummarised)]
    assert sorted(event.path for event in made) == ["last/try-1/context/one", "last/try-1/context/two"]
    assert [event.data.failed for event in made] == ["", ""]
    told = [request.messages[-1].text for _, request in manager.asked if is_a_summary(request)]
    assert all("Put it together." in text and LONG in text for text in told)
    assert result.cost == 10 * len(manager.asked)
    assert [ended.output for ended in of_type(events, "task.ended")].count(LONG) == 3  # the record keeps all of it
    assert (await replay(journal, "r")).is_equal


async def test_texts_are_shortened_at_the_same_time() -> None:
    manager, both = writing(), anyio.Event()
    answer = manager.answer

    async def together(agent: str, request: Request) -> Any:
        if is_a_summary(request):
            if manager.at_work == 2:
                both.set()
            await both.wait()
        return answer(agent, request)

    manager.answer = together
    result, _ = await run(squad(TASKS), manager)
    assert result.status == "done"


@pytest.mark.parametrize("summary", ["", "words " * 900, ServerFault("down")], ids=["empty", "long", "nobody"])
async def test_what_cannot_be_shortened_goes_without_its_middle(summary: Any) -> None:
    manager, journal = writing(summary), MemoryJournal()
    result, events = await run(squad(TASKS), manager, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    words = asked_last(manager)
    assert words.count("the middle was left out here") == 2
    assert SHORT in words
    assert all(event.data.failed for event in events if isinstance(event.data, ContextSummarised))
    assert (await replay(journal, "r")).is_equal


async def test_without_a_budget_and_within_it_outputs_go_along_whole() -> None:
    for most in (None, 4000):
        task = {**TASKS["last"], "context_max_tokens": most}  # type: ignore[dict-item]
        manager = writing()
        await run(squad({**TASKS, "last": task}), manager)
        assert asked_last(manager).count(LONG) == 2
        assert len(manager.asked) == 4


class Sized(Answers):
    """A manager that knows how much its models take: of each agent so many tokens."""

    def __init__(self, answer: Any, **rooms: int) -> None:
        super().__init__(answer)
        self.rooms = rooms

    def room(self, request: Request) -> int | None:
        return self.rooms.get(request.needs.agent or "", 100_000)


VAST = "Kafka stays. " + "words of no bearing " * 1200


def vast(_: str, request: Request) -> str:
    if is_a_summary(request):
        return "Kafka, in short."
    return VAST if "Write a lot" in request.messages[-1].text else SHORT


@pytest.mark.parametrize(
    ("rooms", "talks", "shortened"),
    [({}, False, 0), ({"bob": 12_000}, False, 2), ({"ann": 12_000}, False, 0), ({"bob": 12_000}, True, 2)],
    ids=["all fits", "too long for who does it", "too long for another", "too long for one of a conversation"],
)
async def test_a_context_that_nears_what_the_model_takes_is_shortened_by_itself(
    rooms: dict[str, int], talks: bool, shortened: int
) -> None:
    doer = {"conversation": "c"} if talks else {"agent": "bob"}
    last = {**doer, "description": "Put it together.", "needs": ["one", "two", "note"]}
    talk = {"participants": ["ann", "bob"], "terminate": {"max_turns": 2}}
    more = {"conversations": {"c": talk}} if talks else {}
    manager, journal = Sized(vast, **rooms), MemoryJournal()
    result, events = await run(squad({**TASKS, "last": last}, **more), manager, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    assert sum(isinstance(event.data, ContextSummarised) for event in events) == shortened
    assert max(request.input_tokens for _, request in manager.asked if not is_a_summary(request)) > 4000 or shortened
    assert (await replay(journal, "r")).is_equal


async def test_the_squad_may_say_it_for_all_tasks_conversations_too() -> None:
    talk = {"conversation": "c", "description": "Put it together.", "needs": ["one"]}
    given = squad(
        {"one": "Write a lot.", "t": talk},
        conversations={"c": {"participants": ["ann", "bob"], "terminate": {"max_turns": 2}}},
        defaults={"context": {"max_tokens": 300}},
    )
    manager = writing()
    result, _ = await run(given, manager)
    assert result.status == "done", result.errors
    assert sum(is_a_summary(request) for _, request in manager.asked) == 1
    assert all(LONG not in r.messages[1].text for _, r in manager.asked if len(r.messages) > 2)


def test_a_budget_that_says_nothing_of_several_texts_is_a_mistake() -> None:
    with pytest.raises(PlanError, match="context_max_tokens"):
        Squad.from_mapping({**_plain(), "tasks": {"a": {"agent": "x", "description": "d", "context_max_tokens": 5}}})


def _plain() -> dict[str, Any]:
    return {"version": 1, "name": "s", "agents": {"x": {"instructions": "Help."}}}


@of(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=3000), max_size=6), st.integers(300, 900))
@settings(max_examples=40, deadline=None)
def test_what_is_read_is_within_the_budget(context: dict[str, str], most: int) -> None:
    async def read() -> Any:
        who = Summariser("ann", Needs(), Answers(lambda _, request: request.messages[-1].text[-900:]))
        return await within(context, most, "The task.", who, RunContext())

    made = anyio.run(read)
    assert made.keys() == context.keys()
    assert sum(map(estimate_tokens, made.values())) <= max(most, LEAST * len(context))
