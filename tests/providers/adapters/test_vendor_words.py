"""What vendors' refusals mean, by their wording: quoted in public reports or documented, and read in every dialect.

Where the words are those that servers share, the three dialects must agree: each of them has compatible servers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from providers.adapters import HttpReply
from providers.catalog.model import Candidate, Model, Provider
from providers.errors import ProviderError
from tests.providers.recordings import ADAPTERS

NOW = 1_800_000_000.0  # Friday, 2027-01-15 08:00:00 UTC
MODEL = Model("m", 8000, 1000)
DIALECTS = tuple(ADAPTERS)
GONE, LACKS, LONG, LARGE = "Unsupported (gone)", "Unsupported", "ContextTooLong", "RequestTooLarge"


def classified(dialect: str, status: int, body: object, headers: dict[str, str] | None = None) -> ProviderError:
    row = Provider("vendor", dialect, "https://api.test/v1", None, {"m": MODEL})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ADAPTERS[dialect].classify(HttpReply(status, headers or {}, data), Candidate(row, MODEL), NOW)


def verdict(error: ProviderError) -> str:
    """Return the class of an error, and in brackets what is to follow for the model or the account."""
    marks = [mark for mark in ("gone", "money") if getattr(error, mark, False)]
    return type(error).__name__ + "".join(f" ({mark})" for mark in marks)


def said(message: str, code: object = None, kind: str = "", param: object = None, **more: object) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code, **more}}


def cases() -> Iterator[object]:
    told = yaml.safe_load(Path(__file__).with_name("vendor_words.yaml").read_text("utf-8"))
    for wanted, refusals in told.items():
        for who, status, words in refusals:
            yield pytest.param(status, words, wanted, id=f"{who} {status}")


@pytest.mark.few(92)
@pytest.mark.parametrize(("status", "words", "wanted"), list(cases()))
def test_shared_words_mean_the_same_in_every_dialect(status, words, wanted):
    for dialect in DIALECTS:
        error = classified(dialect, status, said(words))
        assert (dialect, verdict(error), error.status) == (dialect, wanted, status)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (said("x", "model_not_found"), GONE),
        (said("x", "model_decommissioned"), GONE),
        (said("x", "model_terms_required"), GONE),
        (said("x", "unavailable_model"), GONE),
        (said("x", "ModelNotOpen"), GONE),
        (said("x", None, "invalid_model"), GONE),
        (said("x", param="model"), GONE),
        ({"error": "model_permission_blocked_project"}, GONE),
        (said("x", "unsupported_value", param="temperature"), LACKS),
        (said("x", param="tools[3].function.parameters"), LACKS),
        (said("x", param="max_tokens"), LACKS),
        (said("x", param="messages"), "BadRequest"),
        (said("x", "context_length_exceeded"), LONG),
        (said("x", None, "too_many_prompt_tokens"), LONG),
        (said("x", "request_too_large"), LARGE),
        (said("string too long", "string_above_max_length", param="messages[0].content"), LARGE),
        (said("string too long", "string_above_max_length", param="tools[0].function.name"), LACKS),
        (said("array too long", "array_above_max_length", param="tools"), LACKS),
        (said("x", "budget_exceeded"), "BadRequest"),
        (said("x", "content_policy_violation"), "Declined"),
        (said("x", "invalid_api_key"), "AuthFailed"),
    ],
)
def test_codes_and_fields_tell_as_much_as_words(dialect, body, wanted):
    assert verdict(classified(dialect, 400, body)) == wanted


PAGE = b"<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title></html>"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (403, PAGE, "Blocked"),
        (403, b"error code: 1020", "Blocked"),
        (403, b"", "Blocked"),
        (403, {"title": "Error 1020: Access denied", "status": 403, "cloudflare_error": True}, "Blocked"),
        (403, {"error": {"message": "Forbidden"}}, "AuthFailed"),
        (403, {"message": "Forbidden"}, "AuthFailed"),
        (401, PAGE, "Blocked"),
        (401, b"Unauthorized", "AuthFailed"),
        (401, b"", "AuthFailed"),
        (413, PAGE, LARGE),
        (413, b"", LARGE),
        (413, b"\xff\xfe", LARGE),
        (402, b"", "QuotaSpent (money)"),
        (407, PAGE, "Unreachable"),
        (429, PAGE, "RateLimited"),
        (408, b"", "TimedOut"),
        (504, PAGE, "TimedOut"),
        (522, PAGE, "TimedOut"),
        (524, PAGE, "TimedOut"),
        (421, b"", "ServerFault"),
        (423, b"", "ServerFault"),
        (424, b"", "ServerFault"),
        (425, b"", "ServerFault"),
        (499, b"", "ServerFault"),
        (520, PAGE, "ServerFault"),
        (503, PAGE, "Overloaded"),
    ],
)
def test_what_stands_in_front_of_an_api_goes_by_status(dialect, status, body, wanted):
    error = classified(dialect, status, body)
    assert (verdict(error), error.status) == (wanted, status)


ECHO = "Tell me why the context length is exceeded, my credit balance is too low and the model does not exist."


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        {"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": {"messages": [ECHO]}}]},
        {"detail": [{"type": "string_type", "loc": ["body"], "msg": "Input should be a string", "input": ECHO}]},
        said(str([{"type": "missing", "loc": ("body", "x"), "msg": "Field required", "input": {"messages": [ECHO]}}])),
        said(str([{"type": "missing", "input": ECHO, "loc": ("body", "x"), "msg": "Field required"}])),
        said(f"1 validation error for Chat x Field required [type=missing, input_value='{ECHO}', input_type=str]"),
        said(f"Invalid value at 'contents[0].parts[0].x' (TYPE_BYTES), \"{ECHO}\""),
        said(f"Could not read '{ECHO}'"),
        said(f'Could not read "{ECHO}" at line 3'),
        {"request": {"messages": [{"role": "user", "content": ECHO}]}, "ok": False},
        {"detail": [{"msg": "Field required", "input": ECHO * 2000, "loc": ["body"]}]},
        ('{"detail":[{"msg":"Field required","input":"' + ECHO * 20000 + '"}]}').encode(),
    ],
)
def test_what_a_provider_repeats_of_a_prompt_decides_nothing(dialect, body):
    assert verdict(classified(dialect, 400, body)) == "BadRequest"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        said(
            "Provider returned error",
            metadata={"raw": '{"error":{"message":"This model\'s maximum context length is 8"}}'},
        ),
        said("""Error code: 400 - {'error': {'message': "This model's maximum context length is 8192 tokens"}}"""),
        said('{"error":{"message":"prompt is too long: 9 tokens > 8 maximum"}}'),
        said('litellm.BadRequestError: VendorException - {"error": {"message": "maximum context length is 8 tokens'),
    ],
)
def test_an_error_inside_an_error_is_the_providers_own_word(dialect, body):
    assert verdict(classified(dialect, 400, body)) == LONG


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_limit_of_nothing_is_not_waited_for(dialect):
    nothing = {
        "x-ratelimit-limit-requests": "0",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "60",
    }
    assert verdict(classified(dialect, 429, said("Rate limit exceeded"), nothing)) == GONE
    assert (
        verdict(classified(dialect, 429, said("Rate limit exceeded"), {**nothing, "retry-after": "2"})) == "RateLimited"
    )
    violation = {"quotaId": "RequestsPerDay-FreeTier", "quotaValue": "0"}
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]
    assert verdict(classified(dialect, 429, {"error": {"message": "Quota exceeded", "details": details}})) == GONE


def test_no_message_takes_long_to_judge():
    pieces = ["model ", "the prompt ", "'input': ", "is not ", "max_tokens ", '"a', "{'type': ", "schema"]
    began = time.process_time()
    for piece in pieces:
        classified("openai-chat", 400, said(piece * 20_000))
    assert time.process_time() - began < 5, "a pattern explodes"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("seconds", "until"), [(30, NOW + 30), (0.5, NOW + 0.5), (-1, None), (1e300, NOW + 30 * 86400), (True, None)]
)
def test_seconds_to_wait_may_stand_in_the_body(dialect, seconds, until):
    body = {"title": "Error 1015: You are being rate limited", "status": 429, "retry_after": seconds}
    assert classified(dialect, 429, body).retry_at == until


@pytest.mark.parametrize("dialect", DIALECTS)
def test_capacity_by_its_reason_alone(dialect):
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "MODEL_CAPACITY_EXHAUSTED"}]
    assert verdict(classified(dialect, 429, {"error": {"message": "Exhausted.", "details": details}})) == "Overloaded"
