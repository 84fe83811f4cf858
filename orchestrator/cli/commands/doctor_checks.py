"""The checks of `doctor` that need the rest of the installation: routing file, `.env`, keys, connections."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Literal, NamedTuple, cast
from urllib.parse import urlsplit

import anyio

from agents.mcp.definitions import Definition
from agents.mcp.errors import McpFault
from orchestrator.cli.app import Settings
from orchestrator.cli.consent import granted, how_to_allow
from orchestrator.cli.files import environment, load_policy, routing_file
from orchestrator.cli.ledgers import check_ledger
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.environment import Environment
from orchestrator.mcp_pins import McpPins
from orchestrator.mcp_tools import listed, offered_changes
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from providers.adapters import Adapter, HttpReply
from providers.adapters.wrong_address import is_page, wrong_address
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Catalog, numbered
from providers.catalog.trust import refused
from providers.client.adapter_table import Phases
from providers.client.discovery import LocalServer, local_servers
from providers.client.found_servers import without_models
from providers.client.manager import built_in
from providers.client.probes import PING, list_request
from providers.documents.problems import ProblemsFound
from providers.documents.secrets import hidden
from providers.documents.unicode import printable
from providers.errors import ProviderError, WrongAddress
from providers.transport import Transport, open_transport

WITHIN = Phases(connect_s=5.0, first_byte_s=10.0, idle_s=10.0, total_s=15.0)
NO_SUCH_PATH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
KEY_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
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
    trusts = trust_file().allows
    there: set[tuple[str, int]] = set()
    for candidate in catalog.candidates(environ):
        row, account = candidate.provider, (candidate.provider.name, candidate.account)
        if account not in there:
            there.add(account)
            where = environ.file if environ.is_from_file(row.key_env or "") else "the environment"
            what = f"{row.key_env} is set in {where}" if row.key_env else "needs no key"
            # Where else than at its vendor's it is asked, and who says so.
            at = (
                ""
                if row.packaged or not row.base_url
                else f"; {hidden(row.base_url, guess=False)} is from {candidate.whence.address}"
            )
            yield Found("ok", f"{row.name}: {what}{at}")
            for use in refused(candidate.uses, trusts):
                yield Found("warn", f"not allowed: {use}", how_to_allow(settings))
    if len(missing) == len(catalog.providers):
        servers = anyio.run(local_servers, environ)
        yield from map(_server, servers)
        if any(server.models for server in servers):
            return
        ways = [row.key_env for row in catalog.providers.values() if row.key_env]
        names = ", ".join(dict.fromkeys(ways))
        advice = f"set one of {names}, or write it to .env; until then, --offline runs on the stub"
        yield Found("warn", "no provider is configured", advice)


def _server(server: LocalServer) -> Found:
    """Say what a model server on this machine is used for."""
    if not server.models:
        return Found("warn", without_models(server))
    more = f", and {len(server.models) - 1} more" if len(server.models) > 1 else ""
    return Found("ok", f"found {server}, model {server.models[0]}{more}")


def ledger(settings: Settings) -> Iterator[Found]:
    """Ask the shared ledger that is named here, if one is; a broken file is another finding already."""
    with suppress(ProblemsFound):
        for state, text, advice in check_ledger(settings):
            yield Found(state, text, advice)


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
    """Return what the endpoints of the configured providers answer when asked for their list of models."""
    catalog, environ = surroundings(settings)
    there: dict[tuple[str, int], Candidate] = {}
    for candidate in catalog.candidates(environ):
        if candidate.provider.base_url:
            there.setdefault((candidate.provider.name, candidate.account), candidate)
    store = trust_file()
    if settings.trust:
        granted(store, refused((use for one in there.values() for use in one.uses), store.allows), Console(settings))
    closed = {account: refused(one.uses, store.allows) for account, one in there.items()}
    asked = anyio.run(_ask_all, [one for account, one in there.items() if not closed[account]])
    advice = how_to_allow(settings)
    return [*asked, *(Found("warn", f"not asked: {use}", advice) for uses in closed.values() for use in uses)]


async def _ask_all(candidates: list[Candidate]) -> list[Found]:
    found: list[Found] = []
    async with open_transport() as net, anyio.create_task_group() as tasks:
        for candidate in candidates:
            tasks.start_soon(_ask, net, candidate, found)
    return sorted(found)


async def _ask(net: Transport, candidate: Candidate, found: list[Found]) -> None:
    try:
        found.append(await _answer(net, candidate))
    except ProviderError as error:
        for secret in candidate.secrets:
            error.hide(secret)
        host = urlsplit(candidate.provider.base_url).hostname
        wrong = isinstance(error, WrongAddress)
        advice = _where_it_stands(candidate) if wrong else f"can this machine reach {host}?"
        found.append(Found("warn", f"{_who(candidate)}: {error}", advice))


def _who(candidate: Candidate) -> str:
    return numbered(candidate.provider.name, candidate.account)


def _where_it_stands(candidate: Candidate) -> str:
    row = candidate.provider
    return f"correct the address of {row.name}: {row.env_prefix}_BASE_URL, or base_url in the routing file"


async def _answer(net: Transport, candidate: Candidate) -> Found:
    """Return what the endpoint says to a GET of its models, which costs nothing.

    Where there is no such list, an empty request tells whether there is anything to talk to: it is refused for what it
    lacks, or for its path.
    """
    adapter = cast(Adapter, built_in()[candidate.provider.dialect])
    asking = list_request(adapter, candidate)
    reply = await net.send(asking, **WITHIN)
    if reply.status in NO_SUCH_PATH or _is_app(reply):
        asking = replace(adapter.encode(PING, candidate, stream=False), body=b"{}")
        reply = await net.send(asking, **WITHIN)
        if (wrong := wrong_address(reply, asking.url, candidate.provider)) is not None:
            raise wrong
    return _told(candidate, f"{asking.method} {asking.url.partition('?')[0]}", reply)


def _is_app(reply: HttpReply) -> bool:
    """Return whether a page came where an API would speak: of a web application, not of a fault."""
    return reply.status < HTTPStatus.BAD_REQUEST and is_page(reply.body)


def _told(candidate: Candidate, asked: str, reply: HttpReply) -> Found:
    who, status = _who(candidate), reply.status
    if _is_app(reply):
        text = f"{who}: the base URL is wrong: {asked} was answered with a web page (HTTP {status})"
        return Found("warn", text, _where_it_stands(candidate))
    if status in KEY_REFUSED:
        return Found("warn", f"{who}: {asked} was refused (HTTP {status})", f"check {candidate.provider.key_env}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED:
        return Found("warn", f"{who}: {asked} failed (HTTP {status})", "ask again later")
    return Found("ok", f"{who}: {asked} was answered (HTTP {status})")


def mcp_servers(settings: Settings, file: str, online: bool) -> Iterator[Found]:
    """Yield what each MCP server that a squad declares says of its tools, and whether they are as they were accepted.

    None is started, or asked, but `online`, and where that is allowed.
    """
    try:
        squad = load_squad(file, settings)
    except ProblemsFound as found:
        yield Found("fail", str(found.problems[0]), f"{len(found.problems)} in all: orchestrator validate {file}")
        return
    names, store = list(squad.mcp), trust_file()
    if not names:
        yield Found("ok", f"{file} declares no MCP server")
        return
    if not online:
        yield Found("ok", f"{file} declares {', '.join(names)}: --online starts them, and asks for their tools")
        return
    uses = {name: squad.code_uses([name]) for name in names}
    if settings.trust:
        granted(store, [use for of_one in uses.values() for use in of_one], Console(settings))
    closed = {name: refused(of_one, store.allows) for name, of_one in uses.items()}
    for name in names:
        yield from (Found("warn", f"{name} is not started: {use}", how_to_allow(settings)) for use in closed[name])
    yield from anyio.run(_listed_all, squad, [name for name in names if not closed[name]], settings)


async def _listed_all(squad: Squad, names: list[str], settings: Settings) -> list[Found]:
    pins, environ, found = McpPins(settings.state_folder), surroundings(settings)[1], dict[str, Found]()

    async def ask(name: str) -> None:
        try:
            definitions = (await listed(squad, [name], environ, trust_file().allows))[name]
        except McpFault as fault:
            found[name] = Found("fail", mask_secrets(str(fault), environ), fault.hint)
        else:
            found[name] = _of_server(squad, name, definitions, pins)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name)
    return [found[name] for name in names]


def _of_server(squad: Squad, name: str, definitions: Sequence[Definition], pins: McpPins) -> Found:
    spec = squad.mcp[name].spec
    accepted = pins.accepted(name, spec)
    many = f"{name}: {len(definitions)} tool{'' if len(definitions) == 1 else 's'}"
    if accepted is None:
        return Found("ok", f"{many}, not pinned yet: the first run accepts them as they are then")
    if not (differing := offered_changes(spec, accepted, definitions)):
        return Found("ok", f"{many}, as they were accepted")
    told = "; ".join(map(str, differing[:3])) + (f"; and {len(differing) - 3} more" if len(differing) > 3 else "")
    advice = f"read them: orchestrator mcp ls {squad.file}; then orchestrator mcp accept {squad.file}"
    return Found("warn", printable(f"{many}, changed since they were accepted: {told}"), advice)


CHECKS: Mapping[str, Callable[[Settings], Iterable[Found]]] = {
    "routing": routing,
    "env-file": env_file,
    "keys": keys,
    "ledger": ledger,
    "online": reachable,
}
