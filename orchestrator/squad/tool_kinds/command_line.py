"""`command: [git, log, "{path}"]`: a program with typed arguments, never through a shell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath

from agents.declared.arguments import in_one_line, in_one_word, placeholders
from agents.declared.command import CommandSpec, command_tool, is_shell, programs_tool
from agents.errors import PathEscapes
from agents.tools import Tool
from orchestrator.squad.named_files import named_files
from orchestrator.squad.tool_source import ToolReading, ToolSource, digest_of
from orchestrator.squad.tool_specs import ToolEntry
from orchestrator.trust import CodeUse
from providers.documents.problems import Path as Place


def read(reading: ToolReading, name: str, entry: ToolEntry, place: Place) -> tuple[ToolSource, ...]:
    """Return the tool; none where it is reported what is wrong."""
    argv = tuple(entry.command or ())
    named = [one for text in argv for one in placeholders(text)]
    spec = CommandSpec(argv, reading.folder, reading.arguments(place, entry.args, named), tuple(entry.env))
    if entry.timeout is not None:
        spec = replace(spec, timeout_s=entry.timeout)
    if entry.max_output is not None:
        spec = replace(spec, max_bytes=entry.max_output)
    if fault := spec.fault():
        reading.findings.error((*place, "command"), "unsafe-command", fault)
        return ()
    if entry.cwd is not None:
        folder = _below(reading, (*place, "cwd"), entry.cwd)
        if folder is None:
            return ()
        spec = replace(spec, cwd=str(folder))
    # What stands beside the squad and is run or read by its name belongs to what is allowed.
    files = named_files([one for one in argv if not placeholders(one)], reading.folder, entry.cwd or ".")
    spec = replace(spec, pinned=files.code)
    shown = in_one_line(argv)
    sha256 = digest_of([argv, spec.arguments.schema, entry.env, entry.cwd, files.digests])
    use = CodeUse.of(reading.folder, f"the command `{shown}`{_given(entry)}", sha256, reading.file)
    description = entry.description or f"Run `{shown}`."
    more = {key: value for key, value in entry.settings().items() if key != "timeout_s"}

    async def load(environ: Mapping[str, str]) -> Tool:
        return command_tool(name, description, spec, environ, **more)

    tool = command_tool(name, description, spec, {}, **more)
    return (ToolSource(name, tool, f"command {shown}", sha256, (use,), load, code=tuple(files.code)),)


def read_programs(reading: ToolReading, name: str, entry: ToolEntry, place: Place) -> tuple[ToolSource, ...]:
    """Return the tool that runs one of a few programs as the model says; none where it is reported what is wrong."""
    programs = tuple(entry.programs or ())
    for index, program in enumerate(programs):
        if is_shell(program) or placeholders(program):
            what = f"{program} runs whatever it is told; name the programs themselves"
            reading.findings.error((*place, "programs", index), "unsafe-command", what)
            return ()
    spec = CommandSpec(programs, reading.folder, env=tuple(entry.env))
    if entry.timeout is not None:
        spec = replace(spec, timeout_s=entry.timeout)
    if entry.max_output is not None:
        spec = replace(spec, max_bytes=entry.max_output)
    if entry.cwd is not None:
        folder = _below(reading, (*place, "cwd"), entry.cwd)
        if folder is None:
            return ()
        spec = replace(spec, cwd=str(folder))
    listed = ", ".join(map(in_one_word, programs))
    files = named_files(programs, reading.folder)
    spec = replace(spec, pinned=files.code)
    sha256 = digest_of(["programs", programs, entry.env, entry.cwd, files.digests])
    what = f"the programs {listed}, with arguments of a model{_given(entry)}"
    use = CodeUse.of(reading.folder, what, sha256, reading.file)
    description = entry.description or f"Run one of these programs, without a shell: {listed}."
    more = {key: value for key, value in entry.settings().items() if key != "timeout_s"}

    async def load(environ: Mapping[str, str]) -> Tool:
        return programs_tool(name, description, spec, environ, **more)

    tool = programs_tool(name, description, spec, {}, **more)
    return (ToolSource(name, tool, f"programs {listed}", sha256, (use,), load, code=tuple(files.code)),)


def _given(entry: ToolEntry) -> str:
    """Return which of the user's variables it is given, in words."""
    return f", given {', '.join(entry.env)}" if entry.env else ""


def _below(reading: ToolReading, place: Place, path: str) -> PurePath | None:
    """Return a folder below that of the file, None where it is none, which is reported."""
    below = PurePath(path)
    try:
        if below.anchor or ".." in below.parts:
            raise PathEscapes(path, "it is absolute" if below.anchor else "it goes up by `..`")
        whole = (reading.folder / below).resolve()
        if not whole.is_relative_to(reading.folder):
            raise PathEscapes(path, "a link leads out of it")
    except PathEscapes as error:
        reading.findings.error(place, "unsafe-path", str(error))
        return None
    if not whole.is_dir():
        reading.findings.error(place, "invalid-value", f"there is no folder '{path}'")
        return None
    return below
