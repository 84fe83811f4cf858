"""Decisions, memory, tools and settings, over the API and as pages: what is there, what is not, and no secret."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from agents.events import TurnEnded, TurnStarted
from agents.memory.records import RecordSource, made_record
from agents.memory.store import MemoryStore
from orchestrator.events import Event, RunFinished
from orchestrator.journal.protocols import RunManifest
from orchestrator.run.memory_setting import FILE
from orchestrator.server.decision_view import decision_of, turns_in
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.run_view import view_of
from orchestrator.server.settings_view import settings_shown
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from orchestrator.units import Unit
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Provider
from providers.client.manager import ProviderManager
from providers.events import AttemptEnded, RouteChosen, WaitingForProvider
from providers.messages import FinishReason, Usage
from providers.policy.model import Policy
from providers.routing.scores import Ordering
from tests.orchestrator.server.served import SECRET, Served, served

pytestmark = pytest.mark.anyio
HOSTILE = "<script>alert(1)</script>\u202e\ud800"
CANARY = "canary-in-an-address"
SQUAD = """
name: notes
agents: {ann: {persona: analyst, tools: [now]}}
tasks: {draft: {agent: ann, description: Write.}}
"""


def manager_of() -> ProviderManager:
    row = Model("m", context=8192, max_output=512)
    given = Provider("lab", "openai-chat", f"http://me:{CANARY}@lab.test/v1", "LAB_KEY", {"m": row})
    policy = Policy({"worker": ("lab/m",)}, ledger=f"redis://:{CANARY}@cache.test/0", last_resort=())
    return ProviderManager(
        [Candidate(given, row, key=CANARY)], policy, adapters={"openai-chat": OpenAIChat()}, rng=Random(1)
    )


def events() -> list[Event]:
    """Return a turn that went elsewhere after a failure, one that nobody answered, and one of another task."""
    contest = Ordering(
        "tier", "worker", ("lab/m", "far/m"), ("latency", "success"), (2.0, 1.0), ((1.0, 0.5), (0.2, 1.0))
    )
    route = RouteChosen(("lab/m", "far/m"), {"gone/m": f"its key is {SECRET}"}, contest._asdict())
    lost = AttemptEnded(1, "lab", "m", "failed", "BadReply", HOSTILE, 12.0, None, 1, Usage(3), None)
    answered = AttemptEnded(2, "far", "m", "ok", None, None, 1500.0, None, 2)
    ended = TurnEnded("ann", 1, "far", "m", Usage(5, output=5), 70, FinishReason.STOP)
    said = (TurnStarted("ann", 1), WaitingForProvider(9.0, "busy"), route, lost, answered, ended)
    first = [Event("r", Unit("draft", "S-1"), ("try-1",), 1, n, float(n), data) for n, data in enumerate(said, 1)]
    other = (TurnStarted(HOSTILE, 2), RouteChosen((), {"lab/m": "down"}))
    return first + [Event("r", Unit("tell"), ("try-1",), 2, n, float(n), data) for n, data in enumerate(other, 1)]


def test_a_turn_is_told_with_what_ordered_it_and_how_each_attempt_ended() -> None:
    turns = list(view_of("r", events()).turns.all.values())
    first, other = [decision_of(one, lambda text: text.replace(SECRET, "***")) for one in turns]
    assert (first.place, first.task, first.turn, first.agent) == ("draft[S-1]/try-1", "draft", 1, "ann")
    (route,) = first.routes
    assert route.candidates == ["lab/m", "far/m"]
    assert [(one.candidate, one.why) for one in route.refused] == [("gone/m", "its key is ***")]
    assert route.comparison is not None
    assert [(one.name, one.points) for one in route.comparison.factors] == [("latency", 2.0), ("success", 1.0)]
    assert [one.values for one in route.comparison.compared] == [[1.0, 0.5], [0.2, 1.0]]
    lost, answered = first.attempts
    assert (lost.outcome, lost.is_billed, lost.cost_usd, answered.candidate) == ("failed", True, None, "far/m#2")
    assert (first.answered_by, first.tokens, first.cost_usd) == ("far/m", 10, 0.00007)
    assert first.waits == ["for a provider, 7.0 s: busy"]
    assert (other.answered_by, other.routes[0].candidates) == (None, [])
    for part, number, found in (
        ("draft[S-1]", None, turns[:1]),
        ("", 2, turns[1:]),
        ("draft", 2, []),
        ("", None, turns),
    ):
        assert turns_in(turns, part, number) == found


def test_a_turn_that_is_begun_again_is_one_with_both_routes() -> None:
    told = events()
    again = told[6]._replace(seq=3, at=20.0), told[7]._replace(seq=4, at=21.0)
    turns = view_of("r", [*told, *again]).turns.all.values()
    assert [(one.number, len(decision_of(one, str).routes)) for one in turns] == [(1, 1), (2, 2)]


async def test_the_events_and_decisions_of_a_long_run_are_shown_a_page_at_a_time(tmp_path: Path) -> None:
    told = [
        Event("r", Unit(f"t{number}"), ("try-1",), 1, 1, float(number), TurnStarted("ann", 1)) for number in range(250)
    ]
    async with scripted() as manager, served(manager, tmp_path) as server:
        await server.state.journal.create("r", RunManifest("notes"), told)
        first, last = [(await server.http.get(f"/runs/r/events{query}")).text for query in ("", "?after=200")]
        assert "1 to 100 of 250" in first
        assert "events?after=100" in first
        assert "201 to 250 of 250" in last
        assert "Later" not in last
        assert (await server.http.get("/runs/none/events")).status_code == 404
        second, beyond = [(await server.http.get(f"/decisions/r?page={page}")).text for page in (2, 999)]
        for text, there, elsewhere in ((second, "t20/try-1", "t19/try-1"), (beyond, "t249/try-1", "t239/try-1")):
            assert there in text
            assert elsewhere not in text
        assert "page=12" in beyond
        await server.state.journal.append("r", [told[0]._replace(unit=Unit("new"), at=300.0)])
        shown = (await server.http.get("/api/decisions/r?offset=249&limit=200")).json()
        assert (shown["count"], [one["task"] for one in shown["decisions"]]) == (251, ["t249", "new"])
        assert len(shown["tasks"]) == 251


@pytest.mark.parametrize(
    ("query", "first", "last", "told"),
    [
        ("", "run-119", "run-070", "page 1 of 3"),
        ("?page=3", "run-019", "run-000", "page 3 of 3"),
        ("?page=99", "run-019", "run-000", "page 3 of 3"),
        ("?desc=0", "run-000", "run-049", "page 1 of 3"),
        ("?desc=0&page=3", "run-100", "run-119", "page 3 of 3"),
        ("?squad=b&page=2", "run-099", "run-001", "50 runs"),
        ("?state=done", "run-118", "run-002", ""),
        ("?state=done&desc=0&squad=a", "run-002", "run-118", ""),
        ("?sort=run&desc=1&page=2", "run-069", "run-020", "page 2 of 3"),
        ("?q=RUN-11", "run-119", "run-110", ""),
    ],
)
async def test_runs_are_listed_a_page_at_a_time(query: str, first: str, last: str, told: str, tmp_path: Path) -> None:
    ended = RunFinished("", "done", {}, {}, Usage(), 7, {}, False)
    async with scripted() as manager, served(manager, tmp_path) as server:
        for number in range(120):
            run = f"run-{number:03}"
            done = [Event(run, None, (), 0, 1, 1.0, ended)] if number % 4 == 2 else []
            await server.state.journal.create(run, RunManifest("ab"[number % 2 * (number < 100)]), done)
        text = (await server.http.get(f"/runs{query}")).text
    listed = list(dict.fromkeys(re.findall(r'href="/runs/(run-\d+)"', text)))
    assert (listed[0], listed[-1]) == (first, last)
    assert told.lower() in text.lower()


def remember(folder: Path) -> None:
    with MemoryStore.open(folder / FILE) as store:
        for number in range(30):
            store.remember([made_record(f"Foxes like tea, number {number}.", "notes/ann", "agent", 1.0 + number)], 1.0)
        source = RecordSource("agent", HOSTILE[:-1], "r")
        store.remember([made_record(f"A badger said {HOSTILE}", "talk", "untrusted", 99.0, source=source)], 1.0)


async def look(server: Served, path: str) -> str:
    """Return a page that is there and holds neither a secret nor markup of others."""
    answer = await server.http.get(path)
    assert answer.status_code == 200, path
    for text in (SECRET, CANARY, "<script>alert"):
        assert text not in answer.text, path
    return answer.text


async def test_they_are_shown_by_the_api_and_as_pages(tmp_path: Path) -> None:
    remember(tmp_path)
    squad = Squad.from_text(SQUAD, "notes.yaml")
    async with served(manager_of(), tmp_path, ClientKeys(tmp_path), [squad]) as server:
        await server.state.journal.create("r", RunManifest(HOSTILE), events())
        key = server.state.keys.make("web", 1.0) if server.state.keys else ""
        page = await look(server, "/decisions/r?part=draft")
        assert "no model answered" not in page
        assert "answered by <bdi>far/m</bdi>" in page
        assert "no model answered" in await look(server, "/decisions/r?page=999&turn=x")
        assert "No model was asked there" in await look(server, "/decisions/r?part=none&turn=7")
        assert 'href="/decisions/r"' in await look(server, "/decisions")
        told = (await server.http.get("/api/decisions/r", params={"limit": 1, "offset": 1})).json()
        assert (told["count"], [one["task"] for one in told["decisions"]], told["tasks"]) == (
            2,
            ["tell"],
            ["draft", "tell"],
        )
        assert (await server.http.get("/api/decisions/none")).status_code == 404
        assert (await server.http.get("/decisions/none")).status_code == 404
        assert "31 records." in await look(server, "/memory")
        assert "page=2" in await look(server, "/memory?scope=notes")
        assert "may be what others wrote" in await look(server, "/memory?search=badger")
        assert "has these words" in await look(server, "/memory?search=zebra")
        found = (await server.http.get("/api/memory", params={"search": "tea", "scope": "notes", "limit": 2})).json()
        assert [one["scope"] for one in found["records"]] == ["notes/ann"] * 2
        assert (await server.http.get("/api/memory", params={"offset": 30})).json()["records"][0]["text"].endswith("0.")
        tools = (await server.http.get("/api/tools", params={"squad": "notes"})).json()["tools"]
        assert {"name": "now", "from": "built in", "risk": "read_only"}.items() <= {
            **tools[[t["name"] for t in tools].index("now")]
        }.items()
        assert (await server.http.get("/api/tools", params={"squad": "nots"})).json()["error"]["code"] == "no_squad"
        page = await look(server, "/settings?squad=notes")
        assert "redis://***@cache.test/0" in page
        assert "http://***@lab.test/v1" in page
        assert key not in page
        shown = (await server.http.get("/api/settings")).text
        assert CANARY not in shown


async def test_nothing_there_is_said_in_words(tmp_path: Path) -> None:
    manager = ProviderManager([], Policy({"worker": ()}), adapters={})
    async with served(manager, tmp_path) as server:
        assert "No run is recorded yet" in await look(server, "/decisions")
        assert "Nothing is remembered here" in await look(server, "/memory?search=tea")
        settings = await look(server, "/settings?squad=none")
        assert "No provider is set up" in settings
        assert "Clients need no key" in settings
        assert (await server.http.get("/api/memory")).json() == {"scopes": [], "count": 0, "records": []}
        (tmp_path / FILE).write_bytes(b"no database" * 100)
        assert "cannot be used" in await look(server, "/memory")
        assert (await server.http.get("/api/memory")).json()["error"]["code"] == "memory_unusable"


async def test_a_file_of_keys_that_cannot_be_read_is_told_among_the_settings(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    keys.path.write_text("{")
    async with served(manager_of(), tmp_path, keys) as server:
        assert "gateway-keys.json holds no keys" in await look(server, "/settings")
        shown = (await server.http.get("/api/settings")).json()
        assert (shown["keys"], "remove it to start again" in shown["keys_problem"]) == ([], True)


async def test_a_secret_of_the_environment_is_masked_wherever_settings_hold_it(tmp_path: Path) -> None:
    async with served(manager_of(), tmp_path) as server:
        state = replace(server.state, mask=lambda text: text.replace("lab", "***"))
    shown = settings_shown(state)
    assert shown.policy["tiers"] == {"worker": ["***/m"]}
