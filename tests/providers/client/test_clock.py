"""Time that goes on evenly while the machine's clock is set."""

from __future__ import annotations

import pytest

from providers.catalog.model import Candidate, Limit, Model, Price, Provider
from providers.client.clock import SteadyClock, ahead
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, NoRoute, RateLimited
from providers.messages import FinishReason, Needs, Request, Response, Usage, assistant, user
from providers.policy.model import Policy
from providers.windows import Calendar, Fixed

pytestmark = pytest.mark.anyio
MIDNIGHT = 1_700_006_400.0


class World:
    """The machine's clock, which may be set, and what has passed, which may not."""

    def __init__(self, now: float) -> None:
        self.set_to, self.passed = now, 0.0

    def goes_on(self, seconds: float) -> None:
        self.set_to += seconds
        self.passed += seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.set_to, lambda: self.passed)


class Told:
    """Answers in this process; raises what is next to be raised."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def respond(self, request: Request, candidate: Candidate) -> Response:
        if self.errors:
            raise self.errors.pop(0)
        return Response(assistant("done"), FinishReason.STOP, Usage(1, output=1))


def manager_of(world: World, told: Told, *limits: Limit) -> ProviderManager:
    model = Model("m", 100_000, 4096, price=Price(0, 0))
    only = Candidate(Provider("only", "any", "", None, {"m": model}, limits=limits), model)
    policy = Policy({"worker": ("only/m",)}, last_resort=())
    return ProviderManager([only], policy, adapters={"any": told}, clock=world.clock())


def ask(deadline: float) -> Request:
    return Request((user("hi"),), needs=Needs(deadline_s=deadline))


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_it_goes_on_evenly_whatever_the_machines_clock_is_set_to(step):
    world = World(1000.0)
    clock = world.clock()
    world.goes_on(5.0)
    assert (clock(), ahead(clock.wall, clock)) == (1005.0, 0.0)
    world.set_to += step
    world.goes_on(1.0)
    assert (clock(), ahead(clock.wall, clock)) == (1006.0, step)
    world.set_to = 1006.4
    assert ahead(clock.wall, clock) == 0.0, "that is drift"


def test_by_default_a_manager_has_such_a_clock():
    manager = ProviderManager([], Policy({}), adapters={})
    assert isinstance(manager.clock, SteadyClock)
    assert manager.clock() == pytest.approx(manager.clock.wall(), abs=5)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_an_instant_that_a_provider_names_is_kept_by_the_machines_clock(step):
    world, told = World(1000.0), Told()
    manager = manager_of(world, told)
    world.set_to += step
    told.errors.append(RateLimited("later", retry_at=world.set_to + 60.0))
    with pytest.raises(AllAttemptsFailed):
        await manager.complete(ask(10.0))
    world.goes_on(59.0)
    with pytest.raises(NoRoute):
        await manager.complete(ask(0.5))
    world.goes_on(1.0)
    assert (await manager.complete(ask(1.0))).text == "done"


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_hold_is_neither_ended_nor_lengthened(step):
    world, told = World(1000.0), Told()
    manager = manager_of(world, told)
    told.errors.append(RateLimited("later", retry_at=1060.0))
    with pytest.raises(AllAttemptsFailed):
        await manager.complete(ask(10.0))
    world.set_to += step
    world.goes_on(59.0)
    with pytest.raises(NoRoute):
        await manager.complete(ask(0.5))
    world.goes_on(1.0)
    assert (await manager.complete(ask(1.0))).text == "done"


@pytest.mark.parametrize("window", [Calendar("day", "UTC"), Fixed(86400)], ids=["calendar", "fixed"])
async def test_a_day_ends_at_the_machines_midnight(window):
    world, told = World(MIDNIGHT - 7200.0), Told()
    manager = manager_of(world, told, Limit("requests", 1, window))
    world.set_to += 3600.0  # it was an hour slow
    assert (await manager.complete(ask(1.0))).text == "done"
    with pytest.raises(NoRoute) as refused:
        await manager.complete(ask(1.0))
    assert refused.value.earliest == pytest.approx(manager.clock() + 3600.0, abs=1)
    world.goes_on(3601.0)
    assert (await manager.complete(ask(1.0))).text == "done"
