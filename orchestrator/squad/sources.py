"""What a squad's text refers to, as texts by kind and name: kept with a run, they make its squad again anywhere.

The kinds: `mcp NAME`, the definitions of a server's tools; `persona PATH`, a persona's file, by the path in the squad
or in the folder `personas` beside it, and `instructions PATH`, an agent's prompt; `routing FILE`; `include PATH`;
`squad PATH`, the file of a sub-squad, and `of PATH: KIND NAME` for what that refers to; of an embedding program its own
`personas`; `tool NAME` for what a model was shown of each tool that is not built in, and `tool-sha256 NAME` for what
runs where that is called. The code itself is not kept: a record from elsewhere brings none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from agents.errors import ToolFault
from agents.mcp.definitions import Definition, definition_of
from agents.tools import Tool
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.who import FOLDER, is_file, is_prompt_file
from personas.markdown import persona_in as persona_in_text
from providers.documents.nodes import Node
from providers.documents.problems import Problem
from providers.documents.secrets import recordable
from providers.documents.yaml import mapping_in, read_once

OWN_PERSONAS = "personas"
MCP, PERSONA, PROMPT, ROUTING, TOOL, DIGEST = "mcp ", "persona ", "instructions ", "routing ", "tool ", "tool-sha256 "
SQUAD, OF, INCLUDE = "squad ", "of ", "include "


def gather(
    spec: SquadSpec,
    beside: Path,
    routing: Path | Mapping[str, Any] | None,
    personas: Mapping[str, Mapping[str, Any]],
    tools: Iterable[Tool],
    texts: dict[str, str],
    read: Mapping[str, str],
) -> dict[str, str]:
    """Return the sources of a squad whose file stands in the folder `beside`. Raise `SpecError` for an unreadable one.

    Where personas or routing were given as objects, they become JSON. `read` has the personas' files that were read, by
    path: what a persona extends is nowhere in the squad's own text.
    """
    paths = [agent.persona for agent in spec.agents.values() if isinstance(agent.persona, str)]
    found = {PERSONA + path: read_once(beside / path, texts) for path in paths if is_file(path)}
    found |= {PERSONA + path: text for path, text in read.items()}
    prompts = [agent.instructions.strip() for agent in spec.agents.values() if agent.instructions is not None]
    found |= {PROMPT + path: read_once(beside / path, texts) for path in prompts if is_prompt_file(path)}
    if isinstance(routing, Mapping):
        found[f"{ROUTING}<routing>"] = json.dumps(dict(routing), ensure_ascii=False)
    elif routing is not None:
        found[ROUTING + str(routing)] = recordable(read_once(routing, texts))
    if personas:
        found[OWN_PERSONAS] = json.dumps({name: dict(one) for name, one in personas.items()}, ensure_ascii=False)
    return found | {TOOL + tool.name: json.dumps(_seen(tool), ensure_ascii=False) for tool in tools}


def _seen(tool: Tool) -> dict[str, Any]:
    """Return a tool as a model sees it: in runs of earlier editions, and as it is told now where that differs."""
    before, now = tool.spec_in(2), tool.spec
    told = {"description": before.description, "parameters": before.parameters}
    return told if before == now else {**told, "told": [now.description, now.parameters]}


def persona_in(sources: Mapping[str, str], path: str, found: list[Problem]) -> Node:
    """Return the tree of the persona's file. Raise `OSError` where it is not among the sources."""
    if (text := sources.get(PERSONA + path)) is None:
        raise FileNotFoundError(2, "it is not in the record", path)
    return persona_in_text(text, path, found)


def personas_of_folder(sources: Mapping[str, str]) -> list[str]:
    """Return the names of the files of the folder beside the squad that are among the sources."""
    start = f"{PERSONA}{FOLDER}/"
    return [name[len(start) :] for name, _ in _of(sources, start) if "/" not in name[len(start) :]]


def prompt_in(sources: Mapping[str, str], path: str) -> str:
    """Return the text of a file of instructions. Raise `OSError` where it is not among the sources."""
    if (text := sources.get(PROMPT + path)) is None:
        raise FileNotFoundError(2, "it is not in the record", path)
    return text


def files_gone(sources: Mapping[str, str], beside: Path) -> dict[str, str]:
    """Return the texts of personas and instructions whose files are not in the folder `beside` any more, by path."""
    files = {str(beside / name[len(kind) :]): text for kind in (PERSONA, PROMPT) for name, text in _of(sources, kind)}
    return {file: text for file, text in files.items() if not Path(file).exists()}


