"""What pages say at a glance: why a run failed, whom it awaits, what has no price, which of many providers matter."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from orchestrator.events import Event, TaskEnded, UserSaid
from orchestrator.server.pages import words
from orchestrator.server.pages.graph_svg import TITLE_W, fitted
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.pages.providers import badge_of, providers_values, sentence
from orchestrator.server.provider_view import QuotaShown, providers_status
from orchestrator.server.views.talk import TalksView
from orchestrator.server.views.tasks import TaskView, as_it_stands
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from providers.client.control_log import ControlFollower, ControlLog
from providers.errors import BadRequest
from providers.routing.control import ControlChange
from providers.routing.traffic import AttemptSeen
from tests.orchestrator.server.served import asking_at, served
from tests.orchestrator.server.test_api import until_state

pytestmark = pytest.mark.anyio
TALK = """
name: talk
agents: {ann: {persona: analyst}}
conversations: {meeting: {pattern: round_robin, participants: [human, ann], terminate: {max_turns: 2}}}
tasks: {agree: {conversation: meeting, description: Agree.}}
"""
ONE = "name: one\nagents: {ann: {persona: analyst}}\ntasks: {draft: {agent: ann, description: Write.}}\n"


def text_of(page: str) -> str:
    """Return the words of a page without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).split())


@pytest.mark.parametrize(
    ("micro", "unknown", "said"), [(20_000, 0, "$0.02"), (20_000, 3, "$0.02 + ?"), (0, 3, "unknown"), (0, 0, "$0.00")]
)
def test_a_cost_says_what_of_it_is_unknown(micro: int, unknown: int, said: str) -> None:
    assert words.cost(micro, unknown) == said


def test_instants_are_written_in_one_way_and_no_longer_than_they_need() -> None:
    assert words.spoken("used up until 2026-11-30T16:26:44Z, then") == "used up until 2026-11-30 16:26:44 UTC, then"
    noon = 1_796_040_000.0
    assert words.moment_near(noon + 5, noon) == "12:00:05 UTC"
    assert words.moment_near(noon + 86_400, noon) == "2026-12-01 12:00:00 UTC"


def test_a_name_is_cut_where_its_box_ends() -> None:
    assert fitted("review", TITLE_W) == "review"
    assert len(fitted("WWWW" * 20, TITLE_W)) < len(fitted("iiii" * 20, TITLE_W)) <= 40


async def test_a_run_that_awaits_a_persons_words_says_so_of_the_run_and_its_task(tmp_path: Path) -> None:
    squad = Squad.from_text(TALK, "talk.yaml")
    async with scripted() as manager, served(manager, tmp_path, None, [squad]) as server:
        run = (await server.http.post("/api/runs", json={"squad": "talk"})).json()["run_id"]
        waiting = await until_state(server, run, "waiting")
        assert [task["status"] for task in waiting["tasks"]] == ["gate"]
        assert "awaiting a person" in text_of((await server.http.get("/")).text)
        assert "awaiting a person" in text_of((await server.http.get("/runs")).text)


def test_an_answer_that_was_stopped_says_so() -> None:
    talks = TalksView()
    said = (UserSaid(1, "ann", "Hi"), TaskEnded("say-1", "cancelled"))
    for number, data in enumerate(said, 1):
        getattr(talks, talks.TAKES[type(data)])(Event("r", None, (), 0, number, float(number), data))
    assert [one.error for one in talks.chat[1]] == ["", "the answer was stopped"]


def test_what_was_to_come_in_a_run_that_is_cancelled_for_good_is_cancelled() -> None:
    tasks = {"a": TaskView("a", "ok"), "b": TaskView("b", "gate"), "c": TaskView("c")}
    assert [task.status for task in as_it_stands(tasks, "cancelled").values()] == ["ok", "cancelled", "cancelled"]
    assert [task.status for task in as_it_stands(tasks, "waiting").values()] == ["ok", "gate", "waiting"]


async def test_a_failed_run_says_first_what_failed_and_why(tmp_path: Path) -> None:
    squad = Squad.from_text(ONE, "one.yaml")
    async with (
        scripted(BadRequest("there is no such thing")) as manager,
        served(manager, tmp_path, None, [squad]) as server,
    ):
        run = (await server.http.post("/api/runs", json={"squad": "one"})).json()["run_id"]
        await until_state(server, run, "failed")
        page = (await server.http.get(f"/runs/{run}")).text
        summary = page[page.index('id="summary"') : page.index('id="questions"')]
        assert "there is no such thing" in summary
        assert "?task=draft" in summary


async def test_of_many_providers_those_that_tell_nothing_are_folded_away(tmp_path: Path) -> None:
    async with (
        asking_at(*(["http://127.0.0.1:9/v1"] * 20)) as manager,
        served(manager, tmp_path) as server,
    ):
        values = await providers_values(PageRequest(state=server.state, role="viewer"))
        assert (len(values["cards"]), len(values["idle"])) == (20, 0), "nothing was asked: all of them are shown"
        for name in ("p7/m", "p3/m"):
            manager.traffic.saw(AttemptSeen(manager.clock(), name, "ok", 0.1))
        values = await providers_values(PageRequest(state=server.state, role="viewer"))
        assert sorted(card.shown.name for card in values["cards"]) == ["p3", "p7"]
        assert "18 more can be asked" in (await server.http.get("/providers")).text


async def test_a_provider_whose_limit_leaves_no_room_is_not_told_as_in_use(tmp_path: Path) -> None:
    async with (
        asking_at("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1") as manager,
        served(manager, tmp_path) as server,
    ):
        status = await providers_status(server.state)
        assert sentence(status) == "All 2 models can be asked now."
        spent = QuotaShown(label="30 requests in 1 min", amount=30, used=30, left=0, resets_at=None)
        status.providers[0].endpoints[0].quotas = [spent]
        assert [badge_of(one) for one in status.providers] == [("waiting", "at its limit"), ("ok", "in use")]
        assert sentence(status) == "1 of 2 models can be asked now: p0 is at its limit."


async def test_of_many_models_that_cannot_be_asked_now_names_some_and_leads_to_all(tmp_path: Path) -> None:
    async with (
        asking_at(*(["http://127.0.0.1:9/v1"] * 20)) as manager,
        served(manager, tmp_path) as server,
    ):
        manager.follower = ControlFollower(ControlLog(tmp_path))
        pause = ControlChange(pause=tuple(f"p{n}" for n in range(20)))  # as another process sets it
        made = partial(pause.over, reason="x", by="ann", now=manager.clock())
        ControlLog(tmp_path).change(0, made, by="ann", reason="x", now=manager.clock())
        shown = text_of((await server.http.get("/")).text)
        assert "20 models cannot be asked" in shown
        assert "And 8 more" in shown
        assert (
            "p0 is paused, p1 is paused, p2 is paused, p3 is paused, and 16 more"
            in (await server.http.get("/providers")).text
        )
