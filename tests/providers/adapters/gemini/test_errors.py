"""What Google's error replies mean, and until when."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.adapters.gemini.encode import Gemini
from providers.catalog.model import Candidate, Model, Provider
from providers.errors import (
    AuthFailed,
    BadRequest,
    ContextTooLong,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    RequestTooLarge,
    ServerFault,
    TimedOut,
    Unreachable,
    Unsupported,
)

MODEL = Model("gemini-x", context=8000, max_output=1000)
HERE = Candidate(Provider("home", "gemini", "https://api.test/v1beta", "KEY", {MODEL.name: MODEL}), MODEL)
NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC, midnight in California
DAY = 86400.0
SPENT = "You exceeded your current quota, please check your plan and billing details."


def error(status: int, body: object = b"", headers: dict | None = None, now: float = NOW) -> ProviderError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Gemini().classify(HttpReply(status, headers or {}, data), HERE, now)


def rpc(status: int, message: str, *details: dict, word: str = "") -> dict:
    return {"error": {"code": status, "message": message, "status": word, "details": list(details)}}


def reason(word: str) -> dict:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": word, "domain": "googleapis.com"}


def quota(*ids: str) -> dict:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": each, "quotaMetric": "generativelanguage.googleapis.com/x"} for each in ids],
    }


def retry(delay: object) -> dict:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
DAILY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, rpc(400, "API key not valid. Please pass a valid API key.", reason("API_KEY_INVALID")), AuthFailed),
        (400, rpc(400, "API key expired. Please renew the API key."), AuthFailed),
        (400, rpc(400, "API Key not found. Please pass a valid API key."), AuthFailed),
        (400, rpc(400, "User location is not supported for the API use."), AuthFailed),
        (401, rpc(401, "Request had invalid authentication credentials."), AuthFailed),
        (403, rpc(403, "Method doesn't allow unregistered callers."), AuthFailed),
        (403, rpc(403, "Requests are blocked.", reason("API_KEY_SERVICE_BLOCKED")), AuthFailed),
        (403, rpc(403, "This API method requires billing.", reason("BILLING_DISABLED")), QuotaSpent),
        (402, rpc(402, "Pay first."), QuotaSpent),
        (429, rpc(429, "Your prepayment credits are depleted."), QuotaSpent),
        (429, rpc(429, "Your project has exceeded its monthly spending cap."), QuotaSpent),
        (400, rpc(400, "The input token count exceeds the maximum number of tokens allowed 1048576."), ContextTooLong),
        (
            400,
            rpc(400, "The input token count (1200000) exceeds the maximum number of tokens allowed."),
            ContextTooLong,
        ),
        (400, rpc(400, "Request payload size exceeds the limit: 20971520 bytes."), RequestTooLarge),
        (413, b"<html>413</html>", RequestTooLarge),
        (404, rpc(404, "models/x is not found for API version v1beta"), Unsupported),
        (400, rpc(400, "Function calling is not enabled for models/gemma-3"), Unsupported),
        (400, rpc(400, "Function calling with a response mime type: 'application/json' is unsupported"), Unsupported),
        (400, rpc(400, "Function call is missing a thought_signature in functionCall parts."), Unsupported),
        (400, rpc(400, "Unable to submit request because it must have a text parameter"), BadRequest),
        (400, [rpc(400, "Please ensure that multiturn requests alternate.")], BadRequest),
        (408, rpc(408, "late"), TimedOut),
        (504, rpc(504, "Deadline expired.", word="DEADLINE_EXCEEDED"), TimedOut),
        (503, rpc(503, "The model is overloaded. Please try again later."), Overloaded),
        (500, rpc(500, "The model is overloaded."), Overloaded),
        (500, rpc(500, "An internal error has occurred."), ServerFault),
        (499, rpc(499, "The operation was cancelled."), ServerFault),
        (501, rpc(501, "Not here."), Unsupported),
        (302, b"", Unreachable),
    ],
)
def test_each_body_is_the_error_that_it_means(status, body, kind):
    found = error(status, body)
    assert type(found) is kind
    assert found.status == status
    assert found.retry_at is None
    if not isinstance(body, bytes):
        wrapped = error(status, [body])
        assert (type(wrapped), wrapped.message) == (kind, found.message)


@pytest.mark.parametrize(
    ("details", "message", "at"),
    [
        ([quota(MINUTE), retry("48s")], SPENT, NOW + 48),
        ([quota(MINUTE), retry("48s")], f"{SPENT}\nPlease retry in 48.939935699s.", NOW + 48.939935699),
        ([quota(MINUTE), retry("1.5s")], SPENT, NOW + 1.5),
        ([], f"{SPENT * 20}\nPlease retry in 900ms.", NOW + 0.9),
        ([], "Resource has been exhausted (e.g. check quota).", None),
        ([], SPENT, None),
        ([retry("soon")], SPENT, None),
        ([retry(48)], SPENT, None),
        ([retry("-5s")], SPENT, None),
        ([retry("999999999999s")], SPENT, NOW + 30 * DAY),
    ],
)
def test_a_minute_is_waited_out(details, message, at):
    found = error(429, rpc(429, message, *details))
    assert type(found) is RateLimited
    assert found.retry_at == pytest.approx(at)


def test_a_header_counts_too():
    assert error(429, rpc(429, SPENT, retry("5s")), {"retry-after": "9"}).retry_at == NOW + 9
    assert error(503, b"", {"retry-after": "9"}).retry_at == NOW + 9
    assert error(504, rpc(504, "late", retry("3s"))).retry_at == NOW + 3


@pytest.mark.parametrize("ids", [(DAILY,), (MINUTE, DAILY)])
def test_a_day_is_gone_until_midnight_in_california_whatever_the_delay_says(ids):
    found = error(429, rpc(429, SPENT, quota(*ids), retry("27s")))
    assert type(found) is QuotaSpent
    assert found.retry_at == NOW + DAY
    assert type(error(429, rpc(429, "Limit of requests per day reached"))) is QuotaSpent


@given(st.integers(1_700_000_000, 2_000_000_000))
def test_midnight_is_the_next_one_there_also_when_the_clocks_change(now):
    found = error(429, rpc(429, SPENT, quota(DAILY)), now=float(now))
    there = datetime.fromtimestamp(found.retry_at, ZoneInfo("America/Los_Angeles"))
    assert (there.hour, there.minute, there.second) == (0, 0, 0)
    assert now < found.retry_at <= now + DAY + 3600


def test_a_system_without_time_zones_never_comes_too_early():
    """The zone database is the system's: none is to be found where its paths are empty and tzdata is not installed."""
    import zoneinfo

    from providers.adapters.gemini.errors import DAY_ZONE

    summer = 1_784_000_000.0
    with_zones = error(429, rpc(429, SPENT, quota(DAILY)), now=summer).retry_at
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(())
    ZoneInfo.clear_cache()
    try:
        try:
            ZoneInfo(DAY_ZONE)
        except zoneinfo.ZoneInfoNotFoundError:
            pass
        else:
            pytest.skip("the tzdata package stands in for the system's zones")
        assert error(429, rpc(429, SPENT, quota(DAILY)), now=summer).retry_at == with_zones + 3600
    finally:
        zoneinfo.reset_tzpath(before)
        ZoneInfo.clear_cache()


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"[[]]", b'{"error":', b'{"error":"text"}', b"\xff\x00", b"9" * 5000]
)
@pytest.mark.parametrize("status", [100, 400, 404, 429, 500, 599])
def test_garbage_is_still_a_useful_error(status, body):
    found = error(status, body, {"retry-after": "****", "x-ratelimit-reset": "\x00"})
    assert found.message
    assert found.status == status
    assert found.retry_at is None


@given(st.binary(max_size=80), st.integers(100, 599), st.text(max_size=10))
def test_nothing_raises(body, status, header):
    assert error(status, body, {"retry-after": header}).message