def personas_in(sources: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the embedding program's own personas."""
    found: Mapping[str, Mapping[str, Any]] = json.loads(sources.get(OWN_PERSONAS, "{}"))
    return found


def routing_in(sources: Mapping[str, str]) -> Node | None:
    """Return the tree of the routing file, None where there was none. Raise `SpecError`."""
    return next((mapping_in(text, name[len(ROUTING) :]) for name, text in _of(sources, ROUTING)), None)


def routing_text(sources: Mapping[str, str]) -> str:
    """Return the text of the routing file; "" where there was none."""
    return next((text for _, text in _of(sources, ROUTING)), "")


def with_routing(sources: Mapping[str, str], file: str, text: str) -> dict[str, str]:
    """Return the sources with another routing file in place of theirs."""
    return {name: said for name, said in sources.items() if not name.startswith(ROUTING)} | {ROUTING + file: text}


def without_places(sources: Mapping[str, str]) -> dict[str, str]:
    """Return the sources with a routing file that was named by an absolute path under its own name: no path of this
    machine goes along."""
    return {_placeless(name): text for name, text in sources.items()}


def _placeless(name: str) -> str:
    file = Path(name.removeprefix(ROUTING))
    return ROUTING + file.name if name.startswith(ROUTING) and file.is_absolute() else name


def tools_in(sources: Mapping[str, str]) -> tuple[Tool, ...]:
    """Return the embedding program's tools as a model sees them. Calling one raises `ToolFault`."""
    return tuple(_shown(name[len(TOOL) :], json.loads(text)) for name, text in _of(sources, TOOL))


def with_squad(sources: Mapping[str, str], path: str, text: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return the sources with those of a sub-squad, whose path has no colon."""
    return {**sources, SQUAD + path: text, **{f"{OF}{path}: {name}": said for name, said in own.items()}}


def squad_in(sources: Mapping[str, str], path: str) -> str:
    """Return the text of a sub-squad's file. Raise `OSError` where it is not among the sources."""
    if (text := sources.get(SQUAD + path)) is None:
        raise FileNotFoundError(2, "it is not in the record", path)
    return text


def with_includes(sources: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """Return the sources with the files that the squad includes, by path."""
    return {**sources, **{INCLUDE + path: text for path, text in texts.items()}}


def included_in(sources: Mapping[str, str], path: str) -> str:
    """Return the text of an included file. Raise `OSError` where it is not among the sources."""
    if (text := sources.get(INCLUDE + path)) is None:
        raise FileNotFoundError(2, "it is not in the record", path)
    return text


def sources_of(sources: Mapping[str, str], path: str) -> dict[str, str]:
    """Return what a sub-squad refers to."""
    kind = f"{OF}{path}: "
    return {name[len(kind) :]: text for name, text in _of(sources, kind)}


def with_digests(sources: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """Return the sources with what tells that the tools which a file declares were changed."""
    return {**sources, **{DIGEST + name: sha256 for name, sha256 in digests.items()}}


def digests_in(sources: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of the tools that the squad's files declared."""
    return {name[len(DIGEST) :]: sha256 for name, sha256 in _of(sources, DIGEST)}


def with_definitions(sources: Mapping[str, str], definitions: Mapping[str, Sequence[Definition]]) -> dict[str, str]:
    """Return the sources with what MCP servers said of their tools."""
    said = {name: [one.document() for one in tools] for name, tools in definitions.items()}
    return {**sources, **{MCP + name: json.dumps(tools, ensure_ascii=False) for name, tools in said.items()}}


def definitions_in(sources: Mapping[str, str]) -> dict[str, tuple[Definition, ...]]:
    """Return what MCP servers said of their tools, by server."""
    return {name[len(MCP) :]: tuple(map(definition_of, json.loads(text))) for name, text in _of(sources, MCP)}


def _of(sources: Mapping[str, str], kind: str) -> list[tuple[str, str]]:
    return [(name, text) for name, text in sources.items() if name.startswith(kind)]


def _shown(name: str, seen: Mapping[str, Any]) -> Tool:
    def gone(**_: Any) -> NoReturn:
        raise ToolFault(name, "a record holds what a model was shown of a tool, not the tool")

    return Tool(name, seen["description"], gone, parameters=seen["parameters"]).told_as(*seen.get("told", ()))
