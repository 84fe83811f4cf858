"""`doctor`: what of the surroundings works, and what to do about the rest. Runs where much else is broken."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.exits import Exit
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json

if TYPE_CHECKING:
    from orchestrator.environment import Environment
    from providers.catalog.model import Catalog

PACKAGES = (
    *("anyio", "click", "dotenv", "httptools", "jinja2", "jsonschema", "pydantic"),
    *("regex", "rich", "structlog", "truststore", "yaml"),
)
OLDEST = (3, 11)
CONNECT_S = 5.0
GIT_S = 2.0


class Finding(NamedTuple):
    """What one check found. `advice` says what to do; empty where all is well."""

    check: str
    state: Literal["ok", "warn", "fail"]
    text: str
    advice: str = ""


@click.command("doctor", cls=Command)
@click.option("--online", is_flag=True, help="Also connect to the configured providers. Sends nothing, costs nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def doctor_command(context: click.Context, online: bool, as_json: bool) -> int:
    """Check this installation and its surroundings. Exits with 1 where something must be mended."""
    settings = settings_of(context)
    found = list(findings(settings))
    if online:
        found += reachable(settings)
    if as_json:
        print_json([finding._asdict() for finding in found], indent=2)
    else:
        click.echo(columns([(f.state, f.check, f.text) for f in found]))
        for finding in found:
            if finding.advice:
                click.echo(f"hint: {finding.check}: {finding.advice}")
    return Exit.FAILED if any(finding.state == "fail" for finding in found) else Exit.DONE


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what the checks find that need no network."""
    yield python_version(sys.version_info[:3])
    yield packages()
    yield our_agents()
    yield state_folder(settings.state_folder)
    yield encoding(sys.stdout.encoding or "ascii")
    yield from guarded("routing", lambda: routing(settings))
    yield from guarded("env-file", lambda: env_file(settings))
    yield from guarded("keys", lambda: keys(settings))


