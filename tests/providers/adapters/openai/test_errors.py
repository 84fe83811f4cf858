"""What error replies mean, and until when they hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.documents.unicode import clean
from providers.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    ContextTooLong,
    Declined,
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
)
from providers.messages import (
    Request,
    user,
)

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
MODEL = Model("small-1", context=8000, max_output=1000, price=Price(1.0, 2.0))
CHAT = OpenAIChat()
ASK = Request((user("hi"),))
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def candidate(model: Model = MODEL) -> Candidate:
    return Candidate(Provider("vendor", "openai-chat", "https://api.test/v1", "KEY", {model.name: model}), model, "key")


HUGE = "a number of 5,000 digits"
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(HUGE),
        st.floats(),
        st.text(st.one_of(st.characters(), st.characters(categories=["Cs", "Cc"]))),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


def on_the_wire(value) -> bytes:
    """Return `value` as JSON, with NaN as Python writes it, and a number that Python refuses to read."""
    return json.dumps(value).replace(f'"{HUGE}"', "1" + "0" * 5000).encode()


def classify(status: int, body: object = b"", **headers: str) -> ProviderError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = CHAT.classify(HttpReply(status, named, data), candidate(), NOW)
    assert error.status == status
    return error


def told(message: str, **more) -> dict:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


OF_LIMITS = '{"text": "' + "The prompt is too long for the context window of 4096 tokens. " * 12
"""What a model wrote, of which its server could make no call."""


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, told("Your input exceeds the context window of this model."), ContextTooLong),
        (400, told("x", code="context_length_exceeded"), ContextTooLong),
        (400, told("This model's maximum context length is 8192 tokens"), ContextTooLong),
        (400, told("prompt too long; exceeded max context length by 5 tokens"), ContextTooLong),
        (
            400,
            told("the request exceeds the available context size.", type="exceed_context_size_error"),
            ContextTooLong,
        ),
        (500, told("Context size has been exceeded.", type="server_error", code=500), ContextTooLong),
        (413, b"", RequestTooLarge),
        (
            413,
            told("Request too large ... tokens per minute (TPM): Limit 6000", code="rate_limit_exceeded"),
            RequestTooLarge,
        ),
        (429, told("Request too large for gpt on tokens per min (TPM): Limit 10, Requested 20."), RequestTooLarge),
        (401, {"detail": "Invalid API Key"}, AuthFailed),
        (403, told("You are not allowed to sample from this model"), Unsupported),
        (400, told("Incorrect API key provided"), AuthFailed),
        (400, told("API key not valid. Please pass a valid API key."), AuthFailed),
        (402, told("Insufficient Balance"), QuotaSpent),
        (429, told("You exceeded your current quota", code="project_spend_limit_exceeded"), QuotaSpent),
        (429, told("You exceeded your current quota, please check your plan and billing details."), QuotaSpent),
        (429, told("Rate limit reached on tokens per day (TPD): Limit 1. Please try again in 7m12s."), QuotaSpent),
        (429, told("Rate limit exceeded: free-models-per-day"), QuotaSpent),
        (
            429,
            {
                "errors": [{"code": 4006, "message": "used up your daily free allocation of 10,000 neurons"}],
                "success": False,
                "result": None,
            },
            QuotaSpent,
        ),
        (429, {"errors": [{"code": 3040, "message": "No more data centers"}], "success": False}, Overloaded),
        (
            429,
            told("Provider returned error", metadata={"raw": "m:free is temporarily rate-limited upstream"}),
            Overloaded,
        ),
        (429, {"message": "Service tier capacity exceeded for this model."}, Overloaded),
        (
            429,
            {"message": "Requests per minute limit exceeded", "param": "quota", "code": "request_quota_exceeded"},
            RateLimited,
        ),
        (429, {"status": 429, "title": "Too Many Requests"}, RateLimited),
        (
            429,
            {"object": "error", "message": "Rate limit exceeded", "code": "1300", "raw_status_code": 429},
            RateLimited,
        ),
        (429, b"", RateLimited),
        (404, told("The model `x` does not exist", code="model_not_found"), Unsupported),
        (404, {"error": "model 'x' not found"}, Unsupported),
        (404, told("No endpoints found that support tool use."), Unsupported),
        (400, told("This response_format type is unavailable now"), Unsupported),
        (400, told("Unsupported parameter: 'stop'", code="unsupported_parameter"), Unsupported),
        (501, b"", Unsupported),
        (400, told("bad draft", code="tool_use_failed", failed_generation="[]"), BadReply),
        (
            400,
            told("Tool call validation failed: attempted to call tool 'ls' which was not in request.tools"),
            BadReply,
        ),
        (400, told("Failed to call a function. Please adjust your prompt. See 'failed_generation'"), BadReply),
        (500, told("Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse"), BadReply),
        (500, told("Failed to parse input at pos 184: <tool_call>ls"), BadReply),
        (500, told(f"error parsing tool call: raw='{OF_LIMITS}', err=unexpected end of JSON input"), BadReply),
        (
            403,
            told("Provider returned error", metadata={"raw": '{"error":"Content violates usage guidelines."}'}),
            Declined,
        ),
        (403, told("Your chosen model requires moderation", metadata={"reasons": ["violence"]}), Declined),
        (400, told("The response was filtered", code="content_filter"), Declined),
        (408, b"", TimedOut),
        (504, b"", TimedOut),
        (500, told("oops"), ServerFault),
        (502, b"<html>Bad gateway</html>", ServerFault),
        (503, told("Loading model", type="unavailable_error"), Overloaded),
        (529, b"", Overloaded),
        (498, told("x", code="capacity_exceeded"), Overloaded),
        (301, b"moved", Unreachable),
        (400, told("missing field"), BadRequest),
        (422, {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "Extra inputs"}]}}, BadRequest),
        (418, b"\xff\x00teapot", BadRequest),
    ],
)
def test_what_an_error_reply_means(status, body, error):
    assert type(classify(status, body)) is error


def test_money_is_never_retried():
    error = classify(429, told("x", code="credit_balance_exhausted"), retry_after="5")
    assert error.recovery is Recovery.ELSEWHERE
    assert error.retry_at is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (told("plain"), "plain"),
        ({"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "Extra"}]}}, "body.n: Extra"),
        ({"message": '{"detail":[{"loc":["body","n"],"msg":"Extra"}]}'}, "body.n: Extra"),
        ({"status": 400, "title": "Bad Request", "detail": "The schema was rejected."}, "The schema was rejected."),
        ({"errors": [{"code": 1, "message": "CF says"}], "success": False}, "CF says"),
        ([{"error": {"code": 400, "message": "in an array"}}], "in an array"),
        ({"error": "just text"}, "just text"),
        (
            told("Provider returned error", metadata={"raw": '{"error":{"message":"inner"}}'}),
            "Provider returned error: inner",
        ),
        (b"<html>\n <b>gateway</b></html>", "<html> <b>gateway</b></html>"),
        ({"surprise": 1}, '{"surprise": 1}'),
        (b"", "an empty body"),
        (b"\x1b[31mred\x00", "[31mred"),
    ],
)
def test_the_message_holds_the_vendors_words(body, words):
    assert classify(400, body).message == words


def test_a_long_body_is_cut_at_graphemes():
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert classify(500, (family * 5000).encode()).message == family * 200


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({"retry_after": "54"}, b"", 54),
        ({"retry_after": "1.5"}, b"", 1.5),
        ({"retry_after_ms": "250", "retry_after": "9"}, b"", 0.25),
        ({"retry_after": "Fri, 15 Jan 2027 08:01:00 GMT"}, b"", 60),
        ({"retry_after": "Fri, 15 Jan 2027 07:00:00 GMT"}, b"", 0),
        ({}, told("Please try again in 5.289s. Visit"), 5.289),
        ({}, told("Please try again in 7m12.5s."), 432.5),
        ({}, told("Please try again in 20ms."), 0.02),
        ({}, told("Please retry in 48.9s."), 48.9),
        ({}, told("Try again in 20 seconds."), 20),
        ({}, told("try again in 2 minutes"), 120),
        (
            {
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_reset_requests": "6m0s",
                "x_ratelimit_remaining_tokens": "10",
                "x_ratelimit_reset_tokens": "1h",
            },
            b"",
            360,
        ),
        ({"x_ratelimit_reset_requests": "20m9.6s", "x_ratelimit_reset_tokens": "5.42s"}, b"", 5.42),
        ({"x_ratelimit_remaining_tokens_minute": "0", "x_ratelimit_reset_tokens_minute": "58.67"}, b"", 58.67),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "1800000060000"}, b"", 60),
        ({"x_ratelimit_reset": "1800000060"}, b"", 60),
        ({"x_ratelimit_reset": "2027-01-15T08:01:00Z"}, b"", 60),
        ({}, told("x", metadata={"headers": {"X-RateLimit-Reset": "1800000060000"}}), 60),
        ({"retry_after": "999999999"}, b"", 30 * 86400),
        ({}, b"", None),
        ({"retry_after": "soon"}, b"", None),
        ({"retry_after": "nan"}, b"", None),
        ({"retry_after": "1e999"}, b"", None),
        ({"retry_after": "-4"}, b"", None),
        ({"retry_after": "***", "x_ratelimit_reset": "REDACTED"}, b"", None),
        ({"retry_after": "9999-99-99T99:99:99Z"}, b"", None),
    ],
)
def test_until_when(headers, body, wait):
    error = classify(429, body, **headers)
    assert type(error) is RateLimited
    assert error.retry_at == (None if wait is None else pytest.approx(NOW + wait, abs=1e-3))


def test_neurons_come_back_at_midnight():
    body = {"success": False, "errors": [{"code": 3036, "message": "account limited"}]}
    assert classify(429, body).retry_at == NOW + 16 * 3600


def test_openrouter_402_for_calls_in_flight_heals():
    error = classify(402, told("in flight", metadata={"limit_source": "openrouter_in_flight_budget"}), retry_after="3")
    assert type(error) is RateLimited
    assert error.retry_at == NOW + 3


header_names = st.sampled_from(
    ["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-remaining", "x-ratelimit-reset-tokens"]
)
header_values = st.one_of(st.text(), st.integers().map(str), st.floats().map(str), st.datetimes().map(str))


@given(
    st.integers(100, 999),
    st.one_of(st.binary(), json_values.map(on_the_wire), json_values.map(lambda v: on_the_wire({"error": v}))),
    st.dictionaries(header_names, header_values),
)
def test_no_reply_is_too_strange_to_classify(status, body, headers):
    error = CHAT.classify(HttpReply(status, headers, body), candidate(), NOW)
    assert isinstance(error, ProviderError)
    assert clean(error.message) == error.message
    assert error.retry_at is None or NOW <= error.retry_at <= NOW + 30 * 86400
