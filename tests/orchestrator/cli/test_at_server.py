"""Commands that ask a running server (`--server`): they show what they show here, whatever the line between does."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.from_thread import start_blocking_portal

from orchestrator.cli.binding import announced
from orchestrator.cli.remote.numbered import NumberedEvents, StreamUnreadable
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from providers.client.control_log import ControlFollower, ControlLog
from tests.orchestrator.server.served import listening, served
from tests.orchestrator.server.test_api import squad
from tests.patience import PATIENCE_S

WIRE = (
    b': keep-alive\n\nid: 1\nevent: run.started\ndata: {"a": "\xc3\xa9"}\n\n'
    b"event: stopping\ndata: {}\n\nid: 2\ndata: [1]\n\nid: 3\nda"
)


def test_events_are_the_same_in_any_pieces_and_a_half_one_is_none() -> None:
    for size in (1, 2, 7, len(WIRE)):
        parser = NumberedEvents()
        heard = [one for at in range(0, len(WIRE), size) for one in parser.feed(WIRE[at : at + size])]
        assert heard == [("1", "run.started", {"a": "é"}), ("", "stopping", {}), ("2", "", [1])]
        assert [one.number for one in heard] == [1, None, 2]
    with pytest.raises(StreamUnreadable):
        list(NumberedEvents().feed(b"data: <html>\n\n"))


@asynccontextmanager
async def _controlled(folder: Path, *answers: Any) -> AsyncIterator[Any]:
    """Answer so, and heed what operators set."""
    async with scripted(*answers) as manager:
        manager.follower = ControlFollower(ControlLog(folder))
        yield manager


@asynccontextmanager
async def serving(
    folder: Path, answers: tuple[Any, ...], cuts: list[int], text: str | None = None
) -> AsyncIterator[str]:
    """Serve the squad `notes`, or one of this text; each of the first streams breaks after so many bytes."""
    async with (
        _controlled(folder, *answers) as manager,
        served(manager, folder, None, [squad() if text is None else Squad.from_text(text, "filed.yaml")]) as server,
        listening(server.app) as address,
        breaking(address, cuts) as broken,
    ):
        yield broken


@asynccontextmanager
async def breaking(address: str, cuts: list[int]) -> AsyncIterator[str]:
    port = int(address.rpartition(":")[2])
    if not cuts:
        yield address
        return

    async def pump(source: ByteStream, target: ByteStream, *, may_break: bool) -> None:
        left = float("inf")
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while left > 0:
                data = await source.receive()
                if may_break and b"text/event-stream" in data and cuts:
                    left = cuts.pop(0)
                data = data[: int(min(left, 1 << 16))]
                left -= len(data)
                await target.send(data)
        await source.aclose()
        await target.aclose()

    async def relay(client: ByteStream) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(partial(pump, client, server, may_break=False))
            tasks.start_soon(partial(pump, server, client, may_break=True))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, relay)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@contextmanager
def at_work(folder: Path, *answers: Any, cuts: list[int] | None = None, text: str | None = None) -> Iterator[str]:
    """Serve in a thread, so that commands may be called in this one."""
    (folder / ".orchestrator").mkdir(exist_ok=True)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(folder / ".orchestrator", answers, cuts or [], text)) as address,
    ):
        yield address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_SERVER_TOKEN", raising=False)
    return tmp_path


@pytest.mark.long
def test_a_run_at_a_server_is_begun_answered_followed_and_shown(call: Callable[..., Any], folder: Path) -> None:
    with at_work(folder, "A draft.", "Told.") as address:
        at = ("--server", address)
        begun = call("run", "notes", "-i", "topic=coffee", "--run-id", "one", *at)
        assert (begun.code, begun.out) == (7, "")
        assert f"next: orchestrator approvals approve one gate --server {address}" in begun.err
        (asked,) = json.loads(call("approvals", "ls", "--json", *at).out)
        assert (asked["run"], asked["task"], asked["shown"]) == ("one", "gate", {"draft": "A draft."})
        assert "A draft." in call("approvals", "show", "one", *at).out
        wrong = call("approvals", "say", "one", "gate", "hello", *at)
        assert (wrong.code, "takes one of: approve, reject" in wrong.err) == (2, True)
        answered = call("approvals", "approve", "latest", "ga", "--comment", "fine", *at)
        assert (answered.code, "gate: approve" in answered.err) == (0, True), answered.err
        watched = call("runs", "watch", "on", *at)
        assert (watched.code, "approve by cli (fine)" in watched.out) == (0, True)
        twice = call("approvals", "deny", "one", "gate", *at)
        assert twice.code == 5, twice.err
        shown = call("runs", "show", "one", *at).out
        assert shown.startswith("one: done")
        documents = [json.loads(line) for line in call("runs", "show", "one", "--json", *at).out.splitlines()]
        assert documents[-1]["outputs"] == {"text": "Told."}
        assert [one["run"] for one in json.loads(call("runs", "ls", "--json", "--status", "done", *at).out)] == ["one"]
        assert call("runs", "cancel", "one", *at).code == 5
        assert call("runs", "show", "two", *at).code == 5


@pytest.mark.long
def test_a_run_is_answered_by_what_approve_says_and_ends_as_one_here_does(call: Callable[..., Any]) -> None:
    folder = Path.cwd()
    with at_work(folder, "A draft.", "Told.") as address:
        done = call("run", "notes", "--server", address, "--approve", "auto")
        assert (done.code, done.out) == (0, "Told.\n"), done.err
    with at_work(folder, "A draft.", cuts=[]) as address:
        denied = call("run", "notes", "--server", address, "--approve", "deny", "--json")
        assert denied.code == 1
        assert json.loads(denied.out.splitlines()[-1])["status"] == "rejected"


@pytest.mark.long
def test_a_stream_that_breaks_is_gone_on_with_and_no_event_is_lost_or_doubled(
    call: Callable[..., Any], folder: Path
) -> None:
    cuts = [200, 1, 1500, 1900, 1901, 1902, 2500]
    with at_work(folder, "A draft with é and 🚲.", "Told.", cuts=cuts) as address:
        at = ("--server", address)
        broken = call("run", "notes", "--run-id", "one", "--approve", "auto", "--json", *at)
        assert broken.code == 0, broken.err
        whole = call("runs", "show", "one", "--json", *at)
    assert not cuts
    heard = [json.loads(line)["id"] for line in broken.out.splitlines()]
    assert heard == [json.loads(line)["id"] for line in whole.out.splitlines()]


@pytest.mark.long
def test_providers_are_shown_and_rebalanced_and_a_link_logs_in(call: Callable[..., Any], folder: Path) -> None:
    assert call("login-link").code == 8, "no server runs here"
    assert call("providers", "rebalance").code == 2
    with at_work(folder) as address, announced(folder / ".orchestrator", address):
        link = call("login-link", "--role", "viewer")
        assert link.out.startswith(f"{address}/login?token=")
        with httpx2.Client() as browser:
            assert browser.get(link.out.strip()).status_code == 303
            assert browser.get(address).status_code == 200
            assert browser.post(f"{address}/api/runs", json={"squad": "notes"}).status_code == 403
        assert "strategy: " in call("providers", "status").out
        at = ("--server", address)
        assert json.loads(call("providers", "status", "--json", *at).out)["control"]["version"] == 0
        assert call("providers", "rebalance", "--drain", "nobody", "--reason", "x", *at).code == 2
        preview = call("providers", "rebalance", "--strategy", "weighted", "--preview", *at)
        assert (preview.code, "nothing was changed" in preview.err) == (0, True), preview.err
        done = call("providers", "rebalance", "--strategy", "weighted", "--reason", "x", "--force", *at)
        (undo,) = re.findall(r"`orchestrator (.*)` goes back", done.err)
        assert (done.code, "--undo 1" in undo) == (0, True), done.err
        assert call("providers", "rebalance", "--weight", "x", "--reason", "y", *at).code == 2
        assert call("providers", "rebalance", "--undo", "7", "--reason", "x", *at).code == 5
        undone = call(*shlex.split(undo))
        assert undone.code == 0, undone.err
        control = json.loads(call("providers", "status", "--json", *at).out)["control"]
        assert (control["version"], control["strategy"]) == (2, None)


FILED = """
name: filed
agents: {ann: {persona: analyst}}
inputs: {topic: {default: tea}}
tasks:
  draft: {agent: ann, description: "Write about ${{ inputs.topic }}.", output_file: draft.md}
  gate: {needs: [draft], approval: {prompt: "Is it good?"}}
  tell: {agent: ann, needs: [gate], description: Tell it., output_file: notes/told.md}
