"""Importing has no effect, and loads nothing that is not used yet."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S

LISTEN = """
import json, sys, threading
seen = []
WRITES = "wax+"
def hook(event, args):
    if event.startswith("socket.") and event != "socket.__new__":
        seen.append([event, repr(args)])
    elif event == "open" and isinstance(args[1], str) and any(letter in args[1] for letter in WRITES):
        seen.append([event, repr(args)])
    elif event in ("subprocess.Popen", "os.system", "os.mkdir", "os.remove", "os.rename", "_thread.start_new_thread"):
        seen.append([event, repr(args)])
sys.addaudithook(hook)
sys.dont_write_bytecode = True
import os
environ = dict(os.environ)
exec(sys.argv[1])
assert dict(os.environ) == environ, "an import changed the environment"
print(json.dumps({"seen": seen, "modules": sorted(sys.modules), "threads": threading.active_count()}))
"""
HEAVY = (
    "pydantic",
    "httptools",
    "httpx2",
    "rich",
    "jsonschema",
    "structlog",
    "trio",
    "xllamacpp",
    "gguf",
    "genai_prices",
    "mcp",
    "mcp_types",
    "psycopg",
    "uvicorn",
)


def imported(statement: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", LISTEN, statement], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("package", ["orchestrator", "agents", "personas", "providers"])
def test_importing_a_package_does_nothing_and_loads_nothing_heavy(package: str) -> None:
    found = imported(f"import {package}")
    assert found["seen"] == []
    assert found["threads"] == 1
    assert not {name for name in found["modules"] if name.partition(".")[0] in HEAVY}  # type: ignore[attr-defined]


def test_using_the_public_names_writes_nothing_and_opens_nothing() -> None:
    found = imported("from orchestrator import Squad, run_squad, open_run; from providers import open_manager")
    assert found["seen"] == []
    assert found["threads"] == 1
    modules = {name.partition(".")[0] for name in found["modules"]}  # type: ignore[attr-defined]
    assert not modules & {"rich", "structlog", "trio", "xllamacpp", "gguf", "click"}


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help_load_no_library_that_they_do_not_draw_with(flag: str) -> None:
    found = imported(
        "import contextlib, io\n"
        "from orchestrator.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main([{flag!r}])"
    )
    modules = {name.partition(".")[0] for name in found["modules"]}  # type: ignore[attr-defined]
    assert not modules & {
        "pydantic",
        "httptools",
        "httpx2",
        "rich",
        "yaml",
        "jinja2",
        "structlog",
        "jsonschema",
        "sqlite3",
    }


def test_the_listener_would_hear_a_file(tmp_path: object) -> None:
    heard = imported(f"open({str(tmp_path)!r} + '/x', 'w').close()")
    assert "open" in {event for event, _ in heard["seen"]}  # type: ignore[attr-defined]


def test_a_command_that_only_asks_for_providers_loads_no_reader_of_squads() -> None:
    found = imported(
        "import contextlib, io\n"
        "from orchestrator.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['providers', 'ls'])"
    )
    unused = {"jinja2", "jsonschema", "orchestrator.squad.load", "orchestrator.squad.spec", "providers.simulation"}
    assert not unused & set(found["modules"])  # type: ignore[call-overload]
