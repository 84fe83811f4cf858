"""Attempts that a success costs where providers fail, beside LiteLLM's Router:

    python benchmarks/failover.py --server mockllm --litellm PYTHON [--seconds 60] [--rate 40]

`mockllm` is the loopback model server of the neutral benchmark that `README.md` names; it makes the faults and counts
what it was asked. Both systems get three providers and the same calls at a steady rate, at the same time, each from a
server of its own, and keep their own defaults otherwise (LiteLLM: `num_retries=3`). Faults come from a fixed seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

SCENARIOS = {
    "20 % are 500 or 429": ["f20,xmix"] * 3,
    "20 % are malformed JSON": ["f20,xbad"] * 3,
    "20 % are resets": ["f20,xrst"] * 3,
    "one is dead": ["f100,xrst", "-", "-"],
    "one is dead, 20 % are 500 or 429": ["f100,xrst", "f20,xmix", "f20,xmix"],
    "one is dead, 20 % are malformed JSON": ["f100,xrst", "f20,xbad", "f20,xbad"],
    "one is dead, 20 % are resets": ["f100,xrst", "f20,xrst", "f20,xrst"],
}
PORT = 9150
Call = Callable[[str], Awaitable[Any]]


async def open_ours(urls: list[str], stack: AsyncExitStack) -> Call:
    from providers import open_manager
    from providers.catalog.file import load_catalog
    from providers.messages import Request, user
    from providers.policy.parse import parse_policy

    model = {"context": 128_000, "max_output": 4096, "price": {"input": 0.15, "output": 0.6}}
    rows = {
        f"up{n}": {"dialect": "openai-chat", "base_url": url, "models": {"gpt-4o-mini": model}}
        for n, url in enumerate(urls)
    }
    names = [f"up{n}/gpt-4o-mini" for n in range(len(urls))]
    tiers = {"worker": names, "fallback": names}
    policy, catalog = parse_policy({"version": 1, "tiers": tiers, "providers": rows}, load_catalog())
    manager = await stack.enter_async_context(open_manager(policy, catalog, {}))
    return lambda text: manager.complete(Request((user(text),)))


async def open_litellm(urls: list[str], stack: AsyncExitStack) -> Call:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks the internet for prices
    import litellm
    from litellm import Router

    litellm.telemetry, litellm.suppress_debug_info = False, True
    deployments = [
        {
            "model_name": "m",
            "litellm_params": {"model": "openai/gpt-4o-mini", "api_base": url, "api_key": "none", "max_retries": 0},
        }
        for url in urls
    ]
    router = Router(model_list=deployments, num_retries=3)
    return lambda text: router.acompletion(model="m", messages=[{"role": "user", "content": text}])


SYSTEMS = {"ours": open_ours, "litellm": open_litellm}


async def offer(system: str, urls: list[str], seconds: float, rate: float) -> dict[str, Any]:
    """Start `rate` calls a second for `seconds`, then wait for all of them; return how they ended."""
    ended: Counter[str] = Counter()

    async def one(call: Call, number: int) -> None:
        try:
            await call(f"Call {number}.")
        except Exception as error:  # noqa: BLE001  # the failures of any system are counted
            ended[type(error).__name__] += 1
        else:
            ended["success"] += 1

    async with AsyncExitStack() as stack:
        call = await SYSTEMS[system](urls, stack)
        began, tasks = time.monotonic(), []
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(began + number / rate - time.monotonic(), 0))
            tasks.append(asyncio.create_task(one(call, number)))
        await asyncio.gather(*tasks)
    return dict(ended)


def ask_server(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as reply:
        found: dict[str, Any] = json.load(reply)
    return found


def beside(given: argparse.Namespace, options: list[str]) -> dict[str, tuple[dict[str, int], int]]:
    """Return for each system how its calls ended, and how many attempts its server saw."""
    pythons = {"ours": sys.executable, "litellm": given.litellm}
    ports = {system: PORT + n for n, system in enumerate(pythons)}
    servers = [subprocess.Popen([given.server, str(port)], stderr=subprocess.DEVNULL) for port in ports.values()]
    try:
        time.sleep(0.5)
        children = {}
        for system, python in pythons.items():
            urls = [f"http://127.0.0.1:{ports[system]}/{opts},d20,t{chr(97 + n)}/v1" for n, opts in enumerate(options)]
            command = [python, __file__, "--child", system, "--seconds", str(given.seconds), "--rate", str(given.rate)]
            children[system] = subprocess.Popen(
                [*command, *urls], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        told = {system: child.communicate()[0] for system, child in children.items()}
        return {
            system: (json.loads(told[system].splitlines()[-1]), ask_server(port, "__stats")["total"])
            for system, port in ports.items()
        }
    finally:
        for server in servers:
            server.kill()
            server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="the mockllm program")
    parser.add_argument("--litellm", help="an interpreter that has litellm")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=40, help="calls a second")
    parser.add_argument("--child", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("urls", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(asyncio.run(offer(given.child, given.urls, given.seconds, given.rate))))
        return
    for name, options in SCENARIOS.items():
        print(name)
        for system, (ended, attempts) in beside(given, options).items():
            success, calls = ended.get("success", 0), sum(ended.values())
            failed = {kind: count for kind, count in ended.items() if kind != "success"}
            print(
                f"  {system:8} {attempts / max(success, 1):.3f} attempts a success, "
                f"{success / calls:.2%} of {calls} calls answered {failed or ''}",
                flush=True,
            )


if __name__ == "__main__":
    main()
