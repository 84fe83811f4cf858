"""The failover exam, 26 to 31: a refusal about one model, one size or one minute costs that candidate only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from providers.catalog.model import Candidate, Model, Price, Provider
from providers.errors import AllAttemptsFailed, NoRoute
from providers.messages import Needs, Request, user
from providers.routing.health import EDGE_REST_S, GONE_HOLD_S, SIZE_HOLD_S
from tests.loopback import Seen, Served
from tests.providers.exam.lab import ASK, KEY, PLENTY, Lab

pytestmark = pytest.mark.anyio

SHORT = Request((user("Hi."),), max_output_tokens=50)
LONG = Request((user("A long story. " * 400),), max_output_tokens=50)


def error(message: str, code: str | int | None = None, kind: str = "invalid_request_error") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def first(*refusals: Served) -> Callable[[Seen], str | Served]:
    """Refuse the first calls so, and answer the others."""
    left = list(refusals)
    return lambda _: left.pop(0) if left else "ok"


NO_SUCH_MODEL = Served(404, error("The model `m` does not exist", "model_not_found"))


async def test_26_a_model_that_is_gone_is_asked_once_an_hour(lab: Lab):
    providers = (lab.provider("gone", rule=lambda _: NO_SUCH_MODEL), lab.provider("good", "ok"))
    async with lab.manager(*providers) as manager:
        assert [(await lab.ask(manager)).provider for _ in range(30)] == ["good"] * 30
        assert len(lab.to("gone")) == 1
        lab.skip(GONE_HOLD_S + 1)
        assert (await lab.ask(manager)).provider == "good"
        assert len(lab.to("gone")) == 2


async def test_27_of_an_account_without_money_the_free_models_answer_on(lab: Lab):
    def rule(seen: Seen) -> str | Served:
        return "ok" if seen.body["model"] == "free" else Served(402, error("This request requires more credits", 402))

    url = lab.loopback.by(rule)
    models = [Model(name, 8192, 512, price=Price(cost, cost)) for name, cost in (("paid", 1), ("dear", 9), ("free", 0))]
    row = Provider("router", "openai-chat", url, "KEY", {m.name: m for m in models}, limits=PLENTY)
    async with lab.manager(*(Candidate(row, model, key=KEY) for model in models)) as manager:
        answers = [await lab.ask(manager) for _ in range(3)]
        assert [answer.model for answer in answers] == ["free"] * 3
        asked = [seen.body["model"] for seen in lab.loopback.requests]
        assert asked == ["paid", "free", "free", "free"]
        manager.fleet.reopen("router")
        assert (await lab.ask(manager)).model == "free"
        # The ledger, which other processes share, still holds what refused; its sibling is asked anew.
        assert [seen.body["model"] for seen in lab.loopback.requests][4:] == ["dear", "free"]


async def test_28_a_free_model_that_says_so_too_shuts_the_account(lab: Lab):
    broke = Served(402, error("Insufficient credits", 402))
    async with lab.manager(lab.provider("router", rule=lambda _: broke)) as manager:
        for _ in range(3):
            with pytest.raises((NoRoute, ExceptionGroup)):
                await lab.ask(manager)
    assert len(lab.calls) == 1


SIZE = error(
    "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000, reduce the size",
    "rate_limit_exceeded",
    "tokens",
)


@pytest.mark.parametrize(
    "refusal",
    [
        Served(413, SIZE),
        Served(429, SIZE),
        Served(413, "<html><h1>413 Request Entity Too Large</h1></html>", {"content-type": "text/html"}),
    ],
    ids=["413", "429", "proxy"],
)
async def test_29_a_request_too_large_for_a_limit_goes_to_an_equal_window_and_smaller_ones_stay(
    lab: Lab, refusal: Served
):
    providers = (lab.provider("small", rule=first(refusal)), lab.provider("equal", "ok"))
    async with lab.manager(*providers) as manager:
        assert [(await lab.ask(manager, LONG)).provider for _ in range(5)] == ["equal"] * 5
        assert len(lab.to("small")) == 1, "who was too large once is not asked with the same again"
        assert (await lab.ask(manager, SHORT)).provider == "small"
        lab.skip(SIZE_HOLD_S + 1)
        assert (await lab.ask(manager, LONG)).provider == "small"


@pytest.mark.parametrize(
    "refusal",
    [
        Served(403, "<html><title>Attention Required! | Cloudflare</title></html>", {"content-type": "text/html"}),
        Served(403, "error code: 1020", {"content-type": "text/plain"}),
        Served(403, ""),
    ],
    ids=["html", "1020", "empty"],
)
async def test_30_a_firewall_in_front_of_an_api_says_nothing_of_the_key(lab: Lab, refusal: Served):
    providers = (lab.provider("edged", rule=first(refusal)), lab.provider("good", "ok"))
    async with lab.manager(*providers) as manager:
        assert [(await lab.ask(manager)).provider for _ in range(10)] == ["good"] * 10
        assert len(lab.to("edged")) == 1
        lab.skip(EDGE_REST_S + 1)
        assert (await lab.ask(manager)).provider == "edged"


async def test_30_who_is_still_refused_by_a_firewall_rests_twice_as_long(lab: Lab):
    wall = Served(403, "error code: 1020", {"content-type": "text/plain"})
    async with lab.manager(lab.provider("edged", rule=lambda _: wall), lab.provider("good", "ok")) as manager:
        for asked, rest in enumerate((EDGE_REST_S, 2 * EDGE_REST_S, 4 * EDGE_REST_S), 1):
            assert {(await lab.ask(manager)).provider for _ in range(3)} == {"good"}
            assert len(lab.to("edged")) == asked
            lab.skip(rest - 5)
            assert (await lab.ask(manager)).provider == "good"
            assert len(lab.to("edged")) == asked, "its rest is not over"
            lab.skip(6)


@pytest.mark.parametrize(
    "status", [408, 421, *(pytest.param(status, marks=pytest.mark.long) for status in (423, 504, 524))]
)
async def test_31_a_quick_refusal_of_the_moment_is_remembered_and_retried_where_alone(lab: Lab, status: int):
    later = Served(status, error("not now"))
    async with lab.manager(lab.provider("sick", rule=lambda _: later), lab.provider("good", "ok")) as manager:
        assert [(await lab.ask(manager)).provider for _ in range(30)] == ["good"] * 30
        assert len(lab.to("sick")) <= 3
    async with lab.manager(lab.provider("alone", rule=first(later))) as manager:
        assert [a.status for a in (await lab.ask(manager)).attempts] == [status, None]


async def test_a_pinned_model_that_is_gone_says_why(lab: Lab):
    async with lab.manager(lab.provider("gone", rule=lambda _: NO_SUCH_MODEL), lab.provider("good", "ok")) as manager:
        pinned = Request(ASK.messages, max_output_tokens=50, needs=Needs(model="gone/m"))
        with pytest.raises(AllAttemptsFailed) as failed:
            await lab.ask(manager, pinned)
        assert "does not exist" in str(failed.value)
        with pytest.raises(NoRoute, match="does not exist"):
            await lab.ask(manager, pinned)
    assert lab.calls == ["gone"]