"""


@pytest.mark.long
def test_what_agents_say_is_heard_from_a_server_and_what_they_made_is_fetched(
    call: Callable[..., Any], folder: Path
) -> None:
    with at_work(folder, "A draft.", "Told.", "Another.", "Told anew.", "First.", "Last.", text=FILED) as address:
        at = ("--server", address)
        done = call("run", "filed", "--run-id", "one", "--approve", "auto", "--stream", "--out", "made", *at)
        assert done.code == 0, done.err
        said = [line for line in done.err.splitlines() if line.startswith("[")]
        assert said == ["[ann] A draft.", "[ann] Told."]
        assert [(folder / "made" / name).read_text() for name in ("draft.md", "notes/told.md")] == ["A draft.", "Told."]
        watched = call("runs", "watch", "one", "--stream", *at).out.splitlines()
        assert [line for line in watched if line.startswith("[")] == said
        later = call("runs", "watch", "one", "--stream", "--after", "1", "--json", *at).out.splitlines()
        deltas = [one for one in map(json.loads, later) if one["type"] == "delta"]
        assert [one["text"] for one in deltas if one["kind"] == "text"] == ["Told."]

        shown = call("runs", "fork", "one", "-i", "topic=coffee", "--dry-run", *at)
        assert (shown.code, "input topic was edited" in shown.out) == (0, True), shown.err
        refused = call("runs", "fork", "one", "--from", "none", *at)
        assert refused.code == 5, refused.err
        forked = call(
            *("runs", "fork", "one", "-i", "topic=coffee", "--run-id", "two", "--approve", "auto", "--json", *at),
            *("--stream", "--out", "made"),
        )
        assert (forked.code, "another file is there" in forked.err) == (2, True), forked.err
        heard = [json.loads(line) for line in forked.out.splitlines()]
        texts = [one["text"] for one in heard if one["type"] == "delta" and one["kind"] == "text"]
        assert texts == ["Another.", "Told anew."]

        explained = call("explain", "two", "draft", *at)
        assert (explained.code, "answered by" in explained.out) == (0, True), explained.err
        sent = call("explain", "two", "draft", "--request", *at)
        assert call("explain", "tell", "--json", *at).code == 0
        exported = call("runs", "export", "two", "x.db", *at)
        assert (exported.code, exported.out) == (0, "x.db\n"), exported.err
        assert call("runs", "export", "two", "x.db", *at).code == 2
        here = ("--db", "sqlite:///x.db")
        assert call("runs", "show", "two", *here).out.startswith("two: done")
        assert sent == call("explain", "two", "draft", "--request", *here), "as of a copy of the run here"
        assert call("run", "filed", "--run-id", "four", *at).code == 7
        resumed = call(
            "runs", "resume", "four", "--max-cost", "2", "--timeout", "1h", "--approve", "auto", "--stream", *at
        )
        assert (resumed.code, "[ann] Last." in resumed.err, "[ann] First." in resumed.err) == (0, True, False), (
            resumed.err
        )
        timed = call("run", "filed", "--timeout", "0.001s", "--run-id", "three", *at)
        assert (timed.code, "max_time" in timed.err) == (6, True), timed.err


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.long
def test_what_is_wrong_with_a_server_is_told(
    call: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_token = call("runs", "ls", "--server", "http://127.0.0.1:1")
    assert (no_token.code, "there is no token" in no_token.err) == (4, True)
    with at_work(folder) as address:
        for wrong in ("--db sqlite:///x.db", "--offline", "--dry-run"):
            assert call("run", "notes", "--server", address, *wrong.split()).code == 2, wrong
        nearest = call("run", "note", "--server", address)
        assert (nearest.code, "did you mean 'notes'?" in nearest.err) == (5, True), nearest.err
        unknown = call("run", "notes", "--server", address, "-i", "topi=x")
        assert (unknown.code, "topi" in unknown.err) == (2, True)
        tls = call("runs", "ls", "--server", address.replace("http:", "https:"))
        assert (tls.code, "write http://" in tls.err or "TLS" in tls.err or "SSL" in tls.err) == (8, True), tls.err
        monkeypatch.setenv("ORCHESTRATOR_SERVER_TOKEN", "another-token-than-that")
        refused = call("runs", "ls", "--server", address)
        assert (refused.code, "refuses the token" in refused.err) == (4, True)
        assert "another-token" not in refused.err
    away = call("runs", "ls", "--server", address)
    assert (away.code, "cannot reach the server" in away.err) == (8, True)
    for url in ("127.0.0.1:8700", "ftp://x", "http://u:p@x", "http://x:99999", "http://x?a=b"):
        assert call("runs", "ls", "--server", url).code == 2, url
    with HTTPServer(("127.0.0.1", 0), _Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        told = call("runs", "ls", "--server", f"http://127.0.0.1:{stranger.server_address[1]}")
        assert (told.code, "does not answer as a server of this release" in told.err) == (8, True)
        stranger.shutdown()
    monkeypatch.delenv("ORCHESTRATOR_SERVER_TOKEN")
    elsewhere = call("runs", "ls", "--server", "http://192.0.2.1:8700")
    assert (elsewhere.code, "set ORCHESTRATOR_SERVER_TOKEN" in elsewhere.err) == (4, True), "a token leaves no machine"


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="a process is interrupted otherwise there")
def test_ctrl_c_leaves_the_run_as_it_is_and_says_how_to_follow_it(folder: Path) -> None:
    """The server is one of its own, whose provider never answers."""
    (folder / "slow.yaml").write_text(
        "name: slow\nagents: {ann: {persona: analyst}}\ntasks: {a: {agent: ann, description: Wait.}}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        keys = {"OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/v1"}
        server = started(folder, "serve", "slow.yaml", "--port", "0", "--trust", "--grace", "1s", **keys)
        try:
            address = until(server, "login?token=").partition("/login")[0]
            client = started(folder, "run", "slow", "--run-id", "one", "--server", address)
            until(client, "a: started", of="stderr")
            client.send_signal(signal.SIGINT)
            _, err = client.communicate(timeout=PATIENCE_S)
            assert (client.returncode, f"runs watch one --server {address}" in err) == (130, True), err
            shown = started(folder, "runs", "show", "one", "--server", address)
            assert shown.communicate(timeout=PATIENCE_S)[0].startswith("one: running")
        finally:
            server.send_signal(signal.SIGTERM)
            _, err = server.communicate(timeout=PATIENCE_S)
    assert server.returncode == 0, err
    assert "one is unfinished: `orchestrator runs resume one` goes on with it, or `serve --resume`" in err


def started(folder: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONUNBUFFERED": "1", **environ}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *words], cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True
    )


def until(process: subprocess.Popen[str], words: str, of: str = "stdout") -> str:
    """Return the first line with these words."""
    heard = []
    for line in getattr(process, of):
        heard.append(line)
        if words in line:
            return str(line)
    raise AssertionError(f"it ended without {words!r}: {heard} {process.stderr.read() if of == 'stdout' else ''}")
