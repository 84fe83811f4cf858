"""HTTP/1.1 without I/O: the bytes of a request, and what the bytes that come back amount to.

Replies are parsed by llhttp, the parser of Node.js, through httptools. It is strict: what could be read in two ways is
an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MAX_HEAD_BYTES = 64 * 1024


class Malformed(Exception):
    """What came is not a whole HTTP/1.1 reply."""


def head_of_request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Return the request line and headers; the empty line that ends them is still to come. All is printable ASCII."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), ""]
    return "\r\n".join(lines).encode("ascii")


class ReplyParser:
    """One reply, from the bytes of its connection. Bytes after its end make the connection useless for another one."""

    __slots__ = ("_body", "_fed", "_parser", "ended", "headed", "headers", "keeps_alive", "status")

    def __init__(self) -> None:
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._fed = 0
        self._body: list[bytes] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.headed = self.ended = self.keeps_alive = False

    @property
    def begun(self) -> bool:
        """Whether any byte has come."""
        return self._fed > 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of a reply that has not ended. Raise `Malformed` for what is no reply."""
        assert self._parser is not None
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.keeps_alive = False
            if not self.ended:
                raise Malformed(type(error).__name__) from None
        if self.ended:
            self._parser = None  # it refers to this object: without the circle both go at once
        elif not self.headed and self._fed > MAX_HEAD_BYTES:
            raise Malformed(f"a head of more than {MAX_HEAD_BYTES} bytes")

    def feed_end(self) -> None:
        """Take the end of the connection. It ends a body of unknown length; raise `Malformed` where it cuts a reply."""
        chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        if not self.headed or chunked or "content-length" in self.headers:
            raise Malformed("cut short")
        self.ended = True

    def take(self) -> bytes:
        """Return what has come of the body and was not taken yet."""
        body, self._body = self._body, []
        return body[0] if len(body) == 1 else b"".join(body)

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        if self.ended:
            raise Malformed("a second reply")  # ends the parsing

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:  # else it stands behind the body
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        self.headed = self.status >= 200
        self.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self.headed:
            self.ended = True
        else:
            self.headers = {}  # an interim reply: the real one follows
