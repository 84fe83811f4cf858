"""The tools that a file declares: what is known of them before a run. Reading a file runs none of its code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.squad.tool_source import NAME, NO_NAME, ToolReading, ToolSource, digest_of, unloaded
from orchestrator.squad.tool_specs import KINDS, ToolEntry
from orchestrator.trust import CODE, CodeUse
from providers.documents.findings import Findings
from providers.documents.problems import Path as Place

TERMS = frozenset({"approval", "risk", "idempotent", "untrusted"})
"""What an entry says of when a person is asked."""
ReadKind = Callable[[ToolReading, str, ToolEntry, Place], tuple[ToolSource, ...]]


def readers() -> Mapping[str, ReadKind]:
    """Return what reads an entry, by the field that says its kind. An entry may make several tools."""
    # On use: most squads declare no tools, and these bring processes, HTTP and OpenAPI.
    from orchestrator.squad.tool_kinds import command_line, http_request, openapi_file, python_function

    return {
        "python": python_function.read,
        "command": command_line.read,
        "programs": command_line.read_programs,
        "http": http_request.read,
        "web": http_request.read_web,
        "openapi": openapi_file.read,
    }


def declared_tools(
    entries: Mapping[str, ToolEntry], findings: Findings, file: str, at: Place = ("tools",), known: Collection[str] = ()
) -> tuple[ToolSource, ...]:
    """Return the tools that `file` declares in the section at `at`; what is wrong with them goes to the findings.

    Those in `known` are given from elsewhere, and nothing is read for them. Of a wrong entry there is what bears its
    name, so that whoever uses it is not reported as well.
    """
    reading = ToolReading(findings, Path(file).parent, file)
    found: list[ToolSource] = []
    for name, entry in entries.items():
        if name not in known:
            broken = ToolSource(name, unloaded(name, entry, ""), "")
            found += _read(reading, name, entry, (*at, name)) or (broken,)
    return tuple(_without_namesakes(found, findings, at))


def _without_namesakes(found: Iterable[ToolSource], findings: Findings, at: Place) -> Iterable[ToolSource]:
    """Yield the tools; the second one of a name, as operations may have it, is reported."""
    seen: set[str] = set()
    for one in found:
        if one.name in seen:
            message = f"two tools are called '{one.name}'"
            findings.error((*at, one.entry or one.name), "duplicate-name", message, key=True)
        else:
            seen.add(one.name)
            yield one


def _read(reading: ToolReading, name: str, entry: ToolEntry, place: Place) -> tuple[ToolSource, ...]:
    if not NAME.fullmatch(name):
        what = f"no model can call a tool '{name[:80]}'"
        reading.findings.error(place, "invalid-name", what, NO_NAME, key=True)
    if len(entry.kinds) != 1:
        found = " and ".join(entry.kinds) or "none"
        reading.findings.lacks(place, "one-of", f"a tool has exactly one of {', '.join(KINDS)}; here: {found}")
        return ()
    kind = entry.kinds[0]
    for field in entry.misplaced(kind):
        reading.findings.error((*place, field), "misplaced-field", f"'{field}' has no meaning with '{kind}'", key=True)
    return tuple(_with_terms(one, entry) for one in readers()[kind](reading, name, entry, place))


def _with_terms(source: ToolSource, entry: ToolEntry) -> ToolSource:
    """Return a tool whose use is allowed on the terms that its entry has: with others it is asked for anew."""
    terms = {name: said for name, said in entry.settings().items() if name in TERMS}
    if not terms:
        return source
    told = ", ".join(f"{name}: {str(said).lower()}" for name, said in terms.items())
    uses = (
        replace(use, address=f"{CODE}{digest_of([use.address, terms])}", what=f"{use.what} ({told})")
        for use in source.uses
    )
    return replace(source, uses=tuple(uses))


def is_gone(entry: ToolEntry, beside: Path) -> bool:
    """Return whether the file of a tool is not in the folder `beside` any more."""
    from orchestrator.squad.tool_kinds.python_function import python_place  # on use, as above

    file = entry.openapi if entry.python is None else python_place(entry.python, "")[0]
    return file is not None and not (beside / file).exists()


def uses_of_code(sources: Iterable[ToolSource]) -> tuple[CodeUse, ...]:
    """Return what must be allowed before these run, each once."""
    return tuple(dict.fromkeys(use for one in sources for use in one.uses))
