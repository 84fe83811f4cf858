"""A routing file that changes while a manager answers: taken whole before the next turn, or not at all."""

from __future__ import annotations

import pytest

from agents.events import TurnEnded
from orchestrator.environment import environment_of
from orchestrator.events import GateAnswered, GateOpened, RoutingReread
from orchestrator.hot_reload import HotReload
from orchestrator.runtime import run_squad
from orchestrator.squad.load import Squad
from orchestrator.squad.routing import load_routing
from providers.client.manager import open_manager
from providers.errors import RoutingError
from providers.messages import Request, user
from providers.stub.scripted import Scripted, say

pytestmark = pytest.mark.anyio
ROUTING = """\
tiers: {{worker: [lab/{model}]}}
providers:
  lab:
    dialect: openai-chat
    base_url: {url}
    models: {{one: {{context: 9000, max_output: 900}}, two: {{context: 9000, max_output: 900}}}}
"""
ASK = Request((user("hi"),))


async def test_a_change_holds_from_the_next_turn_on_and_a_mistake_leaves_the_old_one(tmp_path):
    file, seen = tmp_path / "agent_routing.yaml", []

    def write(model: str) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text(ROUTING.format(model=model, url="http://127.0.0.1:9/v1"))
        fresh.replace(file)

    async def asked() -> str:
        return (await manager.complete(ASK, emit=seen.append)).model

    def told() -> list[RoutingReread]:
        return [event for event in seen if isinstance(event, RoutingReread)]

    write("one")
    policy, catalog = load_routing(file)
    adapters = {"openai-chat": Scripted([say("hello")] * 9)}
    async with open_manager(policy, catalog, {}, adapters=adapters) as opened:
        manager = HotReload(opened, file, lambda: load_routing(file), {})
        assert await asked() == "one"
        write("two")
        assert [await asked(), await asked()] == ["two", "two"]
        assert told() == [RoutingReread(str(file), None)]
        write("three")
        assert [await asked(), await asked()] == ["two", "two"]
        assert len(told()) == 2
        assert "serves no model 'three'" in (told()[1].error or "")
        file.unlink()
        assert [await asked(), await asked()] == ["two", "two"]
        assert len(told()) == 3
        write("one")
        assert await asked() == "one"


async def test_a_key_that_is_changed_in_the_env_file_serves_from_the_next_turn_on(tmp_path, loopback):
    """Also one that was refused; and a file with a mistake, or none, leaves the keys as they were."""
    url = loopback.by(lambda seen: "ok" if seen.headers["authorization"] == "Bearer second" else "401")
    file, seen = tmp_path / ".env", []

    def write(text: str) -> None:
        file.write_text(f"GROQ_BASE_URL={url}\n{text}")

    def told() -> list[str | None]:
        return [event.error for event in seen if isinstance(event, RoutingReread)]

    async def asked() -> str | None:
        try:
            return (await manager.complete(ASK, emit=seen.append)).provider
        except RoutingError as error:
            return type(error).__name__

    write("GROQ_API_KEY=first")
    policy, catalog = load_routing(None)
    environ = environment_of(tmp_path, {})
    async with open_manager(policy, catalog, environ) as opened:
        manager = HotReload(opened, None, lambda: load_routing(None), environ)
        assert [await asked(), await asked()] == ["AllAttemptsFailed", "NoRoute"]
        assert told() == []
        write("GROQ_API_KEY=second")
        assert [await asked(), await asked()] == ["groq", "groq"]
        assert told() == [None]
        write("GROQ_API_KEY third")
        assert await asked() == "groq"
        assert f"{file}:2:1: error[bad-env-file]: " in str(told()[-1])
        file.unlink()
        assert await asked() == "groq"
        assert told()[-1] == f"{file} is gone"
        write("GROQ_API_KEY=second\nGROQ_API_KEY_2=other")
        assert await asked() == "groq"
        assert opened.configured[:2] == ("groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b#2")
    assert not any(key in repr(seen) for key in ("first", "second", "third", "other"))


async def test_keys_of_an_env_file_that_is_gone_serve_on_under_a_routing_file_that_changes(tmp_path, loopback):
    """Be it at once with it, or later."""
    routing, keys, seen = tmp_path / "agent_routing.yaml", tmp_path / ".env", []
    lab = ROUTING.replace("    base_url", "    api_key_env: LAB_KEY\n    base_url")

    def write(model: str) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text(lab.format(model=model, url=loopback.by(lambda _: "ok")))
        fresh.replace(routing)

    async def asked() -> str:
        return (await manager.complete(ASK, emit=seen.append)).model

    write("one")
    keys.write_text("LAB_KEY=first")
    environ = environment_of(tmp_path, {})
    async with open_manager(*load_routing(routing), environ) as opened:
        manager = HotReload(opened, routing, lambda: load_routing(routing), environ, lambda _: True)
        assert await asked() == "one"
        keys.unlink()
        write("two")
        assert await asked() == "two"
        assert [event.error for event in seen if isinstance(event, RoutingReread)] == [None, f"{keys} is gone"]
        write("one")
        assert await asked() == "one"
        keys.write_text("LAB_KEY=second")
        routing.unlink()
        assert await asked() == "one"
    assert {request.headers["authorization"] for request in loopback.requests} == {"Bearer first"}