def guarded(check: str, run: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds that needs the rest of the installation; what it meets there is a finding too."""
    try:
        yield from run()
    except Exception as error:  # noqa: BLE001  # a doctor that dies of the illness is of no use
        yield Finding(check, "fail", f"{type(error).__name__}: {error}".splitlines()[0], "see the findings above")


def python_version(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version[:2] >= OLDEST:
        return Finding("python", "ok", text)
    return Finding("python", "fail", text, f"install Python {'.'.join(map(str, OLDEST))} or newer")


def packages() -> Finding:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if not missing:
        return Finding("packages", "ok", "all installed")
    return Finding("packages", "fail", f"missing: {', '.join(missing)}", "pip install squad-orchestrator")


def our_agents() -> Finding:
    from orchestrator.cli.our_packages import strange_agents

    strange = strange_agents()
    if strange is None:
        return Finding("agents", "ok", "the package `agents` is ours")
    return Finding("agents", "fail", str(strange), strange.hint)


def state_folder(folder: Path) -> Finding:
    """Ask whether the folder, or the nearest one above it that exists, may be written to."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Finding("state", "ok", f"{folder} can be written")
    return Finding("state", "fail", f"{folder} cannot be written", "choose another with --state or ORCHESTRATOR_STATE")


def encoding(name: str) -> Finding:
    if name.lower().replace("-", "") in ("utf8", "utf8sig"):
        return Finding("encoding", "ok", name)
    return Finding("encoding", "warn", f"stdout is {name}: other characters come out as ?", "set PYTHONUTF8=1")


def routing(settings: Settings) -> Iterator[Finding]:
    from orchestrator.cli.arguments import load_policy
    from providers.documents.problems import ProblemsFound

    try:
        load_policy(settings)
    except ProblemsFound as found:
        yield Finding("routing", "fail", str(found.problems[0]), f"{len(found.problems)} in all: mend the file")
    else:
        file = settings.routing_file()
        yield Finding("routing", "ok", f"{file} is sound" if file else "built in (there is no routing file here)")


def env_file(settings: Settings) -> Iterator[Finding]:
    """Ask whether the `.env`, where there is one, can be read, and by nobody else."""
    from orchestrator.cli.arguments import environment
    from providers.documents.problems import ProblemsFound

    try:
        file = environment(settings).file
    except ProblemsFound as found:
        yield Finding("env-file", "fail", str(found.problems[0]), f"{len(found.problems)} in all: mend the file")
        return
    if not file.is_file():
        return
    mode = file.stat().st_mode
    if os.name == "posix" and mode & 0o077:
        yield Finding("env-file", "warn", f"{file} can be read by others", f"chmod 600 {file}")
    elif is_tracked(file):
        advice = f"git rm --cached {file}, ignore it, and have new keys made: old commits hold these"
        yield Finding("env-file", "warn", f"{file} is tracked by git", advice)
    else:
        yield Finding("env-file", "ok", f"{file} is sound")


def is_tracked(file: Path) -> bool:
    """Return whether git keeps the file. Without git, or outside of its folders, nobody does."""
    import subprocess

    asked = ["git", "-C", str(file.parent), "ls-files", "--error-unmatch", "--", file.name]
    try:
        return subprocess.run(asked, capture_output=True, timeout=GIT_S, check=False).returncode == 0  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False


def keys(settings: Settings) -> Iterator[Finding]:
    """Tell of each account where its key comes from; never the key."""
    catalog, environ = surroundings(settings)
    missing = catalog.unconfigured(environ)
    there: set[tuple[str, int]] = set()
    for candidate in catalog.candidates(environ):
        row, account = candidate.provider, (candidate.provider.name, candidate.account)
        if account not in there:
            there.add(account)
            where = environ.file if environ.is_from_file(row.key_env or "") else "the environment"
            what = f"{row.key_env} is set in {where}" if row.key_env else "needs no key"
            yield Finding("keys", "ok", f"{row.name}: {what}")
    if len(missing) == len(catalog.providers):
        ways = [row.key_env for row in catalog.providers.values() if row.key_env]
        names = ", ".join(dict.fromkeys(ways))
        advice = f"set one of {names}, or write it to .env; until then, --offline runs on the stub"
        yield Finding("keys", "warn", "no provider is configured", advice)


def surroundings(settings: Settings) -> tuple[Catalog, Environment]:
    """Return the catalog and the environment that hold here; what is broken of them stands in another finding."""
    from orchestrator.cli.arguments import environment, load_policy
    from orchestrator.environment import Environment
    from providers.catalog.model import load_catalog
    from providers.documents.problems import ProblemsFound

    try:
        catalog = load_policy(settings)[1]
    except ProblemsFound:
        catalog = load_catalog()
    try:
        return catalog, environment(settings)
    except ProblemsFound:
        return catalog, Environment(os.environ, {}, Path())


def reachable(settings: Settings) -> list[Finding]:
    """Return whether the hosts of the configured providers take a connection."""
    import anyio

    catalog, environ = surroundings(settings)
    rows = {c.provider.name: c.provider.base_url for c in catalog.candidates(environ)}
    return anyio.run(_connect_all, rows)


async def _connect_all(urls: dict[str, str]) -> list[Finding]:
    import anyio

    found: list[Finding] = []
    async with anyio.create_task_group() as tasks:
        for name, url in urls.items():
            if url:
                tasks.start_soon(_connect, name, url, found)
    return sorted(found)


async def _connect(name: str, url: str, found: list[Finding]) -> None:
    import anyio

    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with anyio.fail_after(CONNECT_S):
            stream = await anyio.connect_tcp(parts.hostname or "", port)
        await stream.aclose()
    except (OSError, TimeoutError) as error:
        # Only a warning: calls may go through a proxy, which this check does not ask.
        why = str(error) or f"no connection within {CONNECT_S:g} s"
        found.append(Finding("online", "warn", f"{name}: {why}", f"can this machine reach {parts.hostname}?"))
    else:
        found.append(Finding("online", "ok", f"{name}: {parts.hostname} takes connections"))
