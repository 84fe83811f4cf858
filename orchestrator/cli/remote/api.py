"""The client of a server's API: requests, streams that go on after a break, and errors in plain words."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import anyio

from orchestrator._version import __version__
from orchestrator.cli.app import Settings
from orchestrator.cli.binding import TOKEN_VARIABLE, address_in
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.files import environment
from orchestrator.cli.remote.numbered import NumberedEvents, StreamedEvent, StreamUnreadable
from orchestrator.cli.ui.console import Console
from providers.adapters import HttpReply, HttpRequest
from providers.documents.unicode import printable
from providers.errors import ProviderError, Unreachable
from providers.transport import HttpStream, Transport, open_transport

TOKEN_FILE = "server-token"  # noqa: S105  # the name of a file
LIMITS = {"connect_s": 10.0, "first_byte_s": 60.0, "idle_s": 60.0, "total_s": 300.0}
STREAM_LIMITS = {**LIMITS, "idle_s": 45.0, "total_s": 366 * 86400.0}
"""A server says something each 15 s."""
GIVES_UP_S = 120.0
"""How long a stream that broke is tried again without an answer."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
CERTIFICATES = "SSL_CERT_FILE names the certificates to trust, in a file"


class ServerAway(Unusable):
    """The server cannot be reached, or does not answer as one."""


class NotLetIn(Unusable):
    """The server takes another token, or the sender may not do this."""


