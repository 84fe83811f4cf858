"""What headers say of limits, in every family's way, and garbage, which says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.limits.headers import Seen, seen

NOW = 1_795_176_000.0  # 2026-11-20T12:00:00Z
DAY = 86400.0


@pytest.mark.parametrize(
    ("headers", "request_window", "expected"),
    [
        (  # OpenAI: Go durations
            {
                "x-ratelimit-limit-requests": "500",
                "x-ratelimit-remaining-requests": "499",
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-limit-tokens": "200000",
                "x-ratelimit-remaining-tokens": "199990",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            None,
            [Seen("requests", None, 500, 499, NOW + 0.12), Seen("tokens", 60, 200000, 199990, NOW + 360)],
        ),
        (  # Groq: requests by the day
            {"x-ratelimit-remaining-requests": "999", "x-ratelimit-reset-requests": "1m26.4s"},
            DAY,
            [Seen("requests", DAY, None, 999, NOW + 86.4)],
        ),
        (  # Anthropic: RFC 3339
            {
                "anthropic-ratelimit-input-tokens-limit": "50000",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-20T12:01:00Z",
                "anthropic-ratelimit-output-tokens-remaining": "7",
            },
            None,
            [Seen("input", 60, 50000, 0, NOW + 60), Seen("output", 60, None, 7, None)],
        ),
        (  # Cerebras: float seconds, windows in the names
            {
                "x-ratelimit-remaining-requests-day": "14399",
                "x-ratelimit-reset-requests-day": "24483.749445676804",
                "x-ratelimit-remaining-tokens-minute": "59000",
            },
            None,
            [Seen("requests", DAY, None, 14399, NOW + 24483.749445676804), Seen("tokens", 60, None, 59000, None)],
        ),
        (  # OpenRouter: epoch milliseconds, and no word for what is counted
            {
                "x-ratelimit-limit": "50",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": str(int((NOW + 9) * 1000)),
            },
            None,
            [Seen("requests", None, 50, 0, NOW + 9)],
        ),
        (  # Mistral, new and old
            {"x-ratelimit-limit-req-minute": "4", "x-ratelimit-remaining-req-minute": "3"},
            None,
            [Seen("requests", 60, 4, 3, None)],
        ),
        (
            {"x-ratelimitbysize-remaining-month": "5", "ratelimitbysize-reset": "30"},
            None,
            [Seen("tokens", 30 * DAY, None, 5, None), Seen("tokens", 60, None, None, NOW + 30)],
        ),
    ],
)
def test_each_family(headers, request_window, expected):
    assert seen(headers, NOW, request_window) == expected


@pytest.mark.parametrize(
    "headers",
    [{"x-ratelimit-remaining-requests": value} for value in ("", "-1", "nan", "inf", "1e999", "many", "٣ of 4", "0x10")]
    + [
        {"x-ratelimit-reset-requests": "2020-01-01T00:00:00Z"},
        {"x-ratelimit-remaining-bananas": "3"},
        {"x-ratelimit-remaining-requests-fortnight": "3"},
        {"retry-after": "3"},
    ],
)
def test_garbage_says_nothing(headers):
    assert seen(headers, NOW) == []


names = st.builds(
    "-".join,
    st.lists(
        st.sampled_from(["x", "ratelimit", "limit", "remaining", "reset", "tokens", "req", "day", "anthropic"]),
        max_size=6,
    ),
)


@given(st.dictionaries(names | st.text(), st.text() | st.floats().map(str), max_size=8))
def test_it_never_raises(headers):
    for each in seen(headers, NOW):
        assert each.remaining is None or each.remaining >= 0
        assert each.resets_at is None or each.resets_at >= NOW
