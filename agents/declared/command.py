"""A command as a tool: its arguments are fixed texts and places for a call's own, and go to no shell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from agents.declared.arguments import Arguments, filled, placeholders
from agents.declared.processes import CommandResult, run_process, scrubbed
from agents.pinned import refuse_changed
from agents.threads import in_thread
from agents.tools import Tool
from providers.documents.secrets import hidden, secret_named_in, without_values

COMMAND_S = 60.0
MAX_BYTES = 1 << 20
"""Bytes that a command may write, to both streams together."""
GRACE_S = 10.0
"""Between a command's own time limit, which tells what it wrote, and the tool's."""
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "cmd", "powershell", "pwsh", "busybox"})
"""Programs that run a text: one of these takes no argument of a call inside such a text."""

LAUNCHERS = frozenset(
    [
        "chroot",
        "chrt",
        "doas",
        "env",
        "flock",
        "ionice",
        "nice",
        "nohup",
        "script",
        "setsid",
        "stdbuf",
        "strace",
        "sudo",
        "taskset",
        "time",
        "timeout",
        "unshare",
        "watch",
        "xargs",
    ]
)
"""Programs that start the one that their arguments name."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command: `argv[0]` is a program of the PATH, or a file below `folder` where it has a slash.

    It runs in the folder `cwd` below `folder`.
    """

    argv: tuple[str, ...]
    folder: Path
    arguments: Arguments = field(default_factory=Arguments)
    env: tuple[str, ...] = ()
    timeout_s: float = COMMAND_S
    max_bytes: int = MAX_BYTES
    cwd: str = "."
    pinned: Mapping[str, str] = field(default_factory=dict)
    """The code that was allowed, absolute path -> SHA-256: once a file of it is another, nothing is run."""

    def fault(self) -> str:
        """Return why the command cannot be used, empty where it can."""
        if placeholders(self.argv[0]):
            return "the program itself is no argument: a call may not choose what runs"
        if (shell := self._shell()) and any(placeholders(one) for one in self.argv[1:]):
            return f"{shell} reads its arguments as a program, so no argument of a call may stand there"
        for one in self.argv:
            lists = [name for name in placeholders(one) if name in self.arguments.of and self._is_list(name)]
            if lists and one != f"{{{lists[0]}}}":
                return f"the list '{lists[0]}' stands alone in its place: \"{{{lists[0]}}}\""
        return ""

    def _shell(self) -> str:
        """Return the shell that is run, by itself or by a program that starts others (`env bash -c`), or nothing."""
        if is_shell(self.argv[0]):
            return self.argv[0]
        starts = PurePath(self.argv[0]).name.casefold().removesuffix(".exe") in LAUNCHERS
        return next(filter(is_shell, self.argv[1:]), "") if starts else ""

    def filled(self, given: Mapping[str, Any]) -> list[str]:
        """Return what is run for a call with these arguments. Raise `ValueError` where one may not be used."""
        texts = self.arguments.texts(given)
        made: list[str] = []
        for template in self.argv:
            names = placeholders(template)
            if len(names) == 1 and template == f"{{{names[0]}}}":
                found = texts.get(names[0], [])
            elif any(name not in texts for name in names):
                found = []  # an optional one is not given, so what stands around it is not said either
            else:
                found = [filled(template, {name: texts[name][0] for name in names})]
            if names and not template.startswith("-"):
                self._refuse_options(names, found)
            made += found
        return made

    def _refuse_options(self, names: Sequence[str], texts: Sequence[str]) -> None:
        for text in texts:
            if text.startswith("-") and not all(self.arguments.of[name].may_begin_with_dash for name in names):
                raise ValueError(f"{names[0]}: {text[:80]!r} would be read as an option; it may not begin with -")

    def _is_list(self, name: str) -> bool:
        return self.arguments.of[name].type == "list"


def command_tool(name: str, description: str, spec: CommandSpec, environ: Mapping[str, str], **more: Any) -> Tool:
    """Return the tool. `environ` has the variables that the command may be given; `more` is as `Tool` takes it.

    Where that says nothing else it is risky, what it writes is untrusted, and a person is asked.
    """

    async def run(**given: Any) -> str:
        return _told(await run_spec(spec, given, environ), spec, environ)

    settings = {"risk": "risky", "approval": "ask", "untrusted": True, **more, "timeout_s": spec.timeout_s + GRACE_S}
    return Tool(name, description, run, parameters=spec.arguments.schema, **settings)


def programs_tool(name: str, description: str, spec: CommandSpec, environ: Mapping[str, str], **more: Any) -> Tool:
    """Return a tool that runs one of the programs that `spec.argv` lists, with the arguments that a call gives."""

    async def run(program: str, arguments: Sequence[str] = ()) -> str:
        texts = list(arguments)
        if any("\0" in text for text in texts):
            raise ValueError("a text with a NUL character cannot be an argument")
        return _told(await _run(replace(spec, argv=(program, *texts)), [program, *texts], environ), spec, environ)

    parameters = {
        "type": "object",
        "properties": {
            "program": {"type": "string", "enum": list(spec.argv)},
            "arguments": {"type": "array", "items": {"type": "string", "maxLength": 10_000}, "maxItems": 100},
        },
        "required": ["program"],
        "additionalProperties": False,
    }
    settings = {"risk": "risky", "approval": "ask", "untrusted": True, **more, "timeout_s": spec.timeout_s + GRACE_S}
    return Tool(name, description, run, parameters=parameters, **settings)


async def run_spec(spec: CommandSpec, given: Mapping[str, Any], environ: Mapping[str, str]) -> CommandResult:
    """Run the command for a call. Raise `ValueError` or `OSError` where it cannot be."""
    return await _run(spec, spec.filled(given), environ)


async def _run(spec: CommandSpec, argv: Sequence[str], environ: Mapping[str, str]) -> CommandResult:
    own = scrubbed(environ, spec.env)
    program: str | None = argv[0]
    if "/" in argv[0] or os.sep in argv[0]:
        program = str(spec.folder / argv[0])
    elif (program := shutil.which(argv[0], path=own.get("PATH"))) is None:
        raise FileNotFoundError(2, "there is no such program in the PATH", argv[0])
    await in_thread(partial(refuse_changed, spec.pinned))
    where = spec.folder / spec.cwd
    return await run_process([program, *argv[1:]], where, own, timeout_s=spec.timeout_s, max_bytes=spec.max_bytes)


def is_shell(program: str) -> bool:
    """Return whether a program runs the text that it is given."""
    return PurePath(program).name.casefold().removesuffix(".exe") in SHELLS


def _told(result: CommandResult, spec: CommandSpec, environ: Mapping[str, str]) -> str:
    """Return what a model reads, without the values of the variables that the entry names and that are secrets, by
    their name or their look: a program may print what it was given."""
    given = {name: environ.get(name, "") for name in spec.env}
    return without_values(
        told(result, spec),
        [text for name, text in given.items() if secret_named_in(f"{name}: ") or hidden(text) != text],
    )


def told(result: CommandResult, spec: CommandSpec) -> str:
    """Return what a model reads of how a command ended: its output, and the exit code where that is not 0."""
    out, err = (text.decode("utf-8", "replace") for text in (result.out, result.err))
    if result.is_cut:
        head = f"[stopped: it wrote more than {spec.max_bytes:,} bytes]"
    elif result.exit_code is None:
        head = f"[stopped: it had not ended within {spec.timeout_s:g} s]"
    else:
        head = "" if result.exit_code == 0 else f"[exit code {result.exit_code}]"
    parts = [head, out.rstrip("\n"), f"[stderr]\n{err.rstrip()}" if err.strip() else ""]
    return "\n".join(part for part in parts if part) or "(no output)"
