"""An error under status 200, in a whole body or half-way through a stream, is what its status would have been."""

from __future__ import annotations

import json

import pytest

from providers.adapters import HttpReply
from providers.catalog.model import Candidate, Model, Provider
from providers.catalog.refusals import Refusal
from providers.errors import ProviderError
from providers.messages import Request, user
from tests.providers.adapters.test_vendor_words import DIALECTS, GONE, LONG, NOW, verdict
from tests.providers.recordings import ADAPTERS

MODEL = Model("m", 8000, 1000)
ASK = Request((user("hi"),))
OWN = (Refusal("gone", says="the moon is full"),)
ROADS = ("whole", "event", "named event", "no stream")


def read(dialect: str, road: str, body: object) -> None:
    row = Provider("vendor", dialect, "https://api.test/v1", None, {"m": MODEL}, refusals=OWN)
    candidate, data = Candidate(row, MODEL), json.dumps(body).encode()
    adapter = ADAPTERS[dialect]
    if road == "whole":
        adapter.decode(HttpReply(200, {}, data), ASK, candidate, NOW)
        return
    name = b"event: error\n" if road == "named event" else b""
    decoder = adapter.stream_decoder(ASK, candidate, NOW)
    decoder.feed(data if road == "no stream" else name + b"data: " + data + b"\n\n")
    decoder.finish()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    ("error", "wanted", "status"),
    [
        ({"code": 408, "message": "late"}, "TimedOut", 408),
        ({"code": 504, "message": "late"}, "TimedOut", 504),
        ({"code": 524, "message": "late"}, "TimedOut", 524),
        ({"code": 421, "message": "not here"}, "ServerFault", 421),
        ({"code": 423, "message": "locked"}, "ServerFault", 423),
        ({"code": "502", "message": "bad gateway"}, "ServerFault", 502),
        ({"code": 529, "message": "busy"}, "Overloaded", 529),
        ({"code": 404, "message": "The model `m` does not exist"}, GONE, 404),
        ({"code": 400, "message": "Invalid model: m"}, GONE, 400),
        ({"code": 400, "message": "who knows"}, "BadRequest", 400),
        ({"code": 403, "message": "You are not allowed to sample from this model"}, GONE, 403),
        ({"code": 413, "message": "Payload too large"}, "RequestTooLarge", 413),
        ({"code": 429, "message": "slow down"}, "RateLimited", 429),
        ({"type": "overloaded_error", "message": "Overloaded"}, "Overloaded", 529),
        ({"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}, LONG, 400),
        ({"type": "rate_limit_error", "message": "slow down"}, "RateLimited", 429),
        ({"type": "authentication_error", "message": "invalid x-api-key"}, "AuthFailed", 401),
        ({"type": "timeout_error", "message": "late"}, "TimedOut", 504),
        ({"type": "invalid_request_error", "code": "rate_limit_exceeded", "message": "no"}, "RateLimited", 429),
        ({"type": "invalid_request_error", "code": "invalid_api_key", "message": "no"}, "AuthFailed", 401),
        ({"type": "server_error", "code": "overloaded_error", "message": "no"}, "Overloaded", 529),
        ({"message": "This model's maximum context length is 8 tokens"}, LONG, 500),
        ({"message": "model 'm' not found"}, GONE, 500),
        ({"message": "Rate limit exceeded"}, "RateLimited", 500),
        ({"message": "tools param requires --jinja flag"}, "Unsupported", 500),
        ({"message": "The moon is FULL"}, GONE, 500),
        ({"message": "an internal error"}, "ServerFault", 500),
    ],
)
def test_an_error_under_200(dialect, road, error, wanted, status):
    with pytest.raises(ProviderError) as failed:
        read(dialect, road, {"type": "error", "error": error})
    assert (verdict(failed.value), failed.value.status) == (wanted, status)
