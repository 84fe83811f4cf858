"""The provider manager over real sockets: against a server that is odd, and llama.cpp. `exam/` has what goes wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import anyio
import pytest
from jsonschema import Draft202012Validator

from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.catalog.quirks import Quirks
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed
from providers.messages import (
    Capability,
    FinishReason,
    OutputSchema,
    Request,
    Response,
    Resumed,
    TextDelta,
    Usage,
    user,
)
from providers.policy.model import Policy, Timeouts
from providers.stub.scripted import Stub
from providers.transport.sockets import SocketTransport
from tests.llama import Llama
from tests.loopback import ANSWER, WORDS, Loopback

pytestmark = pytest.mark.anyio

ASK = Request((user("Say hello to 👩‍👩‍👧‍👦, שלום."),))
PATIENT = Timeouts(connect=5.0, first_token=30.0, between_chunks=30.0, total=60.0)
FREE = Price(0, 0)
KEY = "sk-loopback-secret"


def candidate(
    name: str, base_url: str, model: str = "m", capabilities: frozenset[Capability] = frozenset()
) -> Candidate:
    row = Model(model, context=8192, max_output=512, capabilities=capabilities, price=FREE)
    return Candidate(Provider(name, "openai-chat", base_url, "KEY", {model: row}), row, key=KEY)


@asynccontextmanager
async def asking(*candidates: Candidate) -> AsyncIterator[ProviderManager]:
    policy = Policy({"worker": tuple(c.name for c in candidates)}, timeouts=PATIENT, last_resort=())
    adapters = {"openai-chat": OpenAIChat(), "scripted": Stub()}
    async with SocketTransport() as transport:
        yield ProviderManager(candidates, policy, adapters=adapters, transport=transport, rng=Random(1))


async def streamed(
    manager: ProviderManager, pieces: list[str] | None = None, request: Request = ASK
) -> tuple[str, Response | None]:
    """Return what was passed on, joined, and the whole response. `pieces` keeps the former where it breaks."""
    pieces = [] if pieces is None else pieces
    async with manager.stream(request) as deltas:
        async for delta in deltas:
            assert isinstance(delta, TextDelta)
            pieces.append(delta.text)
    return "".join(pieces), deltas.response


@pytest.mark.parametrize("mode", ["ok", "wrong-type", "slow=0.1"])
async def test_what_is_odd_but_sound_is_taken(loopback: Loopback, mode):
    async with asking(candidate("odd", loopback.url(mode))) as manager:
        answer = await manager.complete(ASK)
        text, whole = await streamed(manager)

    assert answer.text == text == whole.text == ANSWER
    assert answer.usage == whole.usage == Usage(12, output=7)
    assert len(answer.attempts) == len(whole.attempts) == 1


async def test_what_is_not_utf8_becomes_a_replacement_character(loopback: Loopback):
    async with asking(candidate("odd", loopback.url("latin1"))) as manager:
        answer = await manager.complete(ASK)
        text, _ = await streamed(manager)

    assert answer.text == text == "caf\ufffd"


async def test_attempts_are_bounded_when_everything_fails(loopback: Loopback):
    bases = [loopback.url("503", *["503"] * n) for n in range(6)]
    candidates = [candidate(f"p{n}", base) for n, base in enumerate(bases)]
    async with asking(*candidates) as manager:
        with pytest.raises(AllAttemptsFailed) as failed:
            await manager.complete(ASK)

    assert 1 <= len(failed.value.exceptions) <= manager.fleet.policy.attempts_per_turn
    assert len(loopback.requests) == len(failed.value.exceptions)


async def test_what_is_sent_is_the_request_in_the_dialect(loopback: Loopback):
    base = loopback.url("ok")
    async with asking(candidate("one", base, model="small")) as manager:
        await manager.complete(ASK)
    (seen,) = loopback.to(base)

    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body["model"] == "small"
    assert seen.body["messages"] == [{"role": "user", "content": ASK.messages[0].text}]
    assert not seen.body.get("stream")


async def test_a_hundred_turns_at_once_are_answered_each_once(loopback: Loopback):
    base = loopback.url("ok")
    texts: list[str] = []

    async def turn(manager: ProviderManager) -> None:
        texts.append((await manager.complete(ASK)).text)

    async with asking(candidate("one", base)) as manager, anyio.create_task_group() as turns:
        for _ in range(100):
            turns.start_soon(turn, manager)

    assert texts == [ANSWER] * 100
    assert len(loopback.requests) == 100


# ---- a real engine

SCHEMA = {
    "type": "object",
    "required": ["verdict", "score"],
    "properties": {"verdict": {"enum": ["approve", "revise"]}, "score": {"type": "integer"}},
    "additionalProperties": False,
}


def local(llama: Llama) -> Candidate:
    return candidate("llamacpp", llama.base_url, llama.model, frozenset({Capability.JSON_SCHEMA}))


def short(**fields) -> Request:
    return Request((user("Hello 🛒, write something."),), max_output_tokens=24, seed=7, **fields)


@pytest.mark.e2e
async def test_llama_answers(llama: Llama):
    async with asking(local(llama)) as manager:
        answer = await manager.complete(short())

    assert answer.text
    assert answer.finish in (FinishReason.STOP, FinishReason.LENGTH)
    assert answer.usage.input + answer.usage.cache_read > 20
    assert 0 < answer.usage.output <= 24
    assert answer.cost == 0


@pytest.mark.e2e
async def test_llama_streams(llama: Llama):
    pieces: list[str] = []
    async with asking(local(llama)) as manager:
        text, answer = await streamed(manager, pieces, short())

    assert len(pieces) > 1
    assert text == answer.text
    assert 0 < answer.usage.output <= 24


@pytest.mark.e2e
async def test_llama_goes_on_with_an_answer_that_broke_off(llama: Llama, loopback: Loopback):
    row = candidate("llamacpp", llama.base_url, llama.model, frozenset({Capability.PREFILL}))
    row = replace(row, provider=replace(row.provider, quirks=Quirks(strict_turns=True)))
    async with asking(candidate("cut", loopback.url("cut=2")), row) as manager:
        manager.fleet.policy = replace(manager.fleet.policy, on_break="resume")
        async with manager.stream(short()) as stream:
            deltas = [delta async for delta in stream]
        before = await manager.complete(short())

    (seam,) = [at for at, delta in enumerate(deltas) if isinstance(delta, Resumed)]
    said = "".join(delta.text for delta in deltas[:seam])
    assert said == "".join(WORDS[:2])
    assert stream.response.text == said + "".join(delta.text for delta in deltas[seam + 1 :])
    assert stream.response.text.count(said) == 1
    # What came before was read as the beginning of its own answer: no more than those tokens.
    usages = [answer.usage.input + answer.usage.cache_read for answer in (stream.response, before)]
    assert 0 < usages[0] - usages[1] <= len(said)


@pytest.mark.e2e
async def test_llama_keeps_to_a_schema(llama: Llama):
    request = Request(short().messages, output_schema=OutputSchema(SCHEMA), max_output_tokens=200, seed=7)
    async with asking(local(llama)) as manager:
        answer = await manager.complete(request)

    assert answer.finish is FinishReason.STOP
    Draft202012Validator(SCHEMA).validate(json.loads(answer.text))


@pytest.mark.e2e
async def test_a_dead_provider_is_left_for_llama(llama: Llama, loopback: Loopback):
    async with asking(candidate("dead", loopback.url("reset")), local(llama)) as manager:
        answer = await manager.complete(short())

    assert (answer.provider, [a.outcome for a in answer.attempts]) == ("llamacpp", ["failed", "ok"])
