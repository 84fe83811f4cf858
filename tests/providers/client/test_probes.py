"""Active checks: a provider that is down is left alone before a caller finds out, and asked again when it is back."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from trio.testing import MockClock

from providers.adapters import HttpReply, HttpRequest
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Provider
from providers.client.adapter_table import AdapterTable
from providers.client.manager import open_manager
from providers.client.probes import checking
from providers.errors import AuthFailed, ProviderError, TimedOut, Unreachable
from providers.messages import Request, user
from providers.policy.model import Checks, Policy
from providers.policy.parse import parse_policy
from providers.routing.fleet import Fleet
from tests.loopback import Loopback
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
VIRTUAL = ("trio", {"clock": MockClock(autojump_threshold=0)})
NOW = 1_795_176_000.0
OK = HttpReply(200, {}, b'{"data": []}')


def clock() -> float:
    return NOW + anyio.current_time()


class Door:
    """A network in which every endpoint says the same, and that notes who knocked."""

    def __init__(self, says: Callable[[], HttpReply | ProviderError]) -> None:
        self.says = says
        self.asked: list[HttpRequest] = []

    async def send(self, request: HttpRequest, **limits: float) -> HttpReply:
        self.asked.append(request)
        await anyio.sleep(0.1)
        said = self.says()
        if isinstance(said, ProviderError):
            raise said
        return said


EACH_MINUTE = Checks(60.0, ("mine",))


def crowd(checks: Checks | None = EACH_MINUTE) -> Fleet:
    row = Model("m", 9000, 900)
    mine = Provider("mine", "openai-chat", "http://mine.test/v1", "KEY", {"m": row, "n": row})
    other = Provider("other", "openai-chat", "http://other.test/v1", None, {"m": row})
    candidates = [Candidate(mine, row, "k1"), Candidate(mine, row, "k2", 2), Candidate(other, row)]
    return Fleet(candidates, Policy({"worker": ("mine/*", "other/*")}, checks=checks))


def states(fleet: Fleet) -> dict[str, str]:
    return {name: state.breaker.state(clock()) for name, state in fleet.states.items()}


@pytest.mark.parametrize("anyio_backend", [VIRTUAL])
class TestOnAVirtualClock:
    async def test_a_door_that_is_shut_opens_every_breaker_behind_it_and_one_that_opens_closes_them(self):
        door, fleet = Door(lambda: Unreachable("refused")), crowd()
        async with checking(fleet, AdapterTable({"openai-chat": OpenAIChat()}, door), clock):
            await anyio.sleep(1)
            assert states(fleet) == {"mine/m": "open", "mine/m#2": "open", "other/m": "closed"}
            door.says = lambda: OK
            await anyio.sleep(60)
            assert states(fleet)["mine/m"] == states(fleet)["mine/m#2"] == "recovering"
        assert [(r.method, r.url, r.headers["authorization"]) for r in door.asked] == [
            ("GET", "http://mine.test/v1/models", "Bearer k1")
        ] * 2
        assert not any(request.body or "content-type" in request.headers for request in door.asked)
        await anyio.sleep(600)
        assert len(door.asked) == 2, "nobody asks when the block is over"

    @pytest.mark.parametrize("said", [HttpReply(503, {}, b""), TimedOut("silent", phase="first_token")])
    async def test_who_is_silent_or_broken_is_down(self, said):
        fleet = crowd()
        async with checking(fleet, AdapterTable({"openai-chat": OpenAIChat()}, Door(lambda: said)), clock):
            await anyio.sleep(1)
        assert states(fleet)["mine/m"] == "open"

    @pytest.mark.parametrize("said", [OK, HttpReply(404, {}, b""), HttpReply(501, {}, b""), AuthFailed("no")])
    async def test_who_answers_at_all_is_well_and_no_account_is_shut(self, said):
        fleet = crowd()
        async with checking(fleet, AdapterTable({"openai-chat": OpenAIChat()}, Door(lambda: said)), clock):
            await anyio.sleep(1)
        assert set(states(fleet).values()) == {"closed"}
        assert not fleet.shut

    async def test_another_policys_checks_hold_from_the_next_round_on(self):
        door, fleet = Door(lambda: OK), crowd()
        async with checking(fleet, AdapterTable({"openai-chat": OpenAIChat()}, door), clock):
            await anyio.sleep(1)
            policy = Policy({"worker": ("other/m",)}, checks=Checks(5.0, ("other",)))
            fleet.adopt(policy, [state.candidate for state in fleet.states.values()])
            await anyio.sleep(62)
        assert [request.url.split("/")[2] for request in door.asked] == ["mine.test", "other.test"]

    async def test_nothing_is_asked_unless_the_policy_says_so_and_errors_pass_as_they_are(self):
        door = Door(lambda: OK)

        async def fail_after_a_round(checks: Checks | None) -> None:
            async with checking(crowd(checks), AdapterTable({"openai-chat": OpenAIChat()}, door), clock):
                await anyio.sleep(61)
                raise KeyError("in the block")

        for checks, rounds in ((None, 0), (EACH_MINUTE, 2)):
            with pytest.raises(KeyError, match="in the block"):
                await fail_after_a_round(checks)
            assert len(door.asked) == rounds


async def test_a_live_manager_does_not_send_its_first_turn_to_a_server_that_is_down(loopback: Loopback):
    data = {"tiers": {"worker": ["local/*", "ollama/*"]}, "checks": {"providers": ["local", "ollama"]}}
    policy, catalog = parse_policy(data, load_catalog())
    environ = {"LOCAL_BASE_URL": "http://127.0.0.1:9/v1", "OLLAMA_BASE_URL": loopback.url("ok")}
    async with open_manager(policy, catalog, environ) as manager:
        local = manager.fleet.states["local/default"]
        with anyio.fail_after(PATIENCE_S):
            while local.breaker.open_until is None:  # noqa: ASYNC110  # nobody tells of it
                await anyio.sleep(0.01)
        answer = await manager.complete(Request((user("hi"),)))
    assert [attempt.provider for attempt in answer.attempts] == ["ollama"]