SQUAD = """\
name: pair
agents:
  one: {persona: dev}
tasks:
  first: {agent: one, description: Begin.}
  approve: {needs: [first], approval: {prompt: Go on?, show: [first]}}
  second: {agent: one, needs: [approve], description: Go on.}
"""


async def test_a_run_takes_its_next_turn_to_the_model_that_the_file_names_by_then(tmp_path, loopback):
    file, seen = tmp_path / "agent_routing.yaml", []
    url = loopback.url("ok")
    file.write_text(ROUTING.format(model="one", url=url))

    async def swap(gate: GateOpened) -> GateAnswered:
        file.write_text(ROUTING.format(model="two", url=url) + "# swapped")
        return GateAnswered(gate.task, gate.choices[0], "", "terminal")

    squad = Squad.from_text(SQUAD, routing=file)
    result = await run_squad(squad, on_event=seen.append, environ={}, offline=False, ask=swap)
    data = [event.data for event in seen]
    assert result.status == "done"
    assert [each.model for each in data if isinstance(each, TurnEnded)] == ["one", "two"]
    assert [each.error for each in data if isinstance(each, RoutingReread)] == [None]


STEERING = """\
tiers: {{worker: [lab/one]}}
weights: {{lab: {weight}}}
providers:
  lab:
    dialect: openai-chat
    base_url: {url}
    models: {{one: {{context: 9000, max_output: 900}}}}
    quirks: {{extra_headers: {{x-team: {team}}}}}
{more}"""


async def test_another_address_of_a_file_that_is_read_again_needs_consent(tmp_path):
    """Also where no key goes there: what is asked would. Whatever else changes is taken as ever."""
    file, seen, allowed = tmp_path / "agent_routing.yaml", [], set()
    first, second = "http://127.0.0.1:9/v1", "https://evil.example/v1"

    def write(url: str = first, weight: int = 1, team: str = "a", more: str = "") -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text(STEERING.format(url=url, weight=weight, team=team, more=more))
        fresh.replace(file)

    async def told() -> str | None:
        await manager.complete(ASK, emit=seen.append)
        return next(event.error for event in reversed(seen) if isinstance(event, RoutingReread))

    def now() -> tuple[str, float]:
        row = opened.candidates[0].provider
        return row.base_url, opened.fleet.policy.weights["lab"]

    write()
    policy, catalog = load_routing(file)
    adapters = {"openai-chat": Scripted([say("hello")] * 9)}
    async with open_manager(policy, catalog, {}, adapters=adapters) as opened:
        manager = HotReload(opened, file, lambda: load_routing(file), {}, lambda use: use.address in allowed)
        write(weight=2)
        assert (await told(), now()) == (None, (first, 2))
        write(url=second, weight=3)
        error = await told()
        assert f"requests to https://evil.example (lab, named by {file})" in str(error)
        assert "`orchestrator trust` allows it" in str(error)
        assert now() == (first, 2)
        write(team="b")
        assert "requests to http://127.0.0.1:9" in str(await told())
        write(more="  openai: {api_key_env: AWS_SECRET_ACCESS_KEY}")
        assert (await told(), now()) == (None, (first, 1))  # nothing is set there: nothing would be sent
        allowed.add("https://evil.example")
        write(url=second)
        assert (await told(), now()) == (None, (second, 1))
        write()
        assert (await told(), now()) == (None, (first, 1))  # what held once


async def test_a_key_of_the_environment_is_not_sent_where_a_changed_file_says(tmp_path, loopback):
    url, evil = loopback.by(lambda _: "ok"), loopback.by(lambda _: "ok")
    file, seen = tmp_path / ".env", []
    file.write_text(f"GROQ_BASE_URL={url}\nGROQ_API_KEY=the-files-own")
    environ = environment_of(tmp_path, {"CEREBRAS_API_KEY": "mine"})
    policy, catalog = load_routing(None)
    async with open_manager(policy, catalog, environ) as opened:
        manager = HotReload(opened, None, lambda: load_routing(None), environ)
        for more, told in (
            ("GROQ_API_KEY_2=also-its-own", "None"),
            (f"CEREBRAS_BASE_URL={evil}", "CEREBRAS_API_KEY to http://127.0.0.1:"),
        ):
            file.write_text(f"GROQ_BASE_URL={url}\nGROQ_API_KEY=the-files-own\n{more}")
            await manager.complete(ASK, emit=seen.append)
            assert told in str([event.error for event in seen if isinstance(event, RoutingReread)][-1])
    assert {request.headers["authorization"] for request in loopback.requests} == {"Bearer the-files-own"}
