"""Squads as commands read them. Apart from `files.py`: what only asks for providers loads no reader of squads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agents.tools import Tool
from orchestrator.cli.app import Settings
from orchestrator.cli.exits import Unusable
from orchestrator.cli.file_kind import NAMES, kind_of
from orchestrator.cli.files import routing_file
from orchestrator.cli.loading import interrupts_held
from orchestrator.journal.protocols import RunManifest
from orchestrator.squad.load import Squad
from personas.markdown import is_markdown
from providers.documents.yaml import ParsedFile, parse_file


@interrupts_held()
def load_squad(file: str, settings: Settings, where_gone: Mapping[str, str] | None = None) -> Squad:
    """Return the squad of `file`; `where_gone` has its sources, as a run recorded them.

    Raise `Unusable` where there is no such file, `SpecError` with all its mistakes.
    """
    if Path(file).is_dir():
        found = ", ".join(map(str, sorted(Path(file).glob("*.yaml"))[:3]))
        hint = f"name a file of it: {found}" if found else "`orchestrator init` writes one"
        raise Unusable(f"{file} is a folder, not a squad's file", hint)
    if not Path(file).is_file():
        raise Unusable(f"there is no squad file {file}", "`orchestrator init` writes one")
    if is_markdown(file):
        raise Unusable(f"{file} is Markdown, which may be a persona, not a squad", "a squad is a YAML file")
    parsed = parse_file(file)
    if (kind := kind_of(parsed.keys, parsed.file)) != "squad":
        raise Unusable(f"{file} is {NAMES[kind]}, not a squad", f"`orchestrator validate {file}` checks it")
    return squad_of_file(parsed, settings, where_gone)


@interrupts_held()
def squad_of_file(
    parsed: ParsedFile,
    settings: Settings,
    where_gone: Mapping[str, str] | None = None,
    tools: tuple[Tool, ...] = (),
) -> Squad:
    """Return the squad of a file that was parsed before. Raise `SpecError` with all its mistakes.

    `tools` stand for those of their names.
    """
    return Squad.from_file(parsed, routing=routing_file(settings), where_gone=where_gone, tools=tools)


def recorded_squad(manifest: RunManifest, settings: Settings, file: str | None = None) -> Squad:
    """Return the squad as its file, which may be elsewhere now, has it; where that is gone, as it was recorded.

    The same holds for each file of a persona.
    """
    if file is not None or Path(manifest.file).is_file():
        return load_squad(file or manifest.file, settings, manifest.sources)
    return Squad.from_text(manifest.text, manifest.file, routing=routing_file(settings), where_gone=manifest.sources)
