"""`http: https://api.example.com/rates/{base}`: a request to a fixed host. `web: [docs.python.org]`: pages of hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agents.declared.http_call import PLACE, HttpSpec, http_tool, web_tool
from agents.tools import Tool
from orchestrator.squad.tool_source import ToolReading, ToolSource, digest_of
from orchestrator.squad.tool_specs import ToolEntry
from orchestrator.trust import CodeUse
from providers.documents.problems import Path as Place

if TYPE_CHECKING:
    from providers.transport import Fetch

_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def read(reading: ToolReading, name: str, entry: ToolEntry, place: Place) -> tuple[ToolSource, ...]:
    """Return the tool of one request; none where it is reported what is wrong."""
    texts = [str(entry.http), *entry.headers.values(), *entry.query.values(), *_texts(entry.body)]
    named = [one for text in texts for one in PLACE.findall(text)]
    spec = HttpSpec(
        str(entry.http),
        (entry.method or ("GET" if entry.body is None else "POST")).upper(),
        entry.headers,
        entry.query,
        entry.body,
        reading.arguments(place, entry.args, named),
        entry.allow_private,
    )
    if fault := spec.fault():
        reading.findings.error((*place, "http"), "bad-address", fault)
        return ()
    if wrong := spec.header_fault():
        reading.findings.error((*place, "headers", wrong[0]), "bad-header", wrong[1], key=True)
        return ()
    return (source_of(reading, name, entry, spec, entry.description or f"{spec.method} {spec.url}"),)


def source_of(reading: ToolReading, name: str, entry: ToolEntry, spec: HttpSpec, description: str) -> ToolSource:
    """Return the tool that makes a request, however its file describes that."""
    if entry.timeout is not None:
        spec = replace(spec, timeout_s=entry.timeout)
    if entry.max_output is not None:
        spec = replace(spec, max_bytes=entry.max_output)
    more = {key: value for key, value in entry.settings().items() if key != "timeout_s"}
    with_what = f" with {', '.join(spec.variables)}" if spec.variables else ""
    inside = ", which may be this machine or a private network" if spec.allow_private else ""
    told = [spec.url, spec.method, dict(spec.headers), dict(spec.query), spec.body, spec.arguments.schema, inside]
    sha256 = digest_of(told)
    use = CodeUse.of(
        reading.folder, f"{spec.method} requests to {spec.origin}{with_what}{inside}", sha256, reading.file
    )

    async def load(environ: Mapping[str, str]) -> Tool:
        return http_tool(name, description, spec, environ, _fetch(), **more)

    return ToolSource(
        name, _shown(name, description, spec, more), f"http {spec.method} {spec.url}", sha256, (use,), load
    )


def read_web(reading: ToolReading, name: str, entry: ToolEntry, place: Place) -> tuple[ToolSource, ...]:
    """Return the tool that reads pages; none where it is reported what is wrong."""
    hosts = tuple(entry.web or ())
    for index, host in enumerate(hosts):
        if _HOST.fullmatch(host) is None:
            hint = "a host as docs.python.org, *.wikipedia.org, or * for any public one"
            reading.findings.error((*place, "web", index), "bad-address", f"'{host}' is not a host", hint)
            return ()
    asked = "any public host" if "*" in hosts else ", ".join(hosts)
    description = entry.description or f"Return the text at an address of {asked}."
    sha256 = digest_of(["web", hosts])
    use = CodeUse.of(reading.folder, f"GET requests to {asked}", sha256, reading.file)

    async def load(_: Mapping[str, str]) -> Tool:
        return web_tool(name, description, hosts, _fetch(), **entry.settings())

    shown = web_tool(name, description, hosts, _nothing, **entry.settings())
    return (ToolSource(name, shown, f"web {' '.join(hosts)}", sha256, (use,), load),)


def _fetch() -> Fetch:
    """Return what asks the web."""
    from providers.transport import guarded_fetch  # it brings ssl

    return guarded_fetch()


async def _nothing(*_: Any, **__: Any) -> Any:
    raise AssertionError("a plan's tools are not called")


def _shown(name: str, description: str, spec: HttpSpec, more: Mapping[str, Any]) -> Tool:
    return http_tool(name, description, spec, {}, _nothing, **more)


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for one in value.values() for text in _texts(one)]
        case list():
            return [text for one in value for text in _texts(one)]
    return []
