"""The command line as people use it: a process of its own, in a folder of its own, its memory and time bounded."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.__main__ import main
from tests import processes
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 2 << 30
"""Bytes of address space."""
AT_START = re.compile(r"PYTHON|LANG|LC_")
"""Variables that the interpreter reads when it starts."""
KEPT = ("PATH", "HOME", "ORCHESTRATOR_TRUST_FILE", "SYSTEMROOT", "TMPDIR", "COVERAGE_PROCESS_START")

ESCAPE = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
"""Bytes that a terminal obeys, in UTF-8."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the bytes that it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode("utf-8", "replace")

    @property
    def err(self) -> str:
        return self.stderr.decode("utf-8", "replace")

    @property
    def first(self) -> str:
        """The first line on stderr, or nothing."""
        return (self.err.splitlines() or [""])[0]

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--json` wrote."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def of_type(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == name]


def inherited() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # A developer's own server is nobody's here; a test's own folder may send its keys where the test says.
    return {**kept, "ORCHESTRATOR_LOCAL_SERVERS": "off", "ORCHESTRATOR_TRUST": "1"}


@contextmanager
def started(
    *arguments: str | bytes,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    memory: int = MEMORY,
    file_size: int | None = None,
    **streams: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `python -m orchestrator`; whatever happens in the block, the process is over after it."""
    command: list[str | bytes] = [sys.executable, "-m", "orchestrator", *arguments]
    environment = {**inherited(), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    child = subprocess.Popen(command, cwd=cwd, env=environment, **pipes)
    try:
        # Set from here: code between fork and exec is no safe place beside the test servers' threads.
        resource.prlimit(child.pid, resource.RLIMIT_AS, (memory, memory))
        if file_size is not None:
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (file_size, file_size))
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        child.wait()


def orchestrator(
    *arguments: str | bytes, cwd: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, **limits: Any
) -> Ended:
    """Run a command to its end. Fails the test where it does not end.

    Its process is forked from one that has everything imported, which saves the half second that a start takes. Where
    the interpreter itself must start otherwise, by a variable or what it inherits, it is started anew.
    """
    environment = {**inherited(), **(env or {})}
    if limits or any(AT_START.match(name) for name in environment):
        with started(*arguments, cwd=cwd, env=env, stdin=subprocess.PIPE, **limits) as child:
            out, err = child.communicate(stdin, timeout=PATIENCE_S)
            return Ended(child.returncode, out, err)
    return forked(arguments, cwd, environment, stdin)


def forked(arguments: Sequence[str | bytes], cwd: Path, environment: Mapping[str, str], stdin: bytes) -> Ended:
    """Run a command to its end, in a process that is forked and has this environment."""
    with TemporaryDirectory() as name:
        streams = [Path(name) / stream for stream in ("stdin", "stdout", "stderr")]
        for path, data in zip(streams, (stdin, b"", b""), strict=True):
            path.write_bytes(data)
        words = [os.fsdecode(word) for word in arguments]
        code = processes.end(
            processes.start(_perform, words, str(cwd), dict(environment), [str(path) for path in streams])
        )
        return Ended(code, streams[1].read_bytes(), streams[2].read_bytes())


@contextmanager
def forked_beside(
    *arguments: str, cwd: Path, env: Mapping[str, str], log: Path, memory: int = MEMORY
) -> Iterator[processes.Forked]:
    """Fork a command that goes on beside the block, and is over after it. It adds to a file what it says."""
    log.touch()
    streams = [os.devnull, str(log), str(log)]
    child = processes.Forked(_perform, list(arguments), str(cwd), {**inherited(), **env}, streams, memory)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _perform(
    arguments: list[str], cwd: str, environment: dict[str, str], streams: list[str], memory: int = MEMORY
) -> None:
    """Be the process of a command, from its first line on."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666), number)
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    sys.argv = ["orchestrator", *arguments]
    sys.exit(main())


def without_traceback(ended: Ended) -> bool:
    return b"Traceback" not in ended.stderr and b"internal error" not in ended.stderr


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder and below it: path -> content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
