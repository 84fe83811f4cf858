"""The failover exam, 19, and what else is to be said of a provider's several keys: each has its own state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from providers.catalog.model import Candidate
from providers.errors import AllAttemptsFailed, AuthFailed, NoRoute
from providers.events import AttemptEnded, RouteChosen
from providers.messages import Needs, Request
from tests.loopback import Seen
from tests.providers.exam.lab import ASK, Lab

pytestmark = pytest.mark.anyio
KEYS = ("sk-loopback-one", "sk-loopback-two")


def key_of(seen: Seen) -> str:
    return seen.headers["authorization"].removeprefix("Bearer ")


def accounts(lab: Lab, says: Callable[[str], str]) -> list[Candidate]:
    """Return one model of one provider, once for each key; what meets a call is said by its key."""
    first = lab.provider("twice", rule=lambda seen: says(key_of(seen)))
    return [replace(first, key=key, account=number) for number, key in enumerate(KEYS, 1)]


@pytest.mark.parametrize("says", ["401", "unpaid"])
async def test_19_a_refused_or_unpaid_key_is_shut_after_one_call_and_the_other_one_serves(lab: Lab, says):
    both = accounts(lab, lambda key: says if key == KEYS[0] else "ok")
    async with lab.manager(*both, lab.provider("next", "ok")) as manager:
        events: list[object] = []
        answers = [await lab.ask(manager, emit=events.append) for _ in range(5)]
        route = [event for event in events if isinstance(event, RouteChosen)][-1]
    assert [key_of(seen) for seen in lab.to("twice")] == [KEYS[0], *[KEYS[1]] * 5]
    assert [answer.provider for answer in answers] == ["twice"] * 5
    assert [(a.account, a.outcome) for a in answers[0].attempts] == [(1, "failed"), (2, "ok")]
    assert [event.account for event in events if isinstance(event, AttemptEnded)] == [1, 2, 2, 2, 2, 2]
    assert route.candidates == ("twice/m#2", "next/m")
    assert "its account is shut" in route.refused["twice/m"]
    assert not any(key in repr(events) for key in KEYS)


async def test_19_with_every_key_refused_each_costs_one_call(lab: Lab):
    async with lab.manager(*accounts(lab, lambda _: "401")) as manager:
        with pytest.raises(AllAttemptsFailed) as failed:
            await lab.ask(manager)
        assert [type(error) for error in failed.value.exceptions] == [AuthFailed, AuthFailed]
        for _ in range(3):
            with pytest.raises(NoRoute, match="its account is shut: the key was refused"):
                await lab.ask(manager)
    assert lab.calls == ["twice", "twice"]


async def test_a_key_that_is_held_leaves_the_other_ones_breaker_and_limits_as_they_are(lab: Lab):
    both = accounts(lab, lambda key: "429=60" if key == KEYS[0] else "ok")
    async with lab.manager(*both) as manager:
        assert [(await lab.ask(manager)).attempts[-1].account for _ in range(3)] == [2, 2, 2]
        lab.skip(61)
        again = await lab.ask(manager)
    assert [a.account for a in again.attempts] == [1, 2], "asked again after its time"


async def test_an_account_is_pinned_by_its_number_and_a_model_by_its_name(lab: Lab):
    def pinned(name: str) -> Request:
        return Request(ASK.messages, max_output_tokens=50, needs=Needs(model=name))

    async with lab.manager(*accounts(lab, lambda key: "401" if key == KEYS[1] else "ok")) as manager:
        with pytest.raises(AllAttemptsFailed) as failed:
            await lab.ask(manager, pinned("twice/m#2"))
        assert [str(error)[:10] for error in failed.value.exceptions] == ["twice/m#2:"]
        for name in ("twice/m", "m"):
            assert (await lab.ask(manager, pinned(name))).attempts[-1].account == 1
        with pytest.raises(NoRoute, match="twice has no such account here"):
            await lab.ask(manager, pinned("twice/m#3"))
