"""Instructions of one turn, counted by callgrind: the same on a busy machine as on a quiet one.

    python -m benchmarks.instructions --server mockllm [--turns 100] [--python PYTHON] [CASE...]

`mockllm` is the loopback model server of the neutral benchmark that `README.md` names. Each case runs in processes of
its own, with a fixed hash seed, once with N turns and once with 2 N: the difference, over N, is a turn. Beside the
router and its transport stand what aiohttp and httpx2 take for the bare exchange, where they are installed, and a
request to the server's gateway beside one to uvicorn with nothing behind it. Needs valgrind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from providers.transport import OpenTransport

PORT = 9161
SAID = "Say something about foxes. " * 10
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"%b"}]}' % SAID.encode()
HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-mock"}
Turn = Callable[[], Awaitable[object]]


def url_of(what: str) -> str:
    return f"http://127.0.0.1:{PORT}/{what}/v1"


def url(tag: str = "A") -> str:
    return url_of(f"t{tag}")


@asynccontextmanager
async def aiohttp_turn() -> AsyncIterator[Turn]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def turn() -> bytes:
            async with session.post(url() + "/chat/completions", data=BODY, headers=HEADERS) as reply:
                return await reply.read()

        yield turn


@asynccontextmanager
async def httpx2_turn() -> AsyncIterator[Turn]:
    import httpx2

    async with httpx2.AsyncClient() as client:

        async def turn() -> bytes:
            return (await client.post(url() + "/chat/completions", content=BODY, headers=HEADERS)).content

        yield turn


def network(name: str) -> OpenTransport:
    if name == "fast":
        from providers.transport.sockets import SocketTransport

        return SocketTransport()
    from providers.transport.over_httpx2 import HttpxTransport

    return HttpxTransport()


@asynccontextmanager
async def transport_turn(name: str) -> AsyncIterator[Turn]:
    from providers.adapters import HttpRequest

    async with network(name) as net:
        request = HttpRequest("POST", url() + "/chat/completions", HEADERS, BODY)
        yield lambda: net.send(request, connect_s=5, first_byte_s=30, idle_s=30, total_s=60)


@asynccontextmanager
async def router_turn(name: str) -> AsyncIterator[Turn]:
    """Three candidates, as in the neutral benchmark."""
    from providers import open_manager
    from providers.catalog.file import load_catalog
    from providers.messages import Request, user
    from providers.policy.parse import parse_policy

    model = {"context": 128_000, "max_output": 4096, "price": {"input": 0.15, "output": 0.6}}
    rows = {
        f"up{tag.lower()}": {"dialect": "openai-chat", "base_url": url(tag), "models": {"gpt-4o-mini": model}}
        for tag in "ABC"
    }
    names = [f"{name}/gpt-4o-mini" for name in rows]
    policy, catalog = parse_policy(
        {"version": 1, "tiers": {"worker": names, "fallback": names}, "providers": rows}, load_catalog()
    )
    async with network(name) as net, open_manager(policy, catalog, {}, transport=net) as manager:
        yield lambda: manager.complete(Request((user(SAID),)))


OURS = {"transport": transport_turn, "router": router_turn}


@asynccontextmanager
async def gateway_turn(name: str) -> AsyncIterator[Turn]:
    """A client's request, the server and the router in one process; of streams, one of 20 and one of 220 chunks."""
    from benchmarks.gateway.in_process import bare_turn, gateway_turn

    upstream = {"whole": "-", "stream20": "n20", "stream220": "n220"}.get(name)
    asking = bare_turn() if upstream is None else gateway_turn(url_of(upstream), stream=name != "whole")
    async with asking as turn:
        yield turn


GATEWAY = ("bare", "whole", "stream20", "stream220")
CASES: dict[str, Callable[[], AbstractAsyncContextManager[Turn]]] = {
    "aiohttp": aiohttp_turn,
    "httpx2": httpx2_turn,
    **{f"{what}-{name}": partial(made, name) for name in ("fast", "httpx2") for what, made in OURS.items()},
    **{f"gateway-{name}": partial(gateway_turn, name) for name in GATEWAY},
}


async def run(case: str, turns: int) -> None:
    async with CASES[case]() as turn:
        for _ in range(turns):
            await turn()


def counted(python: str, case: str, turns: int) -> int:
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        python,
        "-m",
        "benchmarks.instructions",
        "--run",
        case,
    ]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*command, "--turns", str(turns)], env=environ, cwd=Path.cwd(), capture_output=True, text=True, check=False
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert done.returncode == 0, done.stderr
    assert found is not None, done.stderr
    return int(found[1])


def per_turn(python: str, case: str, turns: int) -> int:
    """Return the instructions of a turn, free of what starting and warming up costs."""
    return (counted(python, case, 2 * turns) - counted(python, case, turns)) // turns


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("cases", nargs="*", metavar="CASE", default=[], help=", ".join(CASES))
    options.add_argument("--server", type=Path)
    options.add_argument("--turns", type=int, default=100)
    options.add_argument("--python", default=sys.executable)
    options.add_argument("--run", choices=list(CASES), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.run:
        asyncio.run(run(given.run, given.turns))
        return
    server = subprocess.Popen([given.server, str(PORT)], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/__reset").read()
        for case in given.cases or [name for name in CASES if "-" in name or find_spec(name)]:
            print(f"{case:16} {per_turn(given.python, case, given.turns):>12,} instructions a turn", flush=True)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
