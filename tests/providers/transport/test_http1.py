"""The bytes of HTTP/1.1: any split of a reply's bytes comes to the same, and what is ambiguous is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.transport.http1 import MAX_HEAD_BYTES, Malformed, ReplyParser, head_of_request

OK = b"HTTP/1.1 200 OK\r\n"


def parsed(data: bytes, cuts: list[int], *, end: bool = False) -> ReplyParser:
    parser = ReplyParser()
    for start, stop in pairwise([0, *sorted(cut % len(data) for cut in cuts), len(data)]):
        if start < stop and not parser.ended:
            parser.feed(data[start:stop])
    if end:
        parser.feed_end()
    return parser


@pytest.mark.parametrize(
    ("reply", "status", "headers", "body", "keeps_alive"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", 200, {"content-length": "2"}, b"hi", True),
        (
            OK + b"x: \xe9\r\ny:\r\ncontent-length: 0\r\n\r\n",
            200,
            {"x": "é", "y": "", "content-length": "0"},
            b"",
            True,
        ),
        (
            OK + b"transfer-encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nx-trailer: 1\r\n\r\n",
            *(200, {"transfer-encoding": "chunked"}, b"hi", True),
        ),
        (b"HTTP/1.1 100 Continue\r\na: b\r\n\r\n" + b"HTTP/1.1 204 Gone\r\n\r\n", 204, {}, b"", True),
        (OK + b"connection: close\r\ncontent-length: 1\r\n\r\nx", 200, ..., b"x", False),
        (b"HTTP/1.0 429 Slow\r\ncontent-length: 1\r\n\r\nx", 429, ..., b"x", False),
    ],
)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=5))
def test_any_split_comes_to_the_same(reply, status, headers, body, keeps_alive, cuts):
    parser = parsed(reply, cuts)
    assert parser.ended
    assert (parser.status, parser.take(), parser.keeps_alive) == (status, body, keeps_alive)
    assert parser.take() == b""
    if headers is not ...:
        assert parser.headers == headers


@given(cuts=st.lists(st.integers(0, 100), max_size=3))
def test_a_body_of_unknown_length_ends_with_its_connection(cuts):
    parser = parsed(OK + b"\r\nall of it", cuts, end=True)
    assert (parser.take(), parser.ended, parser.keeps_alive) == (b"all of it", True, False)


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"content-length: 3\r\n\r\nab",
        OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_what_is_cut_short_is_no_reply(cut):
    parser = ReplyParser()
    parser.feed(cut)
    assert not parser.ended
    assert parser.begun == bool(cut)
    with pytest.raises(Malformed):
        parser.feed_end()


@pytest.mark.parametrize(
    "wrong",
    [
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 99999999999999999999999\r\n\r\n",
        OK + b"x : y\r\n\r\n",
        OK + b"x: a\0b\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        OK + b"x: " + b"y" * MAX_HEAD_BYTES,
        b"HTTP/1.1 102 Wait\r\n\r\n" * 4000,
    ],
)
def test_what_is_wrong_or_ambiguous_is_refused(wrong):
    with pytest.raises(Malformed):
        ReplyParser().feed(wrong)


@pytest.mark.parametrize("surplus", [b"H", OK + b"content-length: 1\r\n\r\nx", b"\0", b"{}"])
def test_what_follows_a_reply_is_no_part_of_it(surplus):
    reply = OK + b"content-length: 2\r\n\r\nhi"
    parser = ReplyParser()
    parser.feed(reply + surplus)
    assert (parser.status, parser.take(), parser.ended) == (200, b"hi", True)
    assert not parser.keeps_alive
    assert parser.headers == {"content-length": "2"}


def test_header_names_are_lower_case_and_values_may_be_empty_or_latin():
    parser = parsed(OK + b"X: \xe9\r\ny:\r\nContent-Length: 0\r\n\r\n", [])
    assert parser.headers == {"x": "é", "y": "", "content-length": "0"}


def test_a_request_begins_with_its_line_and_headers():
    assert head_of_request("POST", "/v1", {"host": "a", "x": ""}) == b"POST /v1 HTTP/1.1\r\nhost: a\r\nx: \r\n"
