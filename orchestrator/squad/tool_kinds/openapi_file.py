"""`openapi: petstore.yaml`: the operations of a document beside the squad's file, a tool each."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from agents.declared.openapi import OpenApiUnusable, Operation, operations
from agents.errors import AgentError, PathEscapes, PathRefused
from orchestrator.squad.tool_kinds.http_request import source_of
from orchestrator.squad.tool_source import ToolReading, ToolSource
from orchestrator.squad.tool_specs import ToolEntry
from providers.documents.problems import Path as Place
from providers.documents.problems import SpecError, nearest
from providers.documents.yaml import decode, parse_text

MOST = 20
"""Operations that become tools without `include` naming them: a model that has many tools picks badly."""
FILE_BYTES = 8 << 20


def read(reading: ToolReading, name: str, entry: ToolEntry, place: Place) -> tuple[ToolSource, ...]:
    """Return a tool for each operation; none where it is reported what is wrong."""
    file = str(entry.openapi)
    try:
        found = operations(_document(reading, file), entry.base_url, entry.headers)
    except (PathEscapes, PathRefused) as error:
        reading.findings.error((*place, "openapi"), "unsafe-path", str(error))
        return ()
    except (AgentError, SpecError, ValueError, OSError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reading.findings.error((*place, "openapi"), "bad-tool-file", f"{file}: {told}")
        return ()
    chosen = _chosen(reading, entry, place, found)
    sources: list[ToolSource] = []
    for one in chosen:
        spec = replace(one.spec, allow_private=entry.allow_private)
        if fault := spec.fault():
            reading.findings.error((*place, "openapi"), "bad-address", f"{file}: {one.name}: {fault}")
            return ()
        if wrong := spec.header_fault():
            what = f"{file}: {one.name}: {wrong[0]}: {wrong[1]}"
            reading.findings.error((*place, "headers" if wrong[0] in entry.headers else "openapi"), "bad-header", what)
            return ()
        sources.append(replace(source_of(reading, one.name, entry, spec, one.description), entry=name))
    if not sources and found:
        return ()
    return tuple(sources)


def _chosen(reading: ToolReading, entry: ToolEntry, place: Place, found: list[Operation]) -> list[Operation]:
    named = {one.name: one for one in found}
    if len(named) < len(found):
        reading.findings.error((*place, "openapi"), "bad-tool-file", f"{entry.openapi}: two operations have one name")
        return []
    if entry.include is None:
        if len(found) > MOST:
            what = f"{entry.openapi} has {len(found)} operations: say which are tools"
            reading.findings.error((*place, "openapi"), "too-large", what, f"include: [{', '.join(list(named)[:3])}]")
            return []
        return found
    for index, name in enumerate(entry.include):
        if name not in named:
            message = f"{entry.openapi} has no operation '{name}'"
            reading.findings.error((*place, "include", index), "unknown-function", message, nearest(name, named))
    return [named[name] for name in entry.include if name in named]


def _document(reading: ToolReading, file: str) -> Any:
    text = decode(reading.read(file, FILE_BYTES), file)
    if file.endswith(".json"):
        try:
            return json.loads(text)
        except RecursionError:
            raise OpenApiUnusable("it is nested too deeply") from None
    parsed = parse_text(text, file)
    if parsed.found:
        raise SpecError(parsed.found)
    return parsed.root.plain()
