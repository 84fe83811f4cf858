"""Use an installed squad-orchestrator as a newcomer does.

Run by .ci/release in the interpreter that has it, in an empty folder: `python -I try_installed.py VERSION`; then, with
the extra `server` and in the same folder: `python -I try_installed.py VERSION serve`. Stops at the first that fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from urllib.request import urlopen

PATIENCE_S = 120
PROGRAM = str(Path(sys.executable).with_name("orchestrator"))
PLUGIN_TEST = """
from orchestrator import Squad, run_sync

def test_the_answer_is_the_scripted_one(scripted, no_real_calls):
    manager = scripted("It rains.")
    squad = Squad.from_text(
        "version: 1\\nname: sky\\nagents: {ann: {instructions: Look up.}}\\n"
        "tasks: {look: {agent: ann, description: How is it?}}\\noutputs: {sky: '${{ tasks.look.output }}'}", "sky.yaml"
    )
    assert run_sync(squad, manager=manager).outputs["sky"] == "It rains."
"""
EMBEDDED = """
import anyio
from orchestrator import Squad, run_squad

async def main():
    result = await run_squad(Squad.from_file("new/squad.yaml"), offline=True)
    print(result.status)

anyio.run(main)
"""


class NotAsPromised(Exception):
    """The installed package did not do what was asked of it."""


def ran(*words: str, folder: Path = Path()) -> str:
    """Return what a command wrote to stdout. Raises `NotAsPromised` where it fails."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE_S)
    if done.returncode:
        raise NotAsPromised(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    print("ok", " ".join(words[1:])[:100].splitlines()[0], flush=True)
    return done.stdout


def check(fact: object, what: str) -> None:
    if not fact:
        raise NotAsPromised(what)


def is_served(squad: str) -> None:
    """Start the server, ask for its first page, and stop it."""
    with subprocess.Popen(
        [PROGRAM, "serve", squad, "--offline", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        told: list[str] = []
        try:
            for line in server.stdout or ():
                told.append(line)
                if "http://" in line:
                    address = "http://" + line.partition("http://")[2].split()[0].partition("/")[0]
                    with urlopen(address + "/login", timeout=PATIENCE_S) as reply:
                        check(b'action="/login"' in reply.read(), "the page for logging in has no form")
                    print("ok serve", flush=True)
                    return
            raise NotAsPromised(f"serve told no address:\n{''.join(told)}")
        finally:
            server.terminate()


def main(version: str) -> None:
    check(version in ran(PROGRAM, "--version"), "another version than that of the archives")
    for package in ("orchestrator", "agents", "personas", "providers"):
        place = ran(sys.executable, "-c", f"import {package}; print({package}.__file__)")
        check(place.startswith(sysconfig.get_path("purelib")), f"{package} was imported from {place}")
    ran(PROGRAM, "doctor")
    ran(PROGRAM, "init", "new")
    new = Path("new")
    ran(PROGRAM, "validate", "squad.yaml", folder=new)
    ran(PROGRAM, "run", "squad.yaml", "--offline", folder=new)
    check(any(path.is_file() for path in (new / "out").rglob("*")), "the run wrote nothing below out/")
    ran(PROGRAM, "runs", "ls", folder=new)
    ran(PROGRAM, "graph", "squad.yaml", folder=new)
    ran(PROGRAM, "init", "--template", "debate", "two")
    ran(PROGRAM, "run", "squad.yaml", "--offline", folder=Path("two"))
    ran(PROGRAM, "test", "squad.test.yaml", folder=Path("two"))
    check("agents" in ran(PROGRAM, "docs"), "the pages are not there")
    ran(PROGRAM, "docs", "unknown-field")
    json.loads(ran(PROGRAM, "schema"))
    check("analyst" in ran(PROGRAM, "personas", "ls"), "the library of personas is not there")
    ran(PROGRAM, "simulate", "outage")
    ran(PROGRAM, "spending", folder=new)
    ran(PROGRAM, "providers", "ls")
    ran(sys.executable, "-c", EMBEDDED)
    Path("test_sky.py").write_text(PLUGIN_TEST, "utf-8")
    ran(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_sky.py")


if __name__ == "__main__":
    try:
        if sys.argv[2:] == ["serve"]:
            is_served("new/squad.yaml")
        else:
            main(sys.argv[1])
    except NotAsPromised as error:
        sys.exit(f"FAILED: {error}")
