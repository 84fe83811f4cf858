"""What keys of the gateway allow: models, rates, budgets."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from orchestrator.server.gateway.allowance import meters_of, rate_headers, span_text
from orchestrator.server.gateway.keys import ClientKeys, KeyBudget
from orchestrator.server.gateway.store import spent_in
from providers.catalog.model import Candidate
from providers.errors import BadRequest
from providers.limits.counter import Used
from providers.limits.ledger.sqlite import SqliteLedger
from providers.messages import Request, Response
from tests.orchestrator.server.priced import ASK, NOON, Answers, key, priced
from tests.orchestrator.server.served import Served, served

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0ms"), (0.0123, "13ms"), (1, "1s"), (6.5, "6.5s"), (90, "1m30s"), (7205, "2h0m5s")]
)
def test_spans_are_told_as_openai_tells_them(seconds: float, told: str) -> None:
    assert span_text(seconds) == told


def test_each_dialect_has_headers_of_its_own() -> None:
    meters = meters_of(key(rpm=60, tpm=1000), "UTC")
    assert meters.requests is not None
    used = {meters.requests.key: Used(meters.requests, 12, NOON + 30)}
    assert rate_headers(meters, used, NOON, anthropic=False) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "48",
        "x-ratelimit-reset-requests": "30s",
    }
    told = rate_headers(meters, used, NOON, anthropic=True)
    assert told["anthropic-ratelimit-requests-remaining"] == "48"
    assert told["anthropic-ratelimit-requests-reset"] == "2027-01-15T08:00:30Z"


async def test_a_key_has_no_more_than_its_rate(tmp_path: Path) -> None:
    clock = [NOON]
    keys = ClientKeys(tmp_path)
    text = keys.make("web", NOON, rpm=2, tpm=10_000, tags=("team=web",))
    manager = priced(Answers(), clock=lambda: clock[0])
    async with served(manager, tmp_path, keys) as server:
        for left in ("1", "0"):
            answer = await server.http.post(CHAT, json=ASK, headers=bearer(text))
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-remaining-requests"] == left
            assert answer.headers["x-ratelimit-limit-tokens"] == "10000"
            assert answer.headers["x-ratelimit-reset-requests"] == "1m0s"  # and not when its lease ends
        for path, body in ((CHAT, ASK), ("/v1/messages", ASK), (CHAT, {**ASK, "stream": True})):
            answer = await server.http.post(path, json=body, headers=bearer(text))
            assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "true")
            assert 60 <= int(answer.headers["retry-after"]) <= 62
            assert answer.json()["error"]["type"] == "rate_limit_error"
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        clock[0] += 62  # the window's edge, and a bucket
        assert (await server.http.post(CHAT, json=ASK, headers=bearer(text))).status_code == 200
    [(whose, figures)] = spent_in(tmp_path).items()
    assert (whose.key, whose.tags, whose.model, figures.turns, figures.cost) == (
        "web",
        ("team=web",),
        "m",
        3,
        45_000,
    )


async def _at_once(server: Served, text: str, count: int) -> list[int]:
    found: list[int] = []

    async def ask() -> None:
        found.append((await server.http.post(CHAT, json=ASK, headers=bearer(text))).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(ask)
    return sorted(found)


async def test_requests_at_once_share_the_last_cent_of_a_budget(tmp_path: Path) -> None:
    keys, answers = ClientKeys(tmp_path), Answers()
    text = keys.make("web", NOON, budgets=(KeyBudget(0.05, "day"),))  # three answers of 0.015 USD
    async with served(priced(answers), tmp_path, keys) as server:
        assert await _at_once(server, text, 6) == [200] * 3 + [429] * 3
        refused = await server.http.post(CHAT, json=ASK, headers=bearer(text))
    assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "false")
    assert refused.json()["error"]["type"] == refused.json()["error"]["code"] == "insufficient_quota"
    assert int(refused.headers["retry-after"]) > 60
    assert "$0.05 a day" in refused.json()["error"]["message"]
    assert len(answers.requests) == 3


class Refusing(Answers):
    """Refuses each request, billed for nothing, while `refuses`."""

    refuses = True

    def respond(self, request: Request, candidate: Candidate) -> Response:
        if self.refuses:
            raise BadRequest("no")
        return super().respond(request, candidate)


async def test_a_request_that_costs_nothing_gives_back_what_it_held(tmp_path: Path) -> None:
    keys, answers = ClientKeys(tmp_path), Refusing()
    text = keys.make("web", NOON, budgets=(KeyBudget(0.05, "day"),))
    asked = {**ASK, "max_tokens": 30}  # two hold more than there is
    async with served(priced(answers), tmp_path, keys) as server:
        for body in (asked, {**asked, "stream": True}, asked):
            assert (await server.http.post(CHAT, json=body, headers=bearer(text))).status_code == 400
        answers.refuses = False
        assert (await server.http.post(CHAT, json=asked, headers=bearer(text))).status_code == 200


@pytest.mark.long
async def test_a_budget_holds_over_a_restart_and_for_servers_side_by_side(tmp_path: Path) -> None:
    keys = ClientKeys(tmp_path)
    text = keys.make("web", NOON, budgets=(KeyBudget(0.05, "day"), KeyBudget(9, "month")))
    codes: list[int] = []
    for day in (0, 0, 0, 86400):
        ledger = SqliteLedger(tmp_path / "limits.sqlite3")
        async with served(priced(Answers(), ledger=ledger, clock=lambda at=NOON + day: at), tmp_path, keys) as server:
            codes += await _at_once(server, text, 2)
        await ledger.aclose()
    assert codes == [200, 200, 200, 429, 429, 429, 200, 200]
    assert json.dumps([figures.cost for figures in spent_in(tmp_path).values()]) == "[45000, 30000]"
