"""A program speaks for itself: by what it passes, and by the files that it names; not by a `.env` that is found."""

from __future__ import annotations

import pytest
import yaml

from orchestrator.environment import environment_of
from orchestrator.events import RoutingReread
from orchestrator.runtime import run_squad
from orchestrator.squad.load import Squad
from orchestrator.squad.routing import load_routing
from orchestrator.trust import TrustFile
from providers.catalog.trust import NotTrusted, of_the_program
from providers.client.manager import open_manager
from providers.messages import Request, user

pytestmark = pytest.mark.anyio

ROUTING = """\
tiers: {worker: [lab/one]}
providers:
  lab: {dialect: openai-chat, base_url: "%s", api_key_env: LAB_KEY, models: {one: {context: 9000, max_output: 900}}}
"""
SQUAD = """\
name: two
agents:
  mary: {persona: {name: Mary, role: Works., tier: worker}}
tasks:
  a: {agent: mary, description: Work.}
"""
MINE = {"LAB_KEY": "of-the-program"}
ASK = Request((user("hello"),))


@pytest.fixture
def lab(loopback):
    return loopback.by(lambda _: "ok")


@pytest.fixture
def file(tmp_path, lab):
    file = tmp_path / "agent_routing.yaml"
    file.write_text(ROUTING % lab)
    return file


def sent(loopback) -> set[str]:
    return {request.headers.get("authorization", "") for request in loopback.requests}


@pytest.mark.parametrize("how", ["path", "text", "mapping", "objects"])
async def test_a_routing_that_the_program_passes_needs_no_further_word(file, loopback, how):
    if how == "objects":
        async with open_manager(*load_routing(file), MINE) as manager:
            await manager.complete(ASK)
    else:
        routing = {"path": file, "text": str(file), "mapping": yaml.safe_load(file.read_text())}[how]
        result = await run_squad(Squad.from_text(SQUAD, routing=routing), environ=MINE)
        assert result.status == "done"
    assert sent(loopback) == {"Bearer of-the-program"}


async def test_addresses_in_the_programs_own_environment_need_no_further_word(monkeypatch, lab, loopback):
    """Be it passed or the process's; also a server in the same network that speaks plain http."""
    own = {"GROQ_BASE_URL": lab, "GROQ_API_KEY": "of-the-program"}
    async with open_manager(environ=own) as manager:
        await manager.complete(ASK)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert (await run_squad(Squad.from_text(SQUAD))).status == "done"
    assert sent(loopback) == {"Bearer of-the-program"}
    async with open_manager(environ={**own, "GROQ_BASE_URL": "http://gpu-box:8000/v1"}) as manager:
        assert "groq/openai/gpt-oss-20b" in manager.configured


async def test_a_named_file_may_say_another_address_while_the_run_goes_on(file, loopback):
    """It is the file that the program chose, not what was in it."""
    second, said = loopback.by(lambda _: "ok"), []

    def swap(_) -> str:
        fresh = file.with_name("fresh")
        fresh.write_text(ROUTING % second)
        fresh.replace(file)
        return "ok"

    file.write_text(ROUTING % loopback.by(swap))
    squad = Squad.from_text(SQUAD + "  b: {agent: mary, needs: [a], description: Work.}\n", routing=file)
    result = await run_squad(squad, environ=MINE, on_event=lambda event: said.append(event.data))
    said = [each.error for each in said if isinstance(each, RoutingReread)]
    assert (result.status, said) == ("done", [None])
    assert len({request.base for request in loopback.requests}) == 2
    assert sent(loopback) == {"Bearer of-the-program"}


@pytest.mark.parametrize(
    ("env", "environ"),
    [
        ("GROQ_BASE_URL=%s", {"GROQ_API_KEY": "of-the-program"}),
        ("LAB_BASE_URL=%s", MINE),
        ("PLACE=127.0.0.1", MINE),
        ("PLACE=127.0.0.1\nLAB_BASE_URL=http://{PLACE}:9/v1", MINE),
    ],
)
async def test_what_a_found_env_file_says_is_nobodys_word(tmp_path, file, lab, loopback, env, environ):
    """Not even where a routing file that was named leaves it a part of the host's name."""
    file.write_text(ROUTING % lab.replace("127.0.0.1", "{PLACE}"))
    (tmp_path / ".env").write_text(env.replace("%s", lab))
    squad, environ = Squad.from_text(SQUAD, routing=file), environment_of(tmp_path, environ)
    with pytest.raises(NotTrusted) as refused:
        await run_squad(squad, environ=environ)
    uses = refused.value.uses
    assert {(use.folder, use.named) for use in uses} == {(str(tmp_path.resolve()), False)}
    with pytest.raises(NotTrusted):
        async with open_manager(squad.policy, squad.catalog, environ):
            pass
    assert not loopback.requests
    seen = []
    async with open_manager(squad.policy, squad.catalog, environ, trust=lambda use: seen.append(use) or True):
        assert set(seen) == set(uses)


async def test_a_program_may_go_by_what_the_user_allowed_instead(tmp_path, file, loopback):
    squad, store = Squad.from_text(SQUAD, routing=file), TrustFile(tmp_path / "home" / "trust.json")
    with pytest.raises(NotTrusted) as refused:
        await run_squad(squad, environ=MINE, trust=store.allows)
    assert not loopback.requests
    assert all(map(of_the_program, refused.value.uses))
    store.allow(refused.value.uses)
    assert (await run_squad(squad, environ=MINE, trust=store.allows)).status == "done"
    assert sent(loopback) == {"Bearer of-the-program"}
