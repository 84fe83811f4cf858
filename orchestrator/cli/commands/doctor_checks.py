"""The checks of `doctor` that need the rest of the installation: routing file, `.env`, keys, connections."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import anyio

from orchestrator.cli.app import Settings
from orchestrator.cli.files import environment, load_policy, routing_file
from orchestrator.environment import Environment
from providers.catalog.file import load_catalog
from providers.catalog.model import Catalog
from providers.documents.problems import ProblemsFound

CONNECT_S = 5.0
GIT_S = 2.0


class Found(NamedTuple):
    """What a check found: `Finding` without the check's name."""

    state: Literal["ok", "warn", "fail"]
    text: str
    advice: str = ""


def routing(settings: Settings) -> Iterator[Found]:
    try:
        load_policy(settings)
    except ProblemsFound as found:
        yield Found("fail", str(found.problems[0]), f"{len(found.problems)} in all: fix the file")
    else:
        file = routing_file(settings)
        yield Found("ok", f"{file} is sound" if file else "built in (there is no routing file here)")


def env_file(settings: Settings) -> Iterator[Found]:
    """Check that the `.env`, where there is one, can be read, and by its owner only."""
    try:
        file = environment(settings).file
    except ProblemsFound as found:
        yield Found("fail", str(found.problems[0]), f"{len(found.problems)} in all: fix the file")
        return
    if not file.is_file():
        return
    mode = file.stat().st_mode
    if os.name == "posix" and mode & 0o077:
        yield Found("warn", f"{file} can be read by others", f"chmod 600 {file}")
    elif is_tracked(file):
        advice = f"git rm --cached {file}, ignore it, and have new keys made: old commits hold these"
        yield Found("warn", f"{file} is tracked by git", advice)
    else:
        yield Found("ok", f"{file} is sound")


def is_tracked(file: Path) -> bool:
    """Return whether git tracks the file. Without git, or outside of its folders, it is not tracked."""
    asked = ["git", "-C", str(file.parent), "ls-files", "--error-unmatch", "--", file.name]
    try:
        return subprocess.run(asked, capture_output=True, timeout=GIT_S, check=False).returncode == 0  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False


def keys(settings: Settings) -> Iterator[Found]:
    """Say for each account where its key comes from; never the key."""
    catalog, environ = surroundings(settings)
    missing = catalog.unconfigured(environ)
    there: set[tuple[str, int]] = set()
    for candidate in catalog.candidates(environ):
        row, account = candidate.provider, (candidate.provider.name, candidate.account)
        if account not in there:
            there.add(account)
            where = environ.file if environ.is_from_file(row.key_env or "") else "the environment"
            what = f"{row.key_env} is set in {where}" if row.key_env else "needs no key"
            yield Found("ok", f"{row.name}: {what}")
    if len(missing) == len(catalog.providers):
        ways = [row.key_env for row in catalog.providers.values() if row.key_env]
        names = ", ".join(dict.fromkeys(ways))
        advice = f"set one of {names}, or write it to .env; until then, --offline runs on the stub"
        yield Found("warn", "no provider is configured", advice)


def surroundings(settings: Settings) -> tuple[Catalog, Environment]:
    """Return the catalog and the environment that hold here; a broken file is another finding already."""
    try:
        catalog = load_policy(settings)[1]
    except ProblemsFound:
        catalog = load_catalog()
    try:
        return catalog, environment(settings)
    except ProblemsFound:
        return catalog, Environment(os.environ, {}, Path())


def reachable(settings: Settings) -> list[Found]:
    """Return whether the hosts of the configured providers take a connection."""
    catalog, environ = surroundings(settings)
    rows = {c.provider.name: c.provider.base_url for c in catalog.candidates(environ)}
    return anyio.run(_connect_all, rows)


async def _connect_all(urls: dict[str, str]) -> list[Found]:
    found: list[Found] = []
    async with anyio.create_task_group() as tasks:
        for name, url in urls.items():
            if url:
                tasks.start_soon(_connect, name, url, found)
    return sorted(found)


async def _connect(name: str, url: str, found: list[Found]) -> None:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with anyio.fail_after(CONNECT_S):
            stream = await anyio.connect_tcp(parts.hostname or "", port)
        await stream.aclose()
    except (OSError, TimeoutError) as error:
        # Only a warning: calls may go through a proxy, which this check does not ask.
        why = str(error) or f"no connection within {CONNECT_S:g} s"
        found.append(Found("warn", f"{name}: {why}", f"can this machine reach {parts.hostname}?"))
    else:
        found.append(Found("ok", f"{name}: {parts.hostname} takes connections"))


CHECKS: Mapping[str, Callable[[Settings], Iterable[Found]]] = {
    "routing": routing,
    "env-file": env_file,
    "keys": keys,
    "online": reachable,
}
