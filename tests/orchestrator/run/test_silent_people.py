"""A person who takes part in a conversation and does not speak in time: the turn is passed over, or all ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator import PlanError, Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question
from tests.event_loops import VIRTUAL
from tests.orchestrator.people import PERSONA, begin, cut, go_on, never
from tests.orchestrator.squads import Answers, of_type, squad

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)]
OPTIONS: dict[str, Any] = {"clock": anyio.current_time}
HOUR = 3600


def given(on_timeout: str, **more: Any) -> Squad:
    talk = {
        "participants": ["ann", "human"],
        "moderator": "bob",
        "terminate": {"max_turns": 4},
        "human": {"timeout": "1h", "on_timeout": on_timeout},
        **more,
    }
    people = {name: {"persona": PERSONA} for name in ("ann", "bob")}
    return squad({"t": {"conversation": "m", "description": "x"}}, people=people, conversations={"m": talk})


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("on_timeout", "spoke", "kind"),
    [
        ("skip", ["ann", "human", "ann", "human", "bob"], "max_turns"),
        ("end", ["ann", "bob"], "no_reply"),
        ("fail", ["ann"], ""),
    ],
)
@pytest.mark.parametrize("how", ["waits", "killed", "lies"])
async def test_what_happens_when_the_time_is_up(on_timeout: str, spoke: list[str], kind: str, how: str) -> None:
    journal, made, began = MemoryJournal(), given(on_timeout), anyio.current_time()
    if how == "waits":
        result = await begin(made, journal, Answers(), ask=never, **OPTIONS)
    else:
        await cut(made, journal, Answers(), "gate.opened", ask=never, **OPTIONS)
        await anyio.sleep(HOUR / 2 if how == "killed" else 2 * HOUR)
        result = await go_on(made, journal, Answers(), ask=never, **OPTIONS)
    events = list(await journal.events("r"))
    assert [one.speaker for one in of_type(events, "message.spoken")] == spoke
    assert [one.kind for one in of_type(events, "conversation.ended")] == ([kind] if kind else [])
    [ended] = of_type(events, "task.ended")
    assert (result.status, ended.error_kind) == (("failed", "NoReply") if on_timeout == "fail" else ("done", None))
    assert {(one.choice, one.by) for one in of_type(events, "gate.answered")} == {(on_timeout, "timeout")}
    waited = anyio.current_time() - began
    assert waited == pytest.approx(HOUR * spoke.count("human") or HOUR) or how == "lies"
    assert (await replay(journal, "r")).is_equal


async def test_words_that_came_in_time_count_and_where_nobody_can_be_asked_the_run_waits() -> None:
    journal, made = MemoryJournal(), given("fail", terminate={"max_turns": 2})
    assert (await begin(made, journal, Answers(), **OPTIONS)).status == "waiting"
    await answer_question(journal, "r", "t", "say", "I am here.")
    await anyio.sleep(5 * HOUR)
    assert (await go_on(made, journal, Answers(), **OPTIONS)).status == "done"


async def test_who_says_nothing_at_all_fails_the_task() -> None:
    journal, made = MemoryJournal(), given("end", participants=["human", "ann"])
    result = await begin(made, journal, Answers(), ask=never, **OPTIONS)
    [ended] = of_type(list(await journal.events("r")), "task.ended")
    assert (result.status, ended.error) == ("failed", "no person replied in m within 3600 s")


async def test_a_conversation_without_a_person_waits_for_none() -> None:
    with pytest.raises(PlanError, match="no person takes part"):
        given("skip", participants=["ann", "bob"], moderator=None)
