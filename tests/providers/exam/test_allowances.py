"""The failover exam, allowances: what headers say is left, pools of free models, and answers without an end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Limit, Provider
from providers.catalog.quirks import Quirks
from providers.errors import BadReply, NoRoute
from providers.messages import FinishReason, Needs, Request, user
from tests.loopback import ANSWER, WORDS, Seen, Served
from tests.patience import PATIENCE_S
from tests.providers.exam.lab import ASK, PATIENT, Lab

pytestmark = pytest.mark.anyio


def events(*bodies: object) -> str:
    return "".join(f"event: {body.get('type', 'message')}\ndata: {json.dumps(body)}\n\n" for body in bodies)


def said(dialect: str, headers: Mapping[str, str]) -> object:
    """Return the rule of a server that answers `hello` with these headers."""

    def rule(seen: Seen) -> Served:
        streamed = seen.body.get("stream") or dialect == "gemini"
        kind = {"content-type": "text/event-stream" if streamed else "application/json"}
        return Served(200, BODIES[dialect](bool(seen.body.get("stream"))), {**kind, **headers})

    return rule


def _openai(streamed: bool) -> object:
    choice = {"index": 0, "finish_reason": "stop"}
    if not streamed:
        return {"choices": [{**choice, "message": {"role": "assistant", "content": "hello"}}]}
    return f"data: {json.dumps({'choices': [{**choice, 'delta': {'content': 'hello'}}]})}\n\ndata: [DONE]\n\n"


def _anthropic(streamed: bool) -> object:
    usage, text = {"input_tokens": 3, "output_tokens": 1}, {"type": "text", "text": "hello"}
    head = {"id": "x", "type": "message", "role": "assistant", "model": "m", "usage": usage}
    if not streamed:
        return {**head, "content": [text], "stop_reason": "end_turn"}
    return events(
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    )


BODIES = {"openai-chat": _openai, "anthropic-messages": _anthropic}
AHEAD_S = 40.0


def at(form: str) -> str:
    """Return the instant `AHEAD_S` from now in a vendor's form."""
    then = time.time() + AHEAD_S
    forms = {
        "duration": f"{AHEAD_S:g}s",
        "ms": str(round(then * 1000)),
        "rfc3339": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then)),
    }
    return forms[form]


SPENT = {
    "openai": ("openai-chat", {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "duration"}),
    "openai tokens": ("openai-chat", {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "duration"}),
    "openrouter": ("openai-chat", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "ms"}),
    "mistral": ("openai-chat", {"x-ratelimitbysize-remaining-minute": "0", "x-ratelimitbysize-limit-minute": "500000"}),
    "anthropic": (
        "anthropic-messages",
        {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "rfc3339"},
    ),
    "anthropic tokens": (
        "anthropic-messages",
        {"anthropic-ratelimit-input-tokens-remaining": "0", "anthropic-ratelimit-input-tokens-reset": "rfc3339"},
    ),
}


def served(lab: Lab, name: str, dialect: str, headers: Mapping[str, str], limits: tuple[Limit, ...] = ()) -> Candidate:
    whole = {key: at(value) if "reset" in key else value for key, value in headers.items()}
    made = lab.provider(name, rule=said(dialect, whole), limits=limits)
    return replace(made, provider=replace(made.provider, dialect=dialect))


@pytest.mark.parametrize(("dialect", "headers"), SPENT.values(), ids=SPENT)
async def test_a1_who_says_that_nothing_is_left_is_not_asked_before_the_reset(lab: Lab, dialect: str, headers):
    """Its row states no limit: its own word is enough."""
    async with lab.manager(
        served(lab, "spent", dialect, headers), lab.provider("spare", "ok"), timeouts=PATIENT
    ) as manager:
        assert (await lab.ask(manager)).provider == "spent"
        assert (await lab.ask(manager)).provider == "spare"
        with pytest.raises(NoRoute) as refused:
            await lab.ask(manager, replace(ASK, needs=Needs(model="spent/m", deadline_s=5.0)))
        assert "are left until" in str(refused.value)
        lab.skip(61.0 if "mistral" in str(headers) or "bysize" in str(headers) else AHEAD_S + 2.0)
        assert (await lab.ask(manager)).provider == "spent"


@pytest.mark.parametrize(
    "headers",
    [
        {
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-reset-requests": "duration",
        },
        {"x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-remaining-requests": "none", "x-ratelimit-reset-requests": "duration"},
    ],
    ids=["plenty", "no end", "no number"],
)
async def test_a2_what_is_left_or_has_no_end_holds_nothing(lab: Lab, headers):
    async with lab.manager(
        served(lab, "first", "openai-chat", headers), lab.provider("spare", "ok"), timeouts=PATIENT
    ) as manager:
        for _ in range(3):
            assert (await lab.ask(manager)).provider == "first"


async def test_a3_little_that_is_left_lowers_the_score_and_keeps_away_what_is_larger(lab: Lab):
    headers = {
        "x-ratelimit-remaining-tokens": "200",
        "x-ratelimit-limit-tokens": "10000",
        "x-ratelimit-reset-tokens": "duration",
    }
    first = served(lab, "first", "openai-chat", headers)
    async with lab.manager(first, lab.provider("spare", "ok"), strategy="tier", timeouts=PATIENT) as manager:
        assert (await lab.ask(manager)).provider == "first"
        assert manager.fleet.states["first/m"].headroom == 0.02
        assert (await lab.ask(manager)).provider == "spare"
        small = replace(ASK, needs=Needs(model="first/m", deadline_s=5.0))
        assert (await lab.ask(manager, small)).provider == "first"
        with pytest.raises(NoRoute):
            await lab.ask(manager, replace(small, messages=(user("word " * 600),)))


