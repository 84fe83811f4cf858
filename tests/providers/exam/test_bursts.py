"""The failover exam: three hundred turns at once, and turns in a row, while providers are down."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from providers.errors import AllAttemptsFailed, NoRoute
from providers.routing.health import FAULTS_TO_OPEN, PROBE_EVERY_S
from tests.providers.exam.lab import PATIENT, Lab, within

pytestmark = pytest.mark.anyio
FEW, CALLERS = 60, 300
crowd = pytest.mark.parametrize("callers", [FEW, pytest.param(CALLERS, marks=pytest.mark.long)])


@contextmanager
def nobody() -> Iterator[str]:
    """Yield a base URL at which connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens to nobody
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def all_are_answered(lab: Lab, callers: int, *providers, **policy) -> None:
    async with lab.manager(*providers, **{"timeouts": PATIENT, **policy}) as manager:
        ends = await lab.ask_at_once(manager, callers)
    assert [end for end in ends if isinstance(end, Exception)] == []
    assert {end.provider for end in ends} == {"well"}
    assert len(lab.to("well")) == callers


@pytest.mark.parametrize(
    ("callers", "mode"),
    [
        (FEW, "500"),
        (FEW, "429-bare"),
        *[
            pytest.param(CALLERS, mode, marks=pytest.mark.long)
            for mode in ("500", "503", "429-bare", "429=60", "reset", "torn=0", "401")
        ],
    ],
)
async def test_28_a_burst_over_a_dead_first_is_answered_by_a_second_never_asked(lab: Lab, callers: int, mode: str):
    await all_are_answered(lab, callers, lab.provider("dead", mode), lab.provider("well", "ok"))


@crowd
async def test_28_a_burst_over_a_first_that_refuses_connections(lab: Lab, callers: int):
    with nobody() as url:
        await all_are_answered(lab, callers, lab.provider("dead", url=url), lab.provider("well", "ok"))


@crowd
async def test_28_with_two_of_three_dead_a_burst_is_answered_by_the_third(lab: Lab, callers: int):
    await all_are_answered(
        lab, callers, lab.provider("one", "500"), lab.provider("two", "503"), lab.provider("well", "ok")
    )
    assert len(lab.to("two")) <= FAULTS_TO_OPEN + 0.2 * callers, "the others waited for what becomes of those"


@pytest.mark.long
async def test_28_a_budget_of_nothing_keeps_no_turn_from_a_second_that_answers(lab: Lab):
    await all_are_answered(lab, CALLERS, lab.provider("dead", "500"), lab.provider("well", "ok"), retry_budget=0.0)


@pytest.mark.long
async def test_28_a_hop_to_a_slow_second_is_waited_for(lab: Lab):
    await all_are_answered(lab, CALLERS, lab.provider("dead", "500"), lab.provider("well", "slow=0.3"))


@crowd
@pytest.mark.parametrize("modes", [("500", "torn=0", "reset"), pytest.param(("500", "503"), marks=pytest.mark.long)])
async def test_29_a_burst_with_everything_down_is_bounded_and_told_soon(lab: Lab, modes: tuple[str, ...], callers: int):
    providers = [lab.provider(f"dead{number}", mode) for number, mode in enumerate(modes)]
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        began = time.monotonic()
        ends = await lab.ask_at_once(manager, callers)
        took = time.monotonic() - began
        assert {type(end) for end in ends} == {AllAttemptsFailed}
        assert all(end.earliest is not None and end.earliest <= lab.clock() + PROBE_EVERY_S for end in ends)
        unasked = len(providers) * (2 * FAULTS_TO_OPEN + took)  # before each is known to be down; then a probe a second
        assert len(lab.calls) <= 1.2 * callers + unasked
    assert took < 20, "not when the turns' minute is over; on a machine that does nothing else it is two seconds"


async def test_29_turns_in_a_row_with_everything_down_ask_next_to_nobody(lab: Lab):
    providers = [lab.provider(f"dead{number}", "500") for number in range(3)]
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        began = time.monotonic()
        ends = [(await lab.ask_at_once(manager, 1, within(10)))[0] for _ in range(150)]
        took = time.monotonic() - began
    assert {type(end) for end in ends} == {AllAttemptsFailed, NoRoute}
    assert len(lab.calls) <= 12 + 3 * took
