"""What a row says of a vendor's own words of refusal: how it is read, laid over, and what it makes of a reply."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.catalog.file import load_catalog, overlay
from providers.catalog.model import Candidate, Model, Provider
from providers.catalog.refusals import Refusal, fitting
from providers.errors import (
    AuthFailed,
    Blocked,
    CatalogError,
    ProviderError,
    QuotaSpent,
    RequestTooLarge,
    Unsupported,
)
from tests.providers.recordings import ADAPTERS

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp()  # a Friday
MODEL = Model("m", 8000, 1000)


def told(
    row: Provider, status: int, message: str, code: object = None, headers: dict[str, str] | None = None, **more: object
) -> ProviderError:
    body = {"error": {"message": message, "code": code, **more}}
    reply = HttpReply(status, headers or {}, json.dumps(body).encode())
    return ADAPTERS[row.dialect].classify(reply, Candidate(row, MODEL), NOW)


def row(*refusals: Refusal, dialect: str = "openai-chat") -> Provider:
    return Provider("vendor", dialect, "https://api.test/v1", None, {"m": MODEL}, refusals=refusals)


@pytest.mark.parametrize("dialect", ADAPTERS)
def test_a_rows_words_go_before_all_others(dialect):
    mine = row(Refusal("overloaded", says="invalid model* for today", status=400), dialect=dialect)
    assert type(told(mine, 400, "Invalid model: m, not good FOR today")).__name__ == "Overloaded"
    assert type(told(mine, 400, "Invalid model: m")) is Unsupported
    assert type(told(mine, 404, "Invalid model: m, not good for today")) is Unsupported


@pytest.mark.parametrize(
    ("refusal", "fits"),
    [
        (Refusal("gone", says="team is paused"), True),
        (Refusal("gone", says="TEAM * paused"), True),
        (Refusal("gone", says="team*by its owner*paused"), False),
        (Refusal("gone", code="Team_Paused"), True),
        (Refusal("gone", code="team"), False),
        (Refusal("gone", says="team is paused", code="team_paused", status=418), True),
        (Refusal("gone", says="team is paused", code="other"), False),
        (Refusal("gone", says="team is paused", status=400), False),
    ],
)
def test_what_fits(refusal, fits):
    assert (fitting([refusal], "The team is paused by its owner", {"team_paused", "418"}, 418) is refusal) is fits
    assert (fitting([refusal], "The team is paused by its owner", {"team_paused"}, None) is refusal) is (
        fits or refusal.status == 400
    )


@given(st.text(st.sampled_from("a*")), st.text(st.sampled_from("ab"), max_size=2000))
def test_no_pattern_is_slow(says, said):
    fitting([Refusal("gone", says=says)], said, (), 400)


def test_a_file_adds_to_a_row_and_goes_before_it():
    rows = {
        "groq": {
            "refusals": [
                {"code": "model_terms_required", "means": "invalid"},
                {"says": "no luck today", "means": "fault"},
            ]
        }
    }
    before, after = load_catalog().providers["groq"].refusals, overlay(load_catalog(), rows).providers["groq"].refusals
    assert [refusal.means for refusal in after[:2]] == ["invalid", "fault"]
    assert len(after) == len(before) + 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"says": "no", "means": "gone"}, "at least 8 characters"),
        ({"says": "** * **   **", "means": "gone"}, "at least 8 characters"),
        ({"means": "gone"}, "needs a code"),
        ({"says": "long enough"}, "means"),
        ({"says": "long enough", "means": "lost"}, "means"),
        ({"says": "long enough", "means": "gone", "until": "day"}, "only a quota comes back"),
        ({"says": "long enough", "means": "gone", "status": 200}, "status"),
        ({"says": "long enough", "means": "gone", "pattern": "(a+)+"}, "pattern"),
        ({"code": 5018, "means": "gone"}, "code"),
    ],
)
def test_what_cannot_be_a_refusal(wrong, says):
    with pytest.raises(CatalogError) as failed:
        overlay(load_catalog(), {"groq": {"refusals": [wrong]}})
    (problem,) = failed.value.problems
    assert problem.path[:4] == ("providers", "groq", "refusals", 0)
    assert says in f"{problem.path} {problem.message}"


def test_every_packaged_refusal_says_where_it_was_read():
    for provider in load_catalog().providers.values():
        for refusal in provider.refusals:
            assert refusal.source, (provider.name, refusal)
            assert refusal.as_of, (provider.name, refusal)


OPENROUTER = load_catalog().providers["openrouter"]


@pytest.mark.parametrize(
    ("limit", "until"),
    [
        ("daily", datetime(2027, 1, 16, tzinfo=UTC)),
        ("weekly", datetime(2027, 1, 18, tzinfo=UTC)),
        ("monthly", datetime(2027, 2, 1, tzinfo=UTC)),
    ],
)
def test_openrouters_key_limit_comes_back_with_its_period(limit, until):
    error = told(OPENROUTER, 403, f"Key limit exceeded ({limit} limit). Manage it using the settings", 403)
    assert (type(error), error.money, error.retry_at) == (QuotaSpent, False, until.timestamp())


def test_openrouters_total_key_limit_comes_back_by_nobodys_clock():
    error = told(OPENROUTER, 403, "Key limit exceeded (total limit). Manage it using the settings", 403)
    assert (type(error), error.money, error.retry_at) == (QuotaSpent, True, None)


def test_openrouters_own_word_of_a_reset_counts():
    spent = {"limit_source": "openrouter_workspace_budget", "resets_at": "2027-01-20T00:00:00Z"}
    error = told(OPENROUTER, 403, "Budget limit exceeded", 403, metadata=spent)
    assert (type(error), error.money) == (QuotaSpent, False)
    assert error.retry_at == datetime(2027, 1, 20, tzinfo=UTC).timestamp()


def test_openrouter_is_sent_a_cap_so_that_it_reserves_less():
    assert OPENROUTER.quirks.default_max_tokens == 8192
    large = told(OPENROUTER, 402, "This one request costs more", 402, metadata={"error_type": "weight_exceeds_budget"})
    assert type(large) is RequestTooLarge


@pytest.mark.parametrize(
    ("code", "status", "gone"), [(5007, 400, True), (5016, 403, True), (5018, 403, True), (3041, 403, True)]
)
def test_cloudflares_codes(code, status, gone):
    cloudflare = load_catalog().providers["cloudflare"]
    body = {"success": False, "result": None, "errors": [{"code": code, "message": "AiError: no"}]}
    reply = HttpReply(status, {}, json.dumps(body).encode())
    error = ADAPTERS["openai-chat"].classify(reply, Candidate(cloudflare, MODEL), NOW)
    assert (type(error), error.gone) == (Unsupported, gone)


def test_groqs_edge_is_told_from_its_verdict_on_a_key():
    groq = load_catalog().providers["groq"]
    assert type(told(groq, 403, "Access denied. Please check your network settings.")) is Blocked
    assert type(told(groq, 403, "Access denied.")) is AuthFailed


def test_a_model_too_large_for_the_machine_is_not_asked_again_and_again():
    ollama = load_catalog().providers["ollama"]
    message = "model requires more system memory (20.0 GiB) than is available (8.0 GiB)"
    assert told(ollama, 500, message).gone
