"""The failover exam, 40 on: answers that are over while their sockets stay open; short deadlines, and who is asked.

What is asserted is who answered and who was asked. A bound in seconds stands only where what is wrong would take 30.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import anyio.to_thread
import pytest

from providers.errors import AllAttemptsFailed, TimedOut
from providers.routing.health import CLOSED, FAULTS_TO_OPEN
from tests.e2e.command import orchestrator
from tests.e2e.files import write_routing
from tests.loopback import Loopback
from tests.patience import PATIENCE_S
from tests.providers.exam.lab import PATIENT, Lab, within
from tests.providers.exam.raw import HEAD, LAST_CHUNK, Line, RawServer, Script
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
        pytest.param("openai-chat", USAGE, pinging(b": keep-alive\n\n"), marks=pytest.mark.long),
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


# ---- short deadlines

PATIENT_DEADLINES = (0.6, 6.0, 60.0)
"""The first is enough on a machine that does nothing else."""
CHAT = "openai-chat"
HEAD_OF_A_BODY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})


def silent(line: Line) -> None:
    """Take the request, and say nothing."""
    line.hold()


def headed(line: Line) -> None:
    line.say(HEAD if line.streamed else HEAD_OF_A_BODY)
    line.hold()


def half(line: Line) -> None:
    """Stop in the middle: of a whole body, and of a stream's first event."""
    if line.streamed:
        line.events(spoken(CHAT)[:20])
    else:
        line.say(HEAD_OF_A_BODY, body(CHAT)[:20])
    line.hold()


def dripping(piece: bytes, *, begin: bytes | None = None) -> Script:
    """Send this for ever, in the body; or after `begin`, in place of a head."""

    def script(line: Line) -> None:
        if begin is not None:
            line.say(begin)
            line.drip(piece)
        elif line.streamed:
            line.say(HEAD)
            pinging(piece)(line)
        else:
            line.say(HEAD_OF_A_BODY)
            line.drip(piece[:1])

    return script


