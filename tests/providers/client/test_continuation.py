"""A text that only the length of one answer cut off is continued by its model, without a seam."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from agents import Agent
from providers.catalog.model import Candidate, Model, Provider
from providers.client.continuation import MOST
from providers.client.manager import ProviderManager
from providers.errors import Overloaded
from providers.messages import Capability, FinishReason, Request, Response, Usage, assistant, user
from providers.policy.model import Policy
from providers.stub.scripted import Scripted, tool_call
from tests.agents.conftest import Voice

pytestmark = pytest.mark.anyio

LENGTH, STOP = FinishReason.LENGTH, FinishReason.STOP
ASKED = Request((user("Write."),))


def part(text: str, finish: FinishReason = LENGTH) -> Response:
    return Response(assistant(text), finish, Usage(10, output=5), "a", "m", cost=3)


def bench(*steps: Any, prefill: bool = True) -> tuple[Scripted, ProviderManager]:
    able = frozenset(Capability) if prefill else frozenset(Capability) - {Capability.PREFILL}
    model = Model("m", 100_000, 1000, able, None)
    known = [Candidate(Provider("a", "local", "", None, {"m": model}), model)]
    script = Scripted(steps)
    policy = Policy({"worker": ("a/m",)}, last_resort=())
    return script, ProviderManager(known, policy, adapters={"local": script}, rng=Random(1))


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["One, t", "wo, three."], "One, two, three."),
        (["One, ", " two."], "One, two."),
        (["One,", " two", " and three."], "One, two and three."),
        (["One, t", "One, two."], "One, two."),  # some servers repeat what they continue
        (['{"n": [1, ', "2]}"], '{"n": [1, 2]}'),
    ],
)
async def test_the_parts_are_joined_and_all_of_them_is_billed(pieces: list[str], whole: str) -> None:
    made = [part(text, LENGTH if text != pieces[-1] else STOP) for text in pieces]
    script, manager = bench(*made)
    response = await manager.complete(ASKED)
    assert (response.text, response.finish) == (whole, STOP)
    assert response.usage == Usage(10 * len(pieces), output=5 * len(pieces))
    assert (response.cost, len(response.attempts)) == (3 * len(pieces), len(pieces))
    assert script.requests[-1].messages[-1].role == "assistant"
    assert script.requests[-1].needs.model == "a/m"


async def test_it_is_bounded_and_what_is_not_whole_then_is_cut_off() -> None:
    script, manager = bench(*[part(f"{n} ") for n in range(9)])
    response = await manager.complete(ASKED)
    assert (response.text.split(), response.finish) == (["0", "1", "2", "3"], LENGTH)
    assert len(script.requests) == 1 + MOST


@pytest.mark.parametrize(
    ("request_", "first", "prefill"),
    [
        (ASKED, part("half"), False),
        (Request((user("Write."),), max_output_tokens=5), part("half"), True),  # whoever sets a cap means it
        (ASKED, part("half", FinishReason.CONTENT_FILTER), True),
        (ASKED, Response(assistant("x", tool_call("look")), LENGTH, Usage(1), "a", "m"), True),
    ],
)
async def test_nothing_else_is_continued(request_: Request, first: Response, prefill: bool) -> None:
    script, manager = bench(first, prefill=prefill)
    assert (await manager.complete(request_)).finish is first.finish
    assert len(script.requests) == 1


@pytest.mark.long
async def test_what_is_there_stays_where_the_rest_cannot_be_had() -> None:
    _, manager = bench(part("half"), *[Overloaded("full")] * 8)
    response = await manager.complete(Request((user("Write."),)))
    assert (response.text, response.finish, response.cost) == ("half", LENGTH, 3)


async def test_an_agent_s_work_is_whole_then() -> None:
    script, manager = bench(part('{"n"'), part(": 1}", STOP))
    schema = {"type": "object", "required": ["n"]}
    result = await Agent("ann", Voice(), manager).work("Count.", output_schema=schema)  # type: ignore[arg-type]
    assert (result.output, result.truncated, result.turns, len(script.requests)) == ({"n": 1}, False, 1, 2)
    assert result.usage == Usage(20, output=10)
