"""Where a reply ends: in any pieces, and never called whole with a byte too much."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.transport.framing import MAX_HEAD_BYTES, Framing

WHOLE = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n0\r\n\r\n",
]
SURPLUS = [b"\r\n", b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", WHOLE[3], b"0\r\n\r\n"]


def framing_of(*pieces: bytes) -> Framing:
    framing = Framing()
    for piece in pieces:
        framing.feed(piece)
    return framing


@given(reply=st.sampled_from(WHOLE), cuts=st.lists(st.integers(0, 90), max_size=6), surplus=st.sampled_from(SURPLUS))
def test_a_reply_is_whole_at_its_last_byte_alone(reply, cuts, surplus):
    marks = sorted({0, len(reply), *(cut for cut in cuts if cut < len(reply))})
    pieces = [reply[a:b] for a, b in pairwise(marks)]
    framing = Framing()
    for piece in pieces[:-1]:
        framing.feed(piece)
        assert not framing.is_whole
    framing.feed(pieces[-1])
    assert framing.is_whole
    framing.feed(surplus)
    assert not framing.is_whole
    assert not framing_of(*pieces[:-1], pieces[-1] + surplus).is_whole


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\nto the end of the connection",
        b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ntrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-content-length: 2\r\n\r\nok",
        b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n",
    ],
)
def test_what_it_cannot_be_sure_of_is_not_whole(reply):
    assert not framing_of(reply).is_whole