# ---- pools


FREE = ("openai/gpt-oss-20b:free", "google/gemma-4-31b-it:free")
PAID = "openai/gpt-oss-120b"


def openrouter(lab: Lab, refusal: Served, plan: str = "") -> list[Candidate]:
    """Return the packaged row's models on loopback: the first is refused so, and the others answer."""
    row: Provider = replace(load_catalog().providers["openrouter"], plan=plan)
    url = lab.loopback.by(lambda seen: refusal if seen.body["model"] == FREE[0] else "ok")
    row = replace(row, base_url=url)
    return [Candidate(row, row.models[name], key="sk-pool") for name in (*FREE, PAID)]


def rate_limited(words: str, **metadata: object) -> Served:
    return Served(429, {"error": {"message": words, "code": 429, "metadata": metadata}})


def models(lab: Lab) -> list[str]:
    return [seen.body["model"] for seen in lab.loopback.requests]


@pytest.mark.parametrize("plan", ["", "free"])
@pytest.mark.parametrize(
    "words",
    [
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        "Rate limit exceeded: free-models-per-min. ",
    ],
)
async def test_a4_a_refusal_for_all_free_models_holds_them_and_not_the_paid_ones(lab: Lab, words: str, plan: str):
    ends = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at("ms")}
    async with lab.manager(*openrouter(lab, rate_limited(words, headers=ends), plan), timeouts=PATIENT) as manager:
        for _ in range(3):
            assert (await lab.ask(manager)).text == ANSWER
        assert models(lab) == [FREE[0], PAID, PAID, PAID]
        assert not manager.fleet.shut
        lab.skip(61.0 if "min" in words else 86400.0)
        lab.loopback.requests.clear()
        await lab.ask(manager, replace(ASK, needs=Needs(model=f"openrouter/{FREE[1]}")))
        assert models(lab) == [FREE[1]]


async def test_a5_a_refusal_by_an_upstream_holds_its_model_alone(lab: Lab):
    raw = f"{FREE[0]} is temporarily rate-limited upstream. Please retry shortly"
    refusal = rate_limited("Provider returned error", raw=raw, provider_name="Chutes")
    async with lab.manager(*openrouter(lab, refusal), timeouts=PATIENT) as manager:
        for _ in range(2):
            assert (await lab.ask(manager)).text == ANSWER
    assert models(lab)[:2] == list(FREE)
    assert models(lab)[-1] == FREE[1], "its sibling is not held"
    assert PAID not in models(lab)


async def test_a6_the_free_models_count_as_one_pool(lab: Lab):
    row = replace(load_catalog().providers["openrouter"], base_url=lab.loopback.url("ok"), plan="free")
    candidates = [Candidate(row, row.models[name], key="sk-pool") for name in (*FREE, PAID)]
    async with lab.manager(*candidates, timeouts=PATIENT) as manager:
        for turn in range(22):
            await lab.ask(
                manager, replace(ASK, needs=Needs(model=f"openrouter/{FREE[turn % 2]}"))
            ) if turn < 20 else None
        for name in FREE:
            with pytest.raises(NoRoute) as refused:
                await lab.ask(manager, replace(ASK, needs=Needs(model=f"openrouter/{name}", deadline_s=1.0)))
            assert "20 requests in 1 min" in str(refused.value)
        assert (await lab.ask(manager)).text == ANSWER
    assert models(lab).count(PAID) == 1


# ---- answers without an end


@pytest.mark.parametrize("word", ["more ", "x", " "])
async def test_a7_an_endless_answer_is_cut_and_what_was_heard_is_booked(loopback, word: str):
    lab, cap = Lab(loopback, "stream"), 50
    async with lab.manager(lab.provider("endless", f"endless={word}"), timeouts=PATIENT) as manager:
        if not word.strip():
            with pytest.raises(BadReply):  # an answer of blanks says nothing
                await lab.ask(manager)
        else:
            answer = await lab.ask(manager)
            assert answer.finish is FinishReason.LENGTH
            assert set(answer.text) == set(word)
            assert cap < len(answer.text) / 4 < 4 * cap, "and soon"
            requests, tokens = await lab.booked(manager, "endless")
            assert requests == 1
            assert tokens >= ASK.input_tokens + len(answer.text) / 4
        assert all(seen.left.wait(PATIENCE_S) for seen in lab.to("endless"))


async def test_a8_without_a_cap_the_model_s_longest_answer_is_one(loopback):
    lab = Lab(loopback, "stream")
    async with lab.manager(lab.provider("endless", "endless"), timeouts=PATIENT) as manager:
        answer = await lab.ask(manager, Request(ASK.messages))
        assert answer.finish is FinishReason.LENGTH
        assert 512 * 4 < len(answer.text) < 512 * 4 * 3


async def test_a9_an_answer_as_long_as_the_cap_allows_is_whole(loopback):
    lab, quirks = Lab(loopback, "stream"), Quirks(default_max_tokens=len(WORDS))
    made = lab.provider("first", "ok")
    async with lab.manager(replace(made, provider=replace(made.provider, quirks=quirks)), timeouts=PATIENT) as manager:
        answer = await lab.ask(manager, Request(ASK.messages))
    assert (answer.text, answer.finish) == (ANSWER, FinishReason.STOP)