HANGS = {
    "silent": silent,
    "interim": dripping(b"HTTP/1.1 102 Processing\r\n\r\n", begin=b""),
    "hints": dripping(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", begin=b""),
    "head drips": dripping(b"a", begin=b"HTTP/1.1 200 OK\r\nx-a: "),
    "headed": headed,
    "half": half,
    "comments": dripping(b": keep-alive\n\n"),
    "blank lines": dripping(b"\n"),
    "crlf": dripping(b"\r\n\r\n"),
    "letters": dripping(b"d"),
    "roles": dripping(ROLE),
    "chunk size": dripping(b"0", begin=HEAD),
}


async def answered(lab: Lab, raw: RawServer, hangs: list[Script], **policy: object) -> list[str]:
    """Ask where all but the last hang so, until the last one answers; return who was asked then, in order."""
    bases = [raw.url(f"p{at}", script) for at, script in enumerate([*hangs, well()])]
    given = {"timeouts": PATIENT, **policy}
    for deadline in PATIENT_DEADLINES:
        before = len(raw.calls)
        providers = [lab.provider(f"p{at}", url=base) for at, base in enumerate(bases)]
        async with lab.manager(*providers, **given) as manager:
            began = time.monotonic()
            with suppress(AllAttemptsFailed):
                answer = await lab.ask(manager, within(deadline))
                assert (answer.text, answer.provider) == (TEXT, f"p{len(hangs)}")
                for state in manager.fleet.states.values():
                    assert state.in_flight == 0
                    assert state.breaker.faults == 0 or deadline > PATIENT_DEADLINES[0], "so little is nobody's fault"
                asked = raw.calls[before:]  # whose share was over before its connection was made was not reached
                assert asked == sorted(set(asked))
                assert asked[-1] == f"p{len(hangs)}"
                return asked
            assert time.monotonic() - began < deadline + SOON_S
    raise AssertionError("the well one never answered")


OFTEN = {"silent", "head drips", "comments"}


@pytest.mark.parametrize("hang", [h if h in OFTEN else pytest.param(h, marks=pytest.mark.long) for h in HANGS])
async def test_45_a_first_candidate_that_hangs_leaves_time_for_the_second(lab: Lab, raw: RawServer, hang: str):
    await answered(lab, raw, [HANGS[hang]])
    for line in raw.requests:
        if line.name == "p0":  # on a busy machine its share may be over before its connection is made
            assert await anyio.to_thread.run_sync(line.left.wait, PATIENCE_S), "no socket is left behind"


@pytest.mark.parametrize(
    "hangs",
    [
        ("silent", "comments"),
        pytest.param(("interim", "half", "roles"), marks=pytest.mark.long),
        pytest.param(("head drips", "headed", "letters"), marks=pytest.mark.long),
    ],
)
async def test_46_two_or_three_that_hang_leave_time_for_the_last(lab: Lab, raw: RawServer, hangs: tuple[str, ...]):
    await answered(lab, raw, [HANGS[hang] for hang in hangs])


async def test_47_a_connection_that_is_never_made_leaves_time_for_the_second(lab: Lab, raw: RawServer):
    """A socket whose queue is full answers no handshake."""
    with socket.socket() as deaf, ExitStack() as queue:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        gone = lab.provider("gone", url=f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        for deadline in PATIENT_DEADLINES:
            good = lab.provider("good", url=raw.url("good", well()))
            async with lab.manager(gone, good, timeouts=PATIENT) as manager:
                with suppress(AllAttemptsFailed):
                    answer = await lab.ask(manager, within(deadline))
                    assert [(a.provider, a.error) for a in answer.attempts] == [("gone", "TimedOut"), ("good", None)]
                    return
    raise AssertionError("the well one never answered")


async def test_48_a_stream_that_stalls_leaves_time_for_who_begins_anew(streams: Lab, raw: RawServer):
    def stalling(line: Line) -> None:
        line.events(spoken(CHAT, "Hel"))
        line.hold()

    if await answered(streams, raw, [stalling], on_break="restart") == ["p0", "p1"]:
        assert streams.passed[-3:] in (["Hel", "[restarted]", TEXT], [TEXT])


async def test_49_a_hedge_and_a_deadline_go_together(lab: Lab, raw: RawServer):
    await answered(lab, raw, [silent, silent], hedge_after=0.05)


@pytest.mark.parametrize("deadline", [0.0, 0.001, 0.05])
@pytest.mark.parametrize("hang", ["silent", "interim", "letters"])
async def test_50_a_deadline_shorter_than_anything_is_nobodys_fault(
    lab: Lab, raw: RawServer, deadline: float, hang: str
):
    providers = [lab.provider(name, url=raw.url(name, HANGS[hang])) for name in "ab"]
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        began = time.monotonic()
        for _ in range(FAULTS_TO_OPEN + 1):
            with pytest.raises(AllAttemptsFailed) as failed:
                await lab.ask(manager, within(deadline))
            assert {type(error) for error in failed.value.exceptions} == {TimedOut}
        assert time.monotonic() - began < SOON_S
        assert {state.breaker for state in manager.fleet.states.values()} == {CLOSED}


async def test_51_a_deadline_ends_a_stream_that_speaks_and_blames_nobody(streams: Lab, raw: RawServer):
    def talking(line: Line) -> None:
        line.say(HEAD)
        pinging(spoken(CHAT, "word "))(line)

    talks = streams.provider("a", url=raw.url("a", talking))
    async with streams.manager(talks, timeouts=PATIENT) as manager:
        for deadline in PATIENT_DEADLINES:
            with pytest.raises((TimedOut, AllAttemptsFailed)) as failed:
                await streams.ask(manager, within(deadline))
            assert manager.fleet.states["a/m"].breaker == CLOSED
            if streams.passed:
                assert failed.value.phase == "total"
                break
        assert set(streams.passed) == {"word "}
        assert await anyio.to_thread.run_sync(raw.requests[-1].left.wait, PATIENCE_S), "no socket is left behind"


@pytest.mark.parametrize(
    "hang",
    ["comments", pytest.param("letters", marks=pytest.mark.long), pytest.param("interim", marks=pytest.mark.long)],
)
async def test_52_a_deadline_ends_a_turn_in_which_all_hang(lab: Lab, raw: RawServer, hang: str):
    providers = [lab.provider(name, url=raw.url(name, HANGS[hang])) for name in "abc"]
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        began = time.monotonic()
        with pytest.raises(AllAttemptsFailed):
            await lab.ask(manager, within(0.6))
        assert time.monotonic() - began < SOON_S
    assert set(raw.calls) <= set("abc")


async def test_53_a_refusal_whose_body_never_ends_is_heard(lab: Lab, raw: RawServer):
    def refusing(line: Line) -> None:
        line.say(b"HTTP/1.1 429 Slow\r\nretry-after: 600\r\ncontent-length: 99\r\n\r\n{")
        line.hold()

    await answered(lab, raw, [refusing])
