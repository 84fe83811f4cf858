"""The failover exam, 15 to 18: whose fault an error is, and what follows for the others."""

from __future__ import annotations

import pytest

from providers.errors import AllAttemptsFailed, BadRequest, Declined, ServerFault
from providers.messages import Request, user
from tests.loopback import ANSWER
from tests.providers.exam.lab import PATIENT, Lab, health

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("mode", ["declined", "withheld"])
async def test_15_a_content_refusal_goes_nowhere_else_unless_the_policy_says_so(lab: Lab, mode: str):
    async with lab.manager(lab.provider("strict", mode), lab.provider("good", "ok")) as manager:
        before = health(manager, "strict")
        with pytest.raises(Declined) as refused:
            await lab.ask(manager)
        assert (refused.value.provider, refused.value.category) == ("strict", "content_filter")
        assert health(manager, "strict") == before
    assert lab.calls == ["strict"]


@pytest.mark.parametrize("mode", ["declined", "withheld"])
async def test_15_a_content_refusal_goes_elsewhere_where_the_policy_says_so(lab: Lab, mode: str):
    providers = (lab.provider("strict", mode), lab.provider("good", "ok"))
    async with lab.manager(*providers, on_decline="elsewhere") as manager:
        before = health(manager, "strict")
        answer = await lab.ask(manager)
        assert [(a.provider, a.error) for a in answer.attempts] == [("strict", "Declined"), ("good", None)]
        assert health(manager, "strict") == before
    assert lab.calls == ["strict", "good"]


async def test_16_a_context_that_is_too_long_goes_to_a_larger_window_and_is_no_retry(lab: Lab):
    providers = (
        lab.provider("small", "too-long"),
        lab.provider("as-small", "ok"),
        lab.provider("smaller", "ok", context=4096),
        lab.provider("large", "ok", context=200_000),
    )
    async with lab.manager(*providers) as manager:
        before = [health(manager, name) for name in ("small", "as-small")]
        answer = await lab.ask(manager)
        assert [(a.provider, a.error) for a in answer.attempts] == [("small", "ContextTooLong"), ("large", None)]
        assert [health(manager, name) for name in ("small", "as-small")] == before
    assert lab.calls == ["small", "large"]


async def test_17_a_callers_bad_request_is_confirmed_by_one_other_provider_and_moves_nobodys_health(lab: Lab):
    providers = [lab.provider(name, "400") for name in ("first", "second", "third")]
    async with lab.manager(*providers) as manager:
        before = [health(manager, name) for name in ("first", "second")]
        for _ in range(50):
            with pytest.raises(AllAttemptsFailed) as refused:
                await lab.ask(manager)
            assert [(type(e), e.provider, e.status) for e in refused.value.exceptions] == [
                (BadRequest, "first", 400),
                (BadRequest, "second", 400),
            ]
            assert refused.value.refused_twice
            assert refused.value.earliest is None, "asking again is useless"
        assert [health(manager, name) for name in ("first", "second")] == before
    assert lab.calls == ["first", "second"] * 50


async def test_17_what_only_one_provider_refuses_is_answered_by_another(lab: Lab):
    async with lab.manager(lab.provider("odd", "400"), lab.provider("good", "ok")) as manager:
        before = health(manager, "odd")
        assert [(await lab.ask(manager)).provider for _ in range(10)] == ["good"] * 10
        assert health(manager, "odd") == before


async def test_17_a_bad_request_that_nobody_can_confirm_is_told_as_it_came(lab: Lab):
    async with lab.manager(lab.provider("only", "400")) as manager:
        with pytest.raises(BadRequest) as refused:
            await lab.ask(manager)
    assert (refused.value.provider, refused.value.status, lab.calls) == ("only", 400, ["only"])


@pytest.mark.long
async def test_18_lone_surrogates_a_thousand_times_move_nobodys_health(lab: Lab):
    broken = Request((user("half of \ud83d a pair, \udc00\x00 and a NUL"),), max_output_tokens=50)
    async with lab.manager(lab.provider("only", "ok"), timeouts=PATIENT) as manager:
        before = health(manager, "only")
        ends = [end for _ in range(20) for end in await lab.ask_at_once(manager, 50, broken)]
        assert [end for end in ends if isinstance(end, Exception)] == []
        assert health(manager, "only") == before
        assert (await lab.ask(manager)).text == ANSWER
        assert await lab.booked(manager, "only") == (1001, 1001 * 19)
    said = {seen.body["messages"][0]["content"] for seen in lab.to("only")[:-1]}
    assert said == {"half of \ufffd a pair, \ufffd and a NUL"}
    assert len(lab.calls) == 1001


def test_17_two_accounts_of_one_provider_do_not_confirm_each_other():
    """A hedge may have asked the second one beside the first: of other providers none has refused the request."""
    picky = [BadRequest("no").of("picky", "m"), BadRequest("no").of("picky", "m")]
    assert not AllAttemptsFailed("no", [*picky, ServerFault("no").of("down", "m")]).refused_twice
    assert AllAttemptsFailed("no", [*picky, BadRequest("no").of("other", "m")]).refused_twice
