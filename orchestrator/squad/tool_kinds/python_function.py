"""`python: "mytools.py:convert"`: a function of a file beside the squad's. The file is parsed here, and runs later."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from agents.declared.python_file import load_module
from agents.declared.python_text import CodeText, CodeUnreadable, code_of
from agents.errors import AgentError, PathEscapes, PathRefused, ToolFault
from agents.tools import Tool, tool
from orchestrator.errors import ToolUnusable
from orchestrator.squad.tool_source import ToolReading, ToolSource, unloaded
from orchestrator.squad.tool_specs import ToolEntry
from orchestrator.trust import CodeUse
from providers.documents.problems import Path as Place
from providers.documents.problems import nearest


def read(reading: ToolReading, name: str, entry: ToolEntry, place: Place) -> tuple[ToolSource, ...]:
    """Return the tool; none where it is reported what is wrong."""
    place = (*place, "python")
    path, function = python_place(str(entry.python), name)
    code = _code(reading, place, path, function)
    if code is None:
        return ()
    declared = code.declared()
    if function not in declared:
        hint = nearest(function, declared) or f"it defines {', '.join(list(declared)[:8]) or 'nothing'}"
        reading.findings.error(place, "unknown-function", f"{path} defines no '{function}'", hint)
        return ()
    seen, folder = declared[function], reading.folder
    use = CodeUse.of(folder, f"Python in {' and '.join(sorted(code.texts))}", code.sha256, reading.file)
    shown = unloaded(name, entry, seen.docs)
    with suppress(ToolFault):  # a value that there is not is told when the file is loaded
        shown = replace(shown, **{term: value for term, value in seen.terms.items() if term not in entry.settings()})

    async def load(_: Mapping[str, str]) -> Tool:
        try:
            found = getattr(await load_module(code, folder), function, None)
            made = _tool_of(name, entry, found)
            made = replace(made, description=shown.description or made.description)
            _spec = made.spec  # raises where a model cannot be told what it takes
            if made.approval != shown.approval:
                raise ToolFault(name, f"say it in the squad's file: approval: {made.approval}")
        except AgentError as error:
            raise ToolUnusable(name, str(error)) from error
        return made

    files = tuple(str(folder / one) for one in code.texts)  # no link is on the way to them
    origin = f"python {path}:{function}"
    return (ToolSource(name, shown, origin, code.sha256, (use,), load, signature=seen.signature, code=files),)


def python_place(written: str, name: str) -> tuple[str, str]:
    """Return the file and the function that `mytools.py:convert` means; without a function it is called as the tool."""
    path, colon, function = written.rpartition(":")
    return (path, function or name) if colon else (written, name)


def _code(reading: ToolReading, place: Place, path: str, function: str) -> CodeText | None:
    """Return a Python file with those that it imports; what is wrong with it is reported at `place`."""
    if not path.endswith(".py"):
        module, _, last = path.rpartition(".")
        if module.replace(".", "_").isidentifier():  # as an import has it: mytools.convert
            hint = f'python: "{module.replace(".", "/")}.py:{last}"'
        else:
            hint = f'python: "{path if path.isidentifier() else "mytools"}.py:{function}"'
        reading.findings.error(place, "invalid-value", f"'{path}' is not a Python file", hint)
        return None
    try:
        return code_of(path, reading.read)
    except (PathEscapes, PathRefused) as error:
        hint = "a tool's file must be in the folder of the file that names it, or below"
        reading.findings.error(place, "unsafe-path", str(error), hint)
    except (CodeUnreadable, ValueError) as error:
        reading.findings.error(place, "bad-tool-file", str(error))
    except OSError as error:
        reading.findings.error(place, "bad-tool-file", f"cannot read '{path}': {error.strerror or error}")
    return None


def _tool_of(name: str, entry: ToolEntry, found: object) -> Tool:
    if isinstance(found, Tool):
        return replace(found, name=name, **entry.settings())
    if not callable(found):
        path, function = python_place(str(entry.python), name)
        raise CodeUnreadable(path, 0, f"'{function}' is {type(found).__name__}, not a function")
    made: Tool = tool(name=name, **entry.settings())(found)
    return made
