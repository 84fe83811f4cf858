"""The command line as people start it: a process of its own, in a folder of its own, its memory and time bounded."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 2 << 30
"""Bytes of address space."""
KEPT = ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "COVERAGE_PROCESS_START")

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
    inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
    command: list[str | bytes] = [sys.executable, "-m", "orchestrator", *arguments]
    environment = {**inherited, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
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


def orchestrator(*arguments: str | bytes, cwd: Path, stdin: bytes | None = None, **options: Any) -> Ended:
    """Run a command to its end. Fails the test where it does not end."""
    given = {} if stdin is None else {"stdin": subprocess.PIPE}
    with started(*arguments, cwd=cwd, **given, **options) as child:
        out, err = child.communicate(stdin, timeout=PATIENCE_S)
        return Ended(child.returncode, out, err)


def without_traceback(ended: Ended) -> bool:
    return b"Traceback" not in ended.stderr and b"internal error" not in ended.stderr


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder and below it: path -> content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
