"""Who is let in, and what is refused before it reaches a part of the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from orchestrator.server.access import LINK_S, SESSION_S, TRIES, Access, kept_secret
from orchestrator.server.connections import HAS_COME, ConnectionLimits
from orchestrator.server.guard import Guard, RequestLimits
from orchestrator.testing import scripted
from tests.orchestrator.server.served import Served, listening, served, streamed
from tests.orchestrator.server.test_api import squad
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
NOBODY = {"authorization": ""}
PATHS = (
    "/",
    "/runs",
    "/nothing",
    "/static/page.css",
    "/static/none",
    "/api/runs",
    "/api/none",
    "/v1/models",
    "/health/live",
)
SHUT = {"x-content-type-options": "nosniff", "cache-control": "no-store", "x-frame-options": "DENY"}
REFUSED = [
    ("GET", "/", {"host": "evil.example"}, 421),
    ("GET", "/api/runs", {"host": "evil.example"}, 421),
    ("GET", "/v1/models", {"host": "127.0.0.1.evil.example"}, 421),
    ("GET", "/", {"host": "test@evil.example"}, 421),
    ("GET", "/", {"host": ""}, 421),
    ("GET", "/", {"host": "TEST:80"}, 200),
    ("GET", "/", {"host": "test."}, 200),
    ("POST", "/api/runs", {"sec-fetch-site": "cross-site"}, 403),
    ("POST", "/api/runs", {"sec-fetch-site": "same-site"}, 403),
    ("POST", "/api/runs", {"origin": "http://evil.example"}, 403),
    ("POST", "/api/runs", {"origin": "null"}, 403),
    ("POST", "/logout", {"origin": "http://test.evil.example"}, 403),
    ("POST", "/login", {"origin": "http://localhost"}, 403),
    ("POST", "/api/runs", {"origin": "http://test"}, 422),
    ("GET", "/static/..%2f..%2faccess.py", {}, 404),
    ("GET", "/static/%2e%2e/access.py", {}, 404),
    ("GET", "/static/..%5caccess.py", {}, 404),
    ("GET", "/runs/..%2f..%2fserver-token", {}, 404),
    ("GET", "/", {"cookie": "a=" + "x" * 70_000}, 431),
    ("GET", "/", {"x-request-id": "a\tb"}, 200),
    ("TRACE", "/", {}, 405),
]


@pytest.fixture
async def server(tmp_path: Path) -> Any:
    async with scripted() as manager, served(manager, tmp_path, None, [squad()]) as one:
        yield one


async def test_what_is_refused_is_refused_in_the_shape_of_the_part_that_was_asked(server: Served) -> None:
    for method, path, headers, status in REFUSED:
        answer = await server.http.request(method, path, headers=headers)
        assert answer.status_code == status, (method, path, headers, answer.text)
        assert SHUT.items() <= dict(answer.headers).items()
        if status == 421 and path != "/":
            assert answer.json()["error"]["message"], path
            assert ("type" in answer.json()["error"]) == path.startswith("/v1/")


async def test_no_answer_lets_a_page_load_or_send_anything_elsewhere(server: Served) -> None:
    for headers in ({}, NOBODY):
        for path in PATHS:
            answer = await server.http.get(path, headers=headers)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'"), path
            assert "frame-ancestors 'none'" in policy, path
            assert "unsafe" not in policy
            assert "*" not in policy
            assert SHUT.items() <= dict(answer.headers).items(), path
            assert "server" not in answer.headers


async def test_a_token_logs_a_browser_in_and_few_wrong_ones_are_taken(server: Served) -> None:
    form = await server.http.get("/login", headers=NOBODY)
    assert (form.status_code, 'type="password"' in form.text) == (200, True)
    right = {"token": server.access.token}
    entered = await server.http.post("/login", data=right, headers=NOBODY)
    cookie = entered.headers["set-cookie"]
    assert entered.status_code == 303
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie, "a browser keeps none that came without TLS"
    session = {**NOBODY, "cookie": cookie.partition(";")[0]}
    server.http.cookies.clear()
    assert (await server.http.get("/", headers=session)).status_code == 200
    out = await server.http.post("/logout", headers=session)
    assert (out.status_code, "orchestrator_session" in out.headers["set-cookie"]) == (303, True)
    server.http.cookies.clear()
    assert (await server.http.get("/", headers=session)).status_code == 401, "a kept cookie opens nothing any more"
    for wrong in [{"token": "no"}] * (TRIES - 1) + [{}]:
        assert (await server.http.post("/login", data=wrong, headers=NOBODY)).status_code == 401
    tired = await server.http.post("/login", data=right, headers=NOBODY)
    assert (tired.status_code, tired.headers["retry-after"]) == (429, "60")


async def test_who_only_looks_whether_something_is_there_hears_so_and_uses_no_link_up(server: Served) -> None:
    link = f"/login?token={server.access.link('viewer')}"
    for path in (link, "/health/live", "/health/ready"):
        seen = await server.http.head(path, headers=NOBODY)
        assert (seen.status_code, seen.content, "set-cookie" in seen.headers) == (200, b"", False)
    assert (await server.http.get(link, headers=NOBODY)).status_code == 303


async def test_a_link_from_another_page_logs_in_without_a_redirect(server: Served) -> None:
    link, chat = f"/login?token={server.access.link('viewer')}", {**NOBODY, "sec-fetch-site": "cross-site"}
    answer = await server.http.get(link, headers=chat)
    assert (answer.status_code, 'content="0;url=/"' in answer.text) == (200, True)
    assert "SameSite=strict" in answer.headers["set-cookie"]


def test_servers_on_one_machine_keep_a_session_each(tmp_path: Path) -> None:
    """A browser sends the cookies of a host to all of its ports, and keeps one cookie of a name."""
    here, there = (Access(tmp_path / name, lambda: 1000.0) for name in ("here", "there"))
    jar = {one.cookie_name: one.session(role) for one, role in ((here, "viewer"), (there, "operator"))}
    headers = [(b"cookie", "; ".join(f"{name}={value}" for name, value in jar.items()).encode())]
    request = Request({"type": "http", "headers": headers})
    assert (here.role_of(request), there.role_of(request)) == ("viewer", "operator")


def test_sessions_end_also_over_a_restart_and_forged_ones_are_none(tmp_path: Path) -> None:
    now = [1000.0]
    access = Access(tmp_path, lambda: now[0])

    def role(cookie: str, to: Access = access) -> str | None:
        headers = [(b"cookie", f"{access.cookie_name}={cookie}".encode())]
        return to.role_of(Request({"type": "http", "headers": headers}))

    viewer, operator = access.session("viewer"), access.session("operator")
    assert (role(viewer), role(operator)) == ("viewer", "operator")
    assert role(viewer.replace("viewer", "operator")) is None
    for forged in ("", ".", "...", "operator.9999999999.ab.", "operator.é.ab.é", f"{viewer}x", viewer[:-1]):
        assert role(forged) is None, forged
    access.end(operator)
    again = Access(tmp_path, lambda: now[0])
    assert (role(viewer, again), role(operator, again)) == ("viewer", None)
    now[0] += SESSION_S
    assert role(viewer, again) is None
    tokens = [access.link("viewer") for _ in range(3)]
    now[0] += LINK_S + 1
    access.link("viewer")
    assert len(access._links) == 1, tokens
    (tmp_path / "server-token").write_text("\n")
    assert kept_secret(tmp_path / "server-token"), "an empty file is no secret"


def bodies(*parts: bytes) -> Iterator[dict[str, Any]]:
    yield from ({"type": "http.request", "body": part, "more_body": True} for part in parts)
    yield {"type": "http.request", "body": b"", "more_body": False}


async def guarded(guard: Guard, headers: dict[str, str], parts: Iterator[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    """Return the status and headers of the answer to a POST whose body comes so; after its parts nothing comes."""
    told: list[Any] = []

    async def receive() -> Any:
        return next(parts, None) or await anyio.sleep_forever()

    async def send(message: Any) -> None:
        told.append(message)

    named = [(name.encode(), value.encode()) for name, value in {"host": "test", **headers}.items()]
    scope = {"type": "http", "method": "POST", "path": "/api/runs", "query_string": b"", "headers": named}
    await guard(scope, receive, send)
    return told[0]["status"], {name.decode(): value.decode() for name, value in told[0]["headers"]}


async def test_a_body_is_bounded_in_size_and_in_time(server: Served) -> None:
    chunked = {"transfer-encoding": "chunked", "authorization": f"Bearer {server.access.token}"}
    server.app._limits = RequestLimits(most_body=100, body_s=0.0, bytes_per_s=1 << 30)
    status, headers = await guarded(server.app, {"content-length": "101"}, bodies())
    assert (status, headers["connection"]) == (413, "close")
    server.app._limits = RequestLimits(most_body=100)
    assert (await guarded(server.app, chunked, bodies(b"x" * 60, b"x" * 60)))[0] == 413
    assert (await guarded(server.app, chunked, bodies(b"{}")))[0] == 422
    server.app._limits = RequestLimits(body_s=0.0)
    status, headers = await guarded(server.app, chunked, iter(()))
    assert (status, headers["connection"]) == (408, "close")
    server.app.is_full = lambda: True
    assert (await guarded(server.app, {}, bodies()))[0] == 503


async def test_a_session_has_so_many_streams_and_all_end_with_a_word_as_the_server_stops(server: Served) -> None:
    server.app._limits = RequestLimits(most_streams=1)
    told: list[list[dict[str, str]]] = []

    async def follow() -> None:
        told.append(await streamed(server, "/live?page=/", 10_000))

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            while not server.app._open:  # noqa: ASYNC110  # it has no event for it
                await anyio.sleep(0.005)
            more = await server.http.get("/live?page=/")
            assert (more.status_code, "close other tabs" in more.text) == (429, True)
            server.app.stop()
    assert told[0][-1]["event"] == "stopping"
    late = await server.http.get("/live?page=/")
    assert (late.status_code, late.headers["retry-after"]) == (503, "5")
    assert not server.app._streams


GET = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SHAPES = [
    (GET + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (GET + b"Content-Length: +3\r\n\r\nabc", 400),
    (GET + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
    (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
    (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    (GET + b"Content-Length\x0b: 3\r\n\r\nabc", 400),
    (GET + b"X-A: b\x00c\r\n\r\n", 400),
    (GET + b"Host: evil.example\r\n\r\n", 400),
    (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
    (b"GET /health/live\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    (GET + b"X-A: " + b"b" * 70_000 + b"\r\n\r\n", 431),
    (GET + b"\r\n", 200),
]


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
async def test_requests_that_two_readers_would_read_differently_are_refused(server: Served, parser: str) -> None:
    async with listening(server.app, parser=parser) as address:
        for shape, status in SHAPES:
            said = await asked(address, shape)
            first = int(said.split()[1]) if said else 0
            assert first in ({400, 421} if status == 400 else {status, 400} if status == 431 else {status}), (
                shape,
                said,
            )
            assert said.count(b"HTTP/1.1 ") <= 1, (shape, said)


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("wish", ["Upgrade: h2c", "upgrade:h2c"])
async def test_the_body_of_a_client_that_would_rather_speak_http_2_is_read(
    server: Served, parser: str, wish: str
) -> None:
    body = b'{"squad": "there is none\r\nUpgrade: of this name"}'.replace(b"\r\n", b"\\r\\n")
    head = f"""POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.access.token}\r\n{wish}\r
Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nContent-Type: application/json\r
Content-Length: {len(body)}\r\n\r\n"""
    async with listening(server.app, parser=parser) as address:
        said = await asked(address, head.encode() + body, b"}}")
    assert b" 404 " in said
    assert b"there is none\\r\\nUpgrade: of this name" in said


async def asked(address: str, sent: bytes, until: bytes = b"\r\n\r\n") -> bytes:
    """Return all that the server says to these bytes until it closes, or shortly after it has said `until`."""
    host, _, port = address.removeprefix("http://").partition(":")
    said = b""
    with anyio.fail_after(PATIENCE_S):
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(sent)
            try:
                while until not in said:
                    said += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
            with anyio.move_on_after(0.2):
                try:
                    while True:
                        said += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass
    return said


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
async def test_slow_clients_hold_no_place(server: Served, parser: str) -> None:
    limits = ConnectionLimits(head_s=0.3, write_s=0.3, idle_s=1, most=4, spare=2, most_head=4096)
    server.app._limits = RequestLimits(body_s=0.3)
    async with listening(server.app, limits, parser=parser) as address:
        for begun in (GET, GET + b"X-A: b"):
            assert b'"code": "too_slow"' in await asked(address, begun), begun
        await asked(address, GET + b"\r\n" + GET, b"it is closed")
        slow = POST.replace(b"/v1/models", b"/api/runs") + f"Authorization: Bearer {server.access.token}\r\n".encode()
        said = await asked(address, slow + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        assert b" 408 " in said
        assert b"connection: close" in said
        assert b" 431 " in await asked(address, GET + b"X-A: " + b"b" * 5000)
        quick = await asked(address, GET + b"\r\n")
        assert b" 200 " in quick


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
async def test_no_time_is_taken_for_a_body_that_came_with_its_head(parser: str) -> None:
    async def app(scope: Any, _: Any, send: Any) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": f"{scope['state'][HAS_COME]!s:5}".encode()})

    async with listening(app, parser=parser) as address:
        for sent, has_come in ((b"Content-Length: 2\r\n\r\n{}", b"True "), (b"Content-Length: 2\r\n\r\n{", b"False")):
            assert (await asked(address, POST + sent)).endswith(has_come)


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_beyond_its_connections_the_server_says_so_and_recovers(server: Served) -> None:
    limits = ConnectionLimits(head_s=PATIENCE_S, most=4, spare=2)
    async with listening(server.app, limits) as address, anyio.create_task_group():
        host, _, port = address.removeprefix("http://").partition(":")
        held = [await anyio.connect_tcp(host, int(port)) for _ in range(8)]
        refused = await asked(address, GET + b"\r\n")
        assert b" 503 " in refused
        assert b'"code": "busy"' in refused
        for one in held:
            await one.aclose()
        with anyio.fail_after(PATIENCE_S):
            while b" 200 " not in await asked(address, GET + b"\r\n"):
                pass


@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("is_trusted", [True, False])
async def test_what_a_proxy_says_is_believed_of_those_that_were_named(server: Served, is_trusted: bool) -> None:
    proxies = ("127.0.0.1",) if is_trusted else ("192.0.2.0/24",)
    async with listening(server.app, proxies=proxies) as address:
        link = f"GET /login?token={server.access.link('viewer')} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        said = await asked(address, f"{link}X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n".encode())
        cookie = next(line for line in said.splitlines() if line.lower().startswith(b"set-cookie"))
        assert (b"Secure" in cookie) is is_trusted