class ServerApi:
    """Asks one server. Raises `ServerAway`, `NotLetIn`, `NothingSelected` for what is not there, else `Unusable`."""

    def __init__(self, transport: Transport, url: str, token: str, console: Console) -> None:
        self._transport, self.url, self._token, self._console = transport, url, token, console

    async def get(self, *path: str, **query: Any) -> Any:
        """Return what stands at a path, whose parts are named as they are."""
        return await self._asked("GET", path, query, b"")

    async def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a document to a path, and return the answer."""
        return await self._asked("POST", path, {}, json.dumps(body).encode() if body is not None else b"")

    async def file(self, *path: str) -> bytes:
        """Return a file that stands at a path."""
        return (await self._answered("GET", path, {}, b"", "application/octet-stream")).body

    async def stream(self, *path: str, after: int) -> AsyncGenerator[tuple[int, Any], None]:
        """Yield (number, document) of each event after `after`, none twice, none left out, over breaks of the stream.

        Raise `ServerAway` where the server stays away.
        """
        async with aclosing(self.named(*path, after=str(after))) as events:
            async for event in events:
                if event.number is not None and event.number > after:
                    after = event.number
                    yield event.number, event.data

    async def named(self, *path: str, after: str) -> AsyncGenerator[StreamedEvent, None]:
        """Yield the events after the one of an id, over breaks of the stream: the server goes on after the last one."""
        pause, since = FIRST_WAIT_S, anyio.current_time()
        while True:
            why = "it ended"
            try:
                async with self._opened(path, after) as reply:
                    parser = NumberedEvents()
                    while data := await reply.read():
                        for event in parser.feed(data):
                            if event.id:
                                after = event.id
                                yield event
                        if pause > FIRST_WAIT_S * 4:
                            self._console.say("the connection is back")
                        pause, since = FIRST_WAIT_S, anyio.current_time()
            except (ProviderError, StreamUnreadable) as error:
                why = str(error)
            if anyio.current_time() - since > GIVES_UP_S:
                raise self._away(why)
            if pause == FIRST_WAIT_S * 4:
                self._console.say(printable(f"the connection to {self.url} is lost ({why}); trying again"))
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_WAIT_S)

    @asynccontextmanager
    async def _opened(self, path: tuple[str, ...], after: str) -> AsyncIterator[HttpStream]:
        request = self._request("GET", path, {}, b"", {"accept": "text/event-stream", "last-event-id": after})
        reply = await self._transport.open_stream(request, **STREAM_LIMITS)
        try:
            if reply.status in (429, 502, 503, 504):
                raise Unreachable(f"the server answers {reply.status}", status=reply.status)
            if reply.status != 200:
                body = b""
                while len(body) < 1 << 20 and (piece := await reply.read()):
                    body += piece
                raise self._refusal(HttpReply(reply.status, reply.headers, body))
            if not reply.headers.get("content-type", "").startswith("text/event-stream"):
                raise self._stranger()
            yield reply
        finally:
            await reply.aclose()

    async def _asked(self, method: str, path: tuple[str, ...], query: Mapping[str, Any], body: bytes) -> Any:
        reply = await self._answered(method, path, query, body, "application/json")
        try:
            return json.loads(reply.body)
        except ValueError:
            raise self._stranger() from None

    async def _answered(
        self, method: str, path: tuple[str, ...], query: Mapping[str, Any], body: bytes, accept: str
    ) -> HttpReply:
        request = self._request(method, path, query, body, {"accept": accept})
        try:
            reply = await self._transport.send(request, **LIMITS)
        except ProviderError as error:
            raise self._away(str(error)) from error
        if not 200 <= reply.status < 300:
            raise self._refusal(reply)
        return reply

    def _request(
        self, method: str, path: tuple[str, ...], query: Mapping[str, Any], body: bytes, more: Mapping[str, str]
    ) -> HttpRequest:
        pairs = [(name, value) for name, value in query.items() if value not in (None, "", [], ())]
        where = "/".join([self.url, "api", *(quote(part, safe="") for part in path)])
        headers = {"authorization": f"Bearer {self._token}", **more}
        if body:
            headers["content-type"] = "application/json"
        return HttpRequest(method, f"{where}?{urlencode(pairs, doseq=True)}" if pairs else where, headers, body)

    def _refusal(self, reply: HttpReply) -> Unusable:
        try:
            said = json.loads(reply.body)["error"]
            code, message, hint = str(said["code"]), str(said["message"]), str(said.get("hint") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            if 300 <= reply.status < 400 or reply.status >= 500:
                return ServerAway(f"{self.url} answers {reply.status}", "is a proxy between, and its server down?")
            return self._stranger()
        message = printable(message)
        if reply.status in (401, 403) and code == "no_access":
            if reply.status == 403:
                return NotLetIn(message)
            hint = f"set {TOKEN_VARIABLE} to the content of `{TOKEN_FILE}` in the server's state folder"
            return NotLetIn(f"{self.url} refuses the token", hint)
        if code == "other_host":
            return ServerAway(message, f"start it with --allowed-host {urlsplit(self.url).hostname}")
        kind = NothingSelected if reply.status in (404, 409) else Unusable
        return kind(message, printable(hint))

    def _stranger(self) -> ServerAway:
        return ServerAway(
            f"{self.url} does not answer as a server of this release ({__version__})",
            "is it the address that `orchestrator serve` printed, and of the same release?",
        )

    def _away(self, why: str) -> ServerAway:
        hint = "is it running? `orchestrator serve` starts one"
        if "certificate" in why.lower() or "ssl" in why.lower():
            hint = CERTIFICATES if self.url.startswith("https:") else hint
            hint = "the server speaks no TLS on this port: write http://" if "WRONG_VERSION" in why.upper() else hint
        return ServerAway(printable(f"cannot reach the server at {self.url}: {why}"), hint)


def server_url(text: str) -> str:
    """Return the address of a server without a slash at its end. Raise `Unusable`."""
    parts = urlsplit(text)
    try:
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_one = False
    if not is_one or parts.query or parts.fragment:
        raise Unusable(f"--server {text}: it is not the address of a server", "--server http://127.0.0.1:8700")
    if parts.username is not None:
        raise Unusable("--server: an address holds no password", f"set {TOKEN_VARIABLE}")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def token_for(url: str, settings: Settings, console: Console) -> str:
    """Return the token to send to a server. Raise `NotLetIn` where there is none.

    That of the state folder is this machine's own: it is sent to no other.
    """
    if chosen := environment(settings).get(TOKEN_VARIABLE, "").strip():
        if url.startswith("http:") and not is_here(url):
            console.warn(f"{TOKEN_VARIABLE} goes to {url} without TLS: others on the way can read it")
        return chosen
    file = settings.state_folder / TOKEN_FILE
    if is_here(url) or url == address_in(settings.state_folder):
        try:
            return file.read_text("utf-8").strip()
        except OSError:
            raise NotLetIn(
                f"there is no token for {url}: no {file} is here",
                f"name the server's --state folder, or set {TOKEN_VARIABLE}",
            ) from None
    raise NotLetIn(f"there is no token for {url}", f"set {TOKEN_VARIABLE} to the one that the server takes")


def is_here(url: str) -> bool:
    """Return whether a server is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def server_here(settings: Settings) -> str:
    """Return the address of the server of this state folder. Raise `ServerAway` where none said that it runs."""
    if (url := address_in(settings.state_folder)) is None:
        raise ServerAway(f"no server runs with the state folder {settings.state}", "name one: --server URL")
    return url


@asynccontextmanager
async def server_api(settings: Settings, server: str) -> AsyncIterator[ServerApi]:
    """Open the client of a server's API."""
    console, url = Console(settings), server_url(server)
    token = token_for(url, settings, console)
    async with open_transport() as transport:
        yield ServerApi(transport, url, token, console)


async def checked(api: ServerApi, warn: Callable[[str], None]) -> Mapping[str, Any]:
    """Return what a server is; warn of another release."""
    shown: Mapping[str, Any] = await api.get("server")
    if (version := str(shown.get("version", "?"))) != __version__:
        warn(printable(f"the server is of release {version}, and this command of {__version__}"))
    return shown
