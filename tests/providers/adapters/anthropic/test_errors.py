"""The Messages dialect: what its errors mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.anthropic.errors import TYPES, error_in
from providers.catalog.model import Candidate, Model, Provider
from providers.errors import (
    AuthFailed,
    BadRequest,
    Blocked,
    ContextTooLong,
    Declined,
    Fault,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    Recovery,
    RequestTooLarge,
    ServerFault,
    TimedOut,
    Unreachable,
    Unsupported,
    WrongAddress,
)

CHAT = AnthropicMessages()
NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
MODEL = Model("m", 8000, 1000)
HERE = Candidate(Provider("here", "anthropic-messages", "https://here.test/v1", None, {"m": MODEL}), MODEL)


def body(kind: str, message: str, **details) -> dict:
    error = {"type": kind, "message": message, **({"details": details} if details else {})}
    return {"type": "error", "error": error, "request_id": "req_1"}


def classified(status: int, reply: dict | bytes, **headers: str) -> ProviderError:
    data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return CHAT.classify(HttpReply(status, named, data), HERE, NOW)


INVALID = "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (400, INVALID, "max_tokens: Field required", BadRequest),
        (400, INVALID, "The request body is not valid JSON: no low surrogate in string: line 1", BadRequest),
        (400, INVALID, "prompt is too long: 3333404 tokens > 200000 maximum", ContextTooLong),
        (400, INVALID, "input length and `max_tokens` exceed context limit: 199999 + 64000 > 200000", ContextTooLong),
        (400, "exceed_context_size_error", "request (20 tokens) exceeds the available context size", ContextTooLong),
        (413, "request_too_large", "Request exceeds the maximum size", RequestTooLarge),
        (429, "rate_limit_error", "Extra usage is required for long context requests.", ContextTooLong),
        (400, INVALID, "Your credit balance is too low to access the Anthropic API.", QuotaSpent),
        (400, INVALID, "You have reached your specified API usage limits.", QuotaSpent),
        (402, "billing_error", "Payment required", QuotaSpent),
        (429, "rate_limit_error", "spend limit reached", QuotaSpent),
        (429, "rate_limit_error", "This request would exceed your daily rate limit", QuotaSpent),
        (429, "rate_limit_error", "This request would exceed your rate limit of 50 requests per minute", RateLimited),
        (401, "authentication_error", "invalid x-api-key", AuthFailed),
        (403, "permission_error", "Your API key does not have permission to use the specified resource", AuthFailed),
        (400, INVALID, "This organization has been disabled.", AuthFailed),
        (404, "not_found_error", "model: claude-none", Unsupported),
        (400, INVALID, "output_config.format.schema: schema is too complex", Unsupported),
        (400, INVALID, "`temperature` is deprecated for this model.", Unsupported),
        (400, INVALID, "Output blocked by content filtering policy", Declined),
        (409, "conflict_error", "conflict", ServerFault),
        (500, "api_error", "Internal server error", ServerFault),
        (504, "timeout_error", "Request timed out", TimedOut),
        (529, "overloaded_error", "Overloaded", Overloaded),
        (500, "overloaded_error", "Overloaded", Overloaded),
        (503, "what comes next year", "later", Overloaded),
        (418, "what comes next year", "no", BadRequest),
    ],
)  # fmt: skip
def test_errors_by_type_and_words(status, kind, message, error):
    found = classified(status, body(kind, message))
    assert type(found) is error
    assert found.status == status
    assert found.message == message


def test_money_is_never_tried_again():
    for reply in (
        body("rate_limit_error", "limit reached", error_code="enforced_spend_limit_reached"),
        body(INVALID, "Your credit balance is too low"),
    ):
        found = classified(
            429 if "limit" in str(reply) else 400, reply, anthropic_ratelimit_requests_reset="2027-01-15T08:01:00Z"
        )
        assert type(found) is QuotaSpent
        assert (found.recovery, found.fault, found.retry_at) == (Recovery.ELSEWHERE, Fault.KEY, None)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "contract_spend_limit_reached", QuotaSpent),
        (402, "linked_organization_spend_limit_reached", QuotaSpent),
        (400, "organization_on_hold", AuthFailed),
        (400, "request_body_encoding_invalid", BadRequest),
        (413, "request_body_too_large_after_decoding", RequestTooLarge),
    ],
)
def test_errors_by_code(status, code, error):
    assert type(classified(status, body("what comes next year", "words", error_code=code))) is error


def test_a_spend_limit_of_ones_own_ends_when_it_says():
    found = classified(
        400,
        body(
            INVALID,
            "You have reached your specified API usage limits. You will regain access on 2027-02-01 at 00:00 UTC.",
        ),
    )
    assert found.retry_at == 1_801_440_000


@pytest.mark.parametrize(
    ("headers", "at"),
    [
        ({"retry_after": "34"}, NOW + 34),
        ({"retry_after": "Fri, 15 Jan 2027 08:02:00 GMT"}, NOW + 120),
        ({"anthropic_ratelimit_input_tokens_reset": "2027-01-15T08:01:30Z"}, NOW + 90),
        (
            {
                "anthropic_ratelimit_requests_remaining": "49",
                "anthropic_ratelimit_requests_reset": "2027-01-15T08:00:01Z",
                "anthropic_ratelimit_output_tokens_remaining": "0",
                "anthropic_ratelimit_output_tokens_reset": "2027-01-15T08:00:20Z",
            },
            NOW + 20,
        ),
        ({"retry_after": "1e9"}, NOW + 30 * 86400),
        ({"retry_after": "XXX", "anthropic_ratelimit_tokens_reset": "ANTHROPIC-RATELIMIT-TOKENS-RESET-XXX"}, None),
        ({}, None),
    ],
)
def test_when_to_come_again(headers, at):
    limited = classified(429, body("rate_limit_error", "slow down", error_code="ramp_limit_exceeded"), **headers)
    assert type(limited) is RateLimited
    assert limited.retry_at == at
    assert classified(529, body("overloaded_error", "Overloaded"), **headers).retry_at == at


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Unreachable),
        (400, BadRequest),
        (401, AuthFailed),
        (404, Unsupported),
        (408, TimedOut),
        (413, RequestTooLarge),
        (429, RateLimited),
        (502, ServerFault),
        (503, Overloaded),
    ],
)
@pytest.mark.parametrize("page", [b"", b"<html><h1>Bad gateway</h1></html>", b"[]", b'{"error": null}', b"\xff\xfe"])
def test_pages_of_proxies_go_by_status(status, error, page):
    found = classified(status, page)
    if status == 404 and page[:1] in (b"", b"<"):
        error = WrongAddress
    if status == 401 and page[:1] == b"<":  # a gateway's login page: the API never saw the key
        error = Blocked
    assert type(found) is error
    assert found.message


@pytest.mark.parametrize("kind", TYPES)
def test_an_error_inside_a_200_is_the_same_error(kind):
    inside, outside = error_in(body(kind, "words"), {}, NOW), classified(TYPES[kind], body(kind, "words"))
    assert (type(inside), inside.message, inside.status) == (type(outside), outside.message, outside.status)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(list(TYPES))
)
keys = st.sampled_from(
    ["type", "error", "message", "details", "error_code", "metadata", "errors", "status", "loc", "x"]
)
bodies = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))
LIMIT = "anthropic-ratelimit-requests-"
headers = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", LIMIT + "reset", LIMIT + "remaining"]),
    st.text(max_size=12)
    | st.sampled_from(["-1", "nan", "1e999", "9" * 400, "2027-13-45T99:99:99Z", "0001-01-01T00:00:00+23:59"]),
)


@given(st.integers(100, 999), headers, bodies.map(json.dumps).map(str.encode) | st.binary(max_size=40))
def test_garbage_never_raises(status, headers, page):
    found = CHAT.classify(HttpReply(status, headers, page), HERE, NOW)
    assert isinstance(found, ProviderError)
    assert found.message
    assert found.retry_at is None or NOW <= found.retry_at <= NOW + 30 * 86400
