"""The failover exam, 40 on: answers that are over while their sockets stay open; short deadlines, and who is asked.

What is asserted is who answered and who was asked. A bound in seconds stands only where what is wrong would take 30.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import pytest

from tests.e2e.command import orchestrator
from tests.e2e.files import write_routing
from tests.loopback import Loopback
from tests.patience import PATIENCE_S
from tests.providers.exam.lab import PATIENT, Lab
from tests.providers.exam.raw import LAST_CHUNK, Line, RawServer, Script
from tests.providers.exam.wire import OVER, TEXT, USAGE, body, event, finished, spoken

pytestmark = pytest.mark.anyio

SOON_S = 10.0
"""Well before `between_chunks` of `PATIENT` is over, on any machine."""
DIALECTS = ("openai-chat", "anthropic-messages", "gemini")
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with RawServer().serving() as server:
        yield server


@pytest.fixture
def streams(loopback: Loopback) -> Lab:
    """A bench for what only a stream can do."""
    return Lab(loopback, "stream")


def over(dialect: str, *, then: Script) -> Script:
    """Answer to the last word, and go on so where the body of a stream should end."""

    def script(line: Line) -> None:
        if line.streamed:
            line.events(spoken(dialect), finished(dialect), OVER[dialect])
        else:
            line.whole(body(dialect))
        then(line)

    return script


def well(dialect: str = "openai-chat") -> Script:
    return over(dialect, then=lambda line: line.say(LAST_CHUNK) if line.streamed else None)


def left_by_client(line: Line) -> None:
    """Hold the connection, and leave it with the client."""
    line.hold()


# ---- an answer that is over


@each_dialect
async def test_40_an_answer_that_is_over_is_taken_though_its_socket_stays_open(lab: Lab, raw: RawServer, dialect: str):
    only = lab.provider("only", url=raw.url("only", over(dialect, then=left_by_client)), dialect=dialect)
    async with lab.manager(only, timeouts=PATIENT) as manager:
        began = time.monotonic()
        answer = await lab.ask(manager)
        assert time.monotonic() - began < SOON_S
        assert (answer.text, answer.usage.output) == (TEXT, 7)
        assert [a.error for a in answer.attempts] == [None]
        assert manager.fleet.states["only/m"].breaker.faults == 0
        if lab.how == "stream":
            assert await anyio.to_thread.run_sync(raw.requests[0].left.wait, PATIENCE_S), "no socket is left behind"


@each_dialect
async def test_41_the_connection_of_a_body_that_ended_serves_again_and_another_does_not(
    lab: Lab, raw: RawServer, dialect: str
):
    scripts = (well(dialect), over(dialect, then=left_by_client), well(dialect))
    only = lab.provider("only", url=raw.url("only", *scripts), dialect=dialect)
    async with lab.manager(only, timeouts=PATIENT) as manager:
        for _ in range(2):
            assert (await lab.ask(manager)).text == TEXT
        if lab.how == "stream":
            assert (await lab.ask(manager)).text == TEXT
            assert [line.first for line in raw.requests] == [True, False, True]
        else:
            assert [line.first for line in raw.requests] == [True, False]


def pinging(piece: bytes) -> Script:
    """Send this for ever, each time as a chunk."""
    return lambda line: line.drip(b"%x\r\n%b\r\n" % (len(piece), piece))


PING = event({"type": "ping"}, "ping")


@pytest.mark.parametrize(
    ("dialect", "said", "then"),
    [
        ("openai-chat", b"", left_by_client),
        ("openai-chat", USAGE, pinging(b": keep-alive\n\n")),
        ("anthropic-messages", b"", pinging(PING)),
    ],
    ids=["bare", "usage", "pings"],
)
async def test_42_why_it_ended_is_enough_where_nothing_follows_but_pings(
    streams: Lab, raw: RawServer, dialect: str, said: bytes, then: Script
):
    def script(line: Line) -> None:
        line.events(spoken(dialect), finished(dialect), said)
        then(line)

    only = streams.provider("only", url=raw.url("only", script), dialect=dialect)
    async with streams.manager(only, timeouts=PATIENT) as manager:
        began = time.monotonic()
        answer = await streams.ask(manager)
        assert time.monotonic() - began < SOON_S
        assert [a.error for a in answer.attempts] == [None]
        assert answer.text == TEXT
        assert await anyio.to_thread.run_sync(raw.requests[0].left.wait, PATIENCE_S), "no socket is left behind"


@each_dialect
async def test_43_a_connection_that_breaks_behind_a_whole_answer_breaks_nothing(lab: Lab, raw: RawServer, dialect: str):
    def torn(line: Line) -> None:
        line.say(b"20\r\n: half a ch")
        line.left.set()  # it hangs up

    only = lab.provider("only", url=raw.url("only", over(dialect, then=torn)), dialect=dialect)
    async with lab.manager(only, timeouts=PATIENT) as manager:
        assert (await lab.ask(manager)).text == TEXT


@pytest.mark.parametrize("text", ["", TEXT])
async def test_44_an_error_in_a_stream_is_told_at_once_though_its_socket_stays_open(
    streams: Lab, raw: RawServer, text: str
):
    error = event({"error": {"message": "the engine died", "type": "server_error", "code": 500}})

    def script(line: Line) -> None:
        line.events(*([spoken("openai-chat", text)] if text else []), error)
        line.hold()

    bad, good = (streams.provider(name, url=raw.url(name, says)) for name, says in (("bad", script), ("good", well())))
    async with streams.manager(bad, good, timeouts=PATIENT, on_break="restart") as manager:
        began = time.monotonic()
        assert (await streams.ask(manager)).text == TEXT
        assert time.monotonic() - began < SOON_S
    assert raw.calls == ["bad", "good"]


@pytest.mark.parametrize("then", [left_by_client, pinging(b": keep-alive\n\n")], ids=["silent", "pings"])
def test_40_a_streamed_answer_on_the_command_line_ends_when_it_is_over(raw: RawServer, tmp_path: Path, then: Script):
    write_routing(tmp_path / "agent_routing.yaml", {"only": raw.url("only", over("openai-chat", then=then))})
    began = time.monotonic()
    ended = orchestrator("ask", "Hello?", "--stream", cwd=tmp_path)
    assert (ended.code, ended.out) == (0, TEXT + "\n"), ended.err
    assert time.monotonic() - began < 3 * SOON_S
