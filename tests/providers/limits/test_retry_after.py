"""Until when a refusal holds, by headers that are not to be trusted."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.limits.headers import seen
from providers.limits.retry_after import MAX_AHEAD_S, retry_at

NOW = 1_800_000_000.0
HOUR = 3600.0


def date(at: float) -> str:
    return formatdate(at, usegmt=True)


def resets(remaining: str | None, reset: str, what: str = "requests") -> dict[str, str]:
    headers = {f"x-ratelimit-limit-{what}": "1000", f"x-ratelimit-reset-{what}": reset}
    return headers if remaining is None else {**headers, f"x-ratelimit-remaining-{what}": remaining}


@pytest.mark.parametrize(
    ("headers", "limited", "wait"),
    [
        (resets("999", "3540s"), False, None),
        (resets("999", "3540s"), True, None),
        (resets("0", "3540s"), False, 3540),
        (resets("0", "3540s"), True, 3540),
        (resets("-1", "20s"), False, 20),
        (resets("12", "3540s", "tokens"), False, None),
        (resets("12", "40s", "tokens"), True, 40),  # what is left may be too little for the request
        (resets("999", "3540s") | resets("0", "7s", "tokens"), False, 7),
        (resets(None, "30s"), True, 30),
        (resets("999", "3540s") | {"retry-after": "2"}, False, 2),
    ],
)
def test_only_a_limit_that_is_spent_says_until_when(headers, limited, wait):
    assert retry_at(headers, "", NOW, limited=limited) == (None if wait is None else NOW + wait)


@pytest.mark.parametrize("off", [-HOUR, -90, 0, 90, HOUR, 5 * HOUR])
@pytest.mark.parametrize("form", [date, lambda at: f"{at:.0f}", lambda at: f"{at * 1000:.0f}"])
def test_a_point_in_time_is_read_by_the_servers_own_clock(off, form):
    theirs = NOW + off
    assert retry_at({"date": date(theirs), "retry-after": form(theirs + 60)}, "", NOW) == NOW + 60
    spent = {"date": date(theirs), "x-ratelimit-remaining": "0", "x-ratelimit-reset": form(theirs + 60)}
    assert retry_at(spent, "", NOW) == NOW + 60
    assert [limit.resets_at for limit in seen(spent, NOW)] == [NOW + 60]


@pytest.mark.parametrize("clock", ["", "yesterday", date(0), date(NOW - 400 * 86400), "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_clock_that_is_not_to_be_believed_changes_nothing(clock):
    assert retry_at({"date": clock, "retry-after": date(NOW + 60)}, "", NOW) == NOW + 60
    assert retry_at({"date": clock, "retry-after": "60"}, "", NOW) == NOW + 60


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after-ms": "0", "retry-after": "1"}, 1),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "-1", "retry-after": "1"}, 1),
        ({"retry-after-ms": "nan", "retry-after": "1"}, 1),
        ({"retry-after-ms": "0"}, None),
        ({"retry-after": "0"}, 0),
    ],
)
def test_milliseconds_are_the_exact_figure_unless_they_say_nothing(headers, wait):
    assert retry_at(headers, "", NOW) == (None if wait is None else NOW + wait)


def test_the_latest_of_header_words_and_delay_wins():
    assert retry_at({"retry-after": "1"}, "Please try again in 5s.", NOW) == NOW + 5
    assert retry_at({"retry-after": "9"}, "Please try again in 5s.", NOW) == NOW + 9
    assert retry_at({}, "Please try again in 5s.", NOW, "48s") == NOW + 48


@pytest.mark.parametrize(
    "value",
    [
        "-1",
        "-1e300",
        "nan",
        "inf",
        "1e300",
        "1e999",
        "9" * 400,
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "0001-01-01",
        "soon",
        "\x00",
    ],
)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms", "x-ratelimit-reset", "date"])
def test_absurd_values_are_bounded(name, value):
    for headers in ({name: value}, {name: value, "retry-after": "30"}, {name: value, "x-ratelimit-remaining": "0"}):
        found = retry_at(headers, "", NOW)
        assert found is None or NOW <= found <= NOW + MAX_AHEAD_S


names = st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "x-ratelimit-remaining"])
values = st.one_of(st.text(), st.integers().map(str), st.floats().map(str), st.integers(0, 2**35).map(date))


@given(st.dictionaries(names, values), st.text(), st.text(max_size=20), st.booleans())
def test_nothing_raises_and_nothing_is_unbounded(headers, text, delay, limited):
    found = retry_at(headers, text, NOW, delay, limited=limited)
    assert found is None or NOW <= found <= NOW + MAX_AHEAD_S
