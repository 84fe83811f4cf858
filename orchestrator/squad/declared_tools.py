"""The tools that a file declares: what is known of them before a run, and the tools themselves once one starts.

Reading a squad runs none of its code: a Python file is parsed, so that what is missing is told with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from agents.confined import read_inside
from agents.declared.python_file import load_module
from agents.declared.python_text import CodeText, CodeUnreadable, Declaration, code_of
from agents.errors import AgentError, PathEscapes, PathRefused, ToolFault
from agents.tools import Tool, tool
from orchestrator.errors import ToolUnusable
from orchestrator.squad.tool_specs import KINDS, ToolEntry
from orchestrator.trust import CodeUse
from providers.documents.findings import Findings
from providers.documents.problems import Path as Place
from providers.documents.problems import nearest

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""What every provider takes as a tool's name."""


@dataclass(frozen=True, slots=True)
class ToolSource:
    """One entry of `tools:`. `tool` is what a plan holds until the run starts; `sha256` tells that it was changed.

    `folder` is that of the file which declares it, without links. `uses` is what must be allowed before it runs.
    """

    name: str
    entry: ToolEntry
    tool: Tool
    folder: Path
    sha256: str
    uses: tuple[CodeUse, ...] = ()
    code: CodeText | None = None
    signature: str = field(default="", compare=False)
    """What it takes, as its file says; empty where the tool itself tells."""

    @property
    def origin(self) -> str:
        """What it is made of, in words."""
        kind = self.entry.kinds[0]
        written = getattr(self.entry, kind)
        return f"{kind} {' '.join(written) if isinstance(written, list) else written}"

    async def load(self) -> Tool:
        """Return the tool at work. Raise `ToolUnusable`."""
        if self.code is None:
            return self.tool
        return await _from_python(self, self.code)


def declared_tools(
    entries: Mapping[str, ToolEntry], findings: Findings, file: str, at: Place = ("tools",), known: Collection[str] = ()
) -> tuple[ToolSource, ...]:
    """Return the tools that `file` declares in the section at `at`; what is wrong with them goes to the findings.

    Those in `known` are given from elsewhere, and nothing is read for them.
    """
    reading = _ToolReading(findings, Path(file).parent, file, at)
    return tuple(reading.named(name, entry) for name, entry in entries.items() if name not in known)


@dataclass(frozen=True, slots=True)
class _ToolReading:
    findings: Findings
    beside: Path
    file: str
    at: Place

    def named(self, name: str, entry: ToolEntry) -> ToolSource:
        """Return an entry's tool; of a wrong one, which is reported, what bears its name."""
        broken = ToolSource(name, entry, _unloaded(name, entry, Declaration(name, 0)), self.beside, "")
        return self.source(name, entry) or broken

    def source(self, name: str, entry: ToolEntry) -> ToolSource | None:
        place = (*self.at, name)
        if not NAME.fullmatch(name):
            hint = "letters, digits, _ and -, at most 64, a letter first"
            self.findings.error(place, "invalid-name", f"no model can call a tool '{name[:80]}'", hint, key=True)
        if len(entry.kinds) != 1:
            found = " and ".join(entry.kinds) or "none"
            self.findings.lacks(place, "one-of", f"a tool has exactly one of {', '.join(KINDS)}; here: {found}")
            return None
        makers: Mapping[str, Callable[[str, ToolEntry, Place], ToolSource | None]] = {"python": self._python}
        return makers[entry.kinds[0]](name, entry, place)

    def _python(self, name: str, entry: ToolEntry, place: Place) -> ToolSource | None:
        place = (*place, "python")
        path, function = python_place(str(entry.python), name)
        code = self._code(place, path)
        if code is None:
            return None
        try:
            declared = code.declared()
        except CodeUnreadable as error:  # pragma: no cover  # `_code` has parsed it
            raise AssertionError from error
        if function not in declared:
            hint = nearest(function, declared) or f"it defines {', '.join(list(declared)[:8]) or 'nothing'}"
            self.findings.error(place, "unknown-function", f"{path} defines no '{function}'", hint)
            return None
        seen = declared[function]
        folder = self.beside.resolve()
        use = CodeUse.of(folder, f"Python in {' and '.join(sorted(code.texts))}", code.sha256, self.file)
        return ToolSource(name, entry, _unloaded(name, entry, seen), folder, code.sha256, (use,), code, seen.signature)

    def _code(self, place: Place, path: str) -> CodeText | None:
        """Return a Python file with those that it imports; what is wrong with it is reported at `place`."""
        if not path.endswith(".py"):
            hint = 'python: "mytools.py:convert"'
            self.findings.error(place, "invalid-value", f"'{path}' is no Python file", hint)
            return None
        try:
            return code_of(path, partial(read_inside, self.beside))
        except (PathEscapes, PathRefused) as error:
            hint = "a tool's file stands in the folder of the file that names it, or below"
            self.findings.error(place, "unsafe-path", str(error), hint)
        except (CodeUnreadable, ValueError) as error:
            self.findings.error(place, "bad-tool-file", str(error))
        except OSError as error:
            self.findings.error(place, "bad-tool-file", f"cannot read '{path}': {error.strerror or error}")
        return None


def python_place(written: str, name: str) -> tuple[str, str]:
    """Return the file and the function that `mytools.py:convert` means; without a function it is called as the tool."""
    path, colon, function = written.rpartition(":")
    return (path, function or name) if colon else (written, name)


def is_gone(entry: ToolEntry, beside: Path) -> bool:
    """Return whether the file of a tool is not in the folder `beside` any more."""
    return entry.python is not None and not (beside / python_place(entry.python, "")[0]).exists()


def uses_of_code(sources: Iterable[ToolSource]) -> tuple[CodeUse, ...]:
    """Return what must be allowed before these run, each once."""
    return tuple(dict.fromkeys(use for one in sources for use in one.uses))


def _unloaded(name: str, entry: ToolEntry, seen: Declaration) -> Tool:
    """Return what stands in a plan for a function of a file that was not run."""

    def not_loaded(**_: Any) -> NoReturn:
        raise ToolFault(name, "its file is loaded when a run starts")

    return replace(tool(name=name, **entry.settings())(not_loaded), description=entry.description or seen.docs)


async def _from_python(source: ToolSource, code: CodeText) -> Tool:
    path, function = python_place(str(source.entry.python), source.name)
    try:
        found = getattr(await load_module(code, source.folder), function, None)
        if found is None or not (isinstance(found, Tool) or callable(found)):
            raise CodeUnreadable(path, 0, f"'{function}' is {type(found).__name__}, not a function")
        if isinstance(found, Tool):
            made = replace(found, name=source.name, **source.entry.settings())
        else:
            made = tool(name=source.name, **source.entry.settings())(found)
        described = source.entry.description or source.tool.description or made.description
        made = replace(made, description=described)
        _ = made.spec
    except AgentError as error:
        raise ToolUnusable(source.name, str(error)) from error
    return made
