"""One tool that a file declares, and what the readers of each kind share."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from agents.confined import READ_BYTES, read_inside
from agents.declared.arguments import Argument, Arguments
from agents.errors import ToolFault
from agents.tools import Tool, tool
from orchestrator.squad.tool_specs import ArgSpec, ToolEntry
from orchestrator.trust import CodeUse
from providers.documents.findings import Findings
from providers.documents.problems import Path as Place

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""What every provider takes as a tool's name."""
NO_NAME = "letters, digits, _ and -, at most 64, a letter first"
LoadTool = Callable[[Mapping[str, str]], Awaitable[Tool]]
"""Makes the tool that is called, from the variables of the run's environment. Raises `ToolUnusable`."""


@dataclass(frozen=True, slots=True)
class ToolSource:
    """A declared tool. `tool` is what a plan holds until the run starts; `sha256` tells that it was changed.

    `uses` must be allowed before it runs. `load` None: `tool` is ready.
    """

    name: str
    tool: Tool
    origin: str
    """What it is made of, in words: its kind first."""
    sha256: str = ""
    uses: tuple[CodeUse, ...] = ()
    load: LoadTool | None = None
    entry: str = ""
    """The name of the entry that made it, where that is another."""
    signature: str = field(default="", compare=False)
    """What it takes, as its file says; empty where the tool itself tells."""
    code: tuple[str, ...] = ()
    """The files beside the squad that are run where it is called, without links in their paths."""


@dataclass(frozen=True, slots=True)
class ToolReading:
    """Where the tools of one file are read: what is wrong goes to `findings`. `beside` is the folder of `file`."""

    findings: Findings
    beside: Path
    file: str

    @property
    def folder(self) -> Path:
        """The folder, without links in its path: by it code is allowed."""
        return self.beside.resolve()

    def arguments(
        self, place: Place, specs: Mapping[str, ArgSpec], named: list[str], *, strict: bool = True
    ) -> Arguments:
        """Return the arguments of a tool whose template has places for the `named` ones; those that no spec describes
        are texts. With `strict`, one that has no place is reported."""
        for name in specs if strict else ():
            if name not in named:
                hint = f"write {{{name}}} where it goes"
                self.findings.error(
                    (*place, "args", name), "no-effect", f"the argument '{name}' has no place", hint, key=True
                )
        for name, spec in specs.items():
            if spec.pattern is not None and (fault := _pattern_fault(spec.pattern)):
                self.findings.error((*place, "args", name, "pattern"), "bad-schema", f"not a pattern: {fault}")
        order = dict.fromkeys([*specs, *named])
        return Arguments.made_of(argument_of(name, specs.get(name, ArgSpec())) for name in order)

    def read(self, path: str, limit: int = READ_BYTES) -> bytes:
        """Return a file below the folder. Raises `OSError`, `ValueError`, `AgentError`."""
        return read_inside(self.beside, path, limit)


def argument_of(name: str, spec: ArgSpec) -> Argument:
    """Return an argument as a file describes it."""
    return Argument(
        name,
        spec.type,
        spec.description,
        spec.default,
        tuple(spec.enum or ()),
        spec.pattern,
        spec.minimum,
        spec.maximum,
        spec.max_length,
        spec.allow_dash,
        not spec.required,
    )


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def unloaded(name: str, entry: ToolEntry, docs: str) -> Tool:
    """Return what stands in a plan for a tool that is made when a run starts."""

    def not_loaded(**_: Any) -> NoReturn:
        raise ToolFault(name, "its file is loaded when a run starts")

    return replace(tool(name=name, **entry.settings())(not_loaded), description=entry.description or docs)


def _pattern_fault(pattern: str) -> str:
    import regex  # heavy, and only a pattern needs it

    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        return str(error)
    return ""
