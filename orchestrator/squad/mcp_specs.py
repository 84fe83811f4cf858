"""`mcp:` of a squad file: the servers whose tools its agents may call. Read and checked, never started. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import Field

from agents.declared.arguments import in_one_line
from agents.errors import ToolFault
from agents.mcp.definitions import Definition
from agents.mcp.tools import TIMEOUT_S, named_tools
from agents.mcp.tools import tool_of as server_tool
from agents.tools import Tool
from providers.catalog.trust import is_exposed
from providers.documents.fields import PositiveDuration
from providers.documents.findings import Findings
from providers.documents.models import StrictModel
from providers.documents.problems import Path
from providers.documents.secrets import hidden, secret_named_in

NonEmptyText = Annotated[str, Field(min_length=1)]
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]|_(?!_)){0,31}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "accept", "accept-encoding", "transfer-encoding"})
ALL = "*"


class McpSpec(StrictModel):
    """A server of tools: a program that is started, or an address."""

    noun: ClassVar[str] = "an MCP server"
    other_names: ClassVar[Mapping[str, str]] = {
        "cmd": "command",
        "arguments": "args",
        "environment": "env",
        "server_url": "url",
        "serverUrl": "url",
        "endpoint": "url",
        "http_headers": "headers",
        "working_dir": "cwd",
        "working_directory": "cwd",
        "allowed_tools": "tools",
        "include_tools": "tools",
    }
    advice: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("type", "transport"), "leave it out: command is stdio, url is streamable HTTP"),
        **dict.fromkeys(("disabled", "enabled"), "leave the server out: no server is started that no agent uses"),
        **dict.fromkeys(("authorization", "api_key", "token"), 'headers: {Authorization: "Bearer ${TOKEN}"}'),
    }
    command: NonEmptyText | list[NonEmptyText] | None = Field(
        default=None,
        description="The program, or the program and its arguments. No shell reads it.",
        examples=[["uvx", "mcp-server-git"], "npx"],
    )
    args: list[str] = Field(
        default_factory=list, description="More arguments of the program.", examples=[["-y", "@scope/server"]]
    )
    url: NonEmptyText | None = Field(
        default=None,
        description="Or the address of a server that speaks streamable HTTP.",
        examples=["https://example.com/mcp"],
    )
    env: list[NonEmptyText] | dict[str, str] = Field(
        default_factory=list,
        description="Variables that the program gets, beside those that programs need to run. In values, `${NAME}` is "
        "a variable of the environment or of the `.env`.",
        examples=[["GITHUB_TOKEN"], {"LOG": "debug", "TOKEN": "${GITHUB_TOKEN}"}],
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Headers of each request. `${NAME}` is a variable of the environment or of the `.env`.",
        examples=[{"Authorization": "Bearer ${TOKEN}"}],
    )
    cwd: NonEmptyText | None = Field(
        default=None,
        description="The folder that the program runs in. Default: that of this file.",
        examples=["servers"],
    )
    timeout: PositiveDuration | None = Field(
        default=None, description=f"Time of one call. Default: `{TIMEOUT_S:g}s`.", examples=["20s"]
    )
    tools: list[NonEmptyText] | None = Field(
        default=None, description="The tools of the server that are offered. Default: all.", examples=[["log", "diff"]]
    )
    read_only: list[NonEmptyText] = Field(
        default_factory=list,
        description="Its tools that, as you declare, change nothing; all others count as risky.",
        examples=[["log", "diff"]],
    )
    trust_annotations: bool = Field(
        default=False,
        description="Whether to believe the server when it says that one of its tools only reads.",
        examples=[True],
    )
    untrusted: bool = Field(
        default=True,
        description="Whether its answers count as text that others wrote; with `false` you trust all of them.",
        examples=[False],
    )

    @property
    def words(self) -> tuple[str, ...]:
        """The program and its arguments."""
        command = [self.command] if isinstance(self.command, str) else self.command or []
        return (*command, *self.args)

    @property
    def variables(self) -> dict[str, str]:
        """What the program gets: variable -> the text for it, in which `${NAME}` stands for one of ours."""
        return {name: f"${{{name}}}" for name in self.env} if isinstance(self.env, list) else dict(self.env)

    @property
    def reads(self) -> tuple[str, ...]:
        """The variables of ours that the server is given."""
        texts = [*self.variables.values(), *self.headers.values()]
        return tuple(dict.fromkeys(name for text in texts for name in _VARIABLE.findall(text)))

    @property
    def secret_reads(self) -> tuple[str, ...]:
        """Those of them that are called like a secret, or stand where one is."""
        texts = [(name, text) for part in (self.variables, self.headers) for name, text in part.items()]
        found = [(name, read) for name, text in texts for read in _VARIABLE.findall(text)]
        return tuple(
            dict.fromkeys(read for name, read in found if secret_named_in(f"{name}: ") or secret_named_in(f"{read}: "))
        )

    @property
    def vouched(self) -> list[str]:
        """What the file says in the server's favour, in words: it belongs to what is allowed."""
        answers = [] if self.untrusted else ["what it answers"]
        says = ["what it says of its tools"] if self.trust_annotations else []
        return [*answers, *says, *(f"{name} only reads" for name in sorted(self.read_only))]

    @property
    def target(self) -> str:
        """What is started or asked, in words."""
        return self.url or in_one_line(self.words)

    @property
    def sha256(self) -> str:
        """Of what is started or asked, and of what it is given."""
        said = [self.words, self.url, self.variables, self.headers, self.cwd]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def filled(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with the variables that it names. Raise `KeyError` with the name of one that is not set."""
    return _VARIABLE.sub(lambda found: environ[found[1]], text)


def check_servers(servers: Mapping[str, McpSpec], findings: Findings) -> None:
    """Report what is wrong with the servers."""
    for name, spec in servers.items():
        path: Path = ("mcp", name)
        if not _NAME.fullmatch(name):
            hint = "a letter, then letters, digits, - and single _, at most 32"
            findings.error(path, "invalid-name", f"'{name[:80]}' cannot begin the names of tools", hint, key=True)
        if (spec.command is None) == (spec.url is None):
            found = "both" if spec.url else "neither"
            findings.lacks(path, "one-of", f"an MCP server has exactly one of command, url; here: {found}")
        for fault in (_program if spec.url is None else _address)(spec):
            findings.error((*path, *fault[0]), *fault[1:])


def _program(spec: McpSpec) -> Iterator[tuple[Path, str, str, str]]:
    if spec.headers:
        yield ("headers",), "misplaced-field", "a program has no headers", "env: [NAME] hands it variables"
    if isinstance(spec.command, str) and not spec.args and re.search(r"\s", spec.command.strip()):
        yield (
            ("command",),
            "invalid-value",
            "no shell reads it: write a list",
            f"command: {_list(spec.command)}",
        )
    if spec.command == []:
        yield ("command",), "invalid-value", "it names no program", 'command: [uvx, "mcp-server-git"]'
    for name, text in spec.variables.items():
        at: Path = ("env",) if isinstance(spec.env, list) else ("env", name)
        if not _VARIABLE_NAME.fullmatch(name):
            yield at, "invalid-name", "a variable is a letter or _, then letters, digits and _", ""
        elif _is_secret(name, text):
            yield at, "secret-in-file", "a key belongs in the environment", f"write ${{{name}}}, and set that variable"


def _address(spec: McpSpec) -> Iterator[tuple[Path, str, str, str]]:
    assert spec.url is not None
    for name in ("args", "env", "cwd"):
        if getattr(spec, name):
            yield (name,), "misplaced-field", f"'{name}' belongs to a program", "a server at an address is not started"
    if not re.match(r"https?://[^\s/?#@]+(?:[/?#]\S*)?$", spec.url) or hidden(spec.url, guess=False) != spec.url:
        yield ("url",), "bad-address", "no address of a server, or one with a key in it", "https://example.com/mcp"
    elif spec.reads and is_exposed(spec.url):
        yield ("url",), "bad-address", "what `headers` holds could be read on its way over plain http", "use https"
    for name, text in spec.headers.items():
        at: Path = ("headers", name)
        if name.lower() in _OWN_HEADERS or not _HEADER.fullmatch(name):
            yield at, "bad-header", "this header cannot be set", ""
        elif "\n" in text or "\r" in text:
            yield at, "invalid-value", "a header must be one line", ""
        elif _is_secret(name, text):
            yield at, "secret-in-file", "a key belongs in the environment", "write ${NAME}, and set that variable"


def _is_secret(name: str, text: str) -> bool:
    """Whether a value looks like a key that stands in the file itself."""
    if _VARIABLE.search(text) or not text:
        return False
    return bool(secret_named_in(f"{name}: ")) or hidden(text) != text


def _list(command: str) -> str:
    return json.dumps(command.split(), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class McpTools:
    """The servers of a squad, with the definitions of their tools as far as they are known.

    They are known once a run has opened the servers, and of a run's record. Before, a tool of a server stands in a plan
    under the name that the file has for it: `git/log`, `git/*`.
    """

    servers: Mapping[str, McpSpec] = field(default_factory=dict)
    definitions: Mapping[str, Sequence[Definition]] = field(default_factory=dict)

    def server_of(self, reference: str) -> str | None:
        """Return the server that a reference to a tool names, be it there or not; None: it names none."""
        server, slash, tool = reference.partition("/")
        return server if slash and tool else None

    def offered(self, server: str) -> dict[str, Definition]:
        """Return the tools of a server by the names that a model reads, those alone that the squad lists."""
        allowed = self.servers[server].tools if server in self.servers else None
        found = self.definitions.get(server, ())
        return named_tools(server, [one for one in found if allowed is None or one.name in allowed])

    def tools(self, reference: str) -> tuple[Tool, ...] | str:
        """Return the tools that a reference means, ready to stand in a plan, or the words for why there are none."""
        server, _, wanted = reference.partition("/")
        spec = self.servers[server]
        if spec.tools is not None and wanted not in (ALL, *spec.tools):
            return f"`mcp.{server}.tools` does not list '{wanted}'"
        if server not in self.definitions:
            return (_placeholder(reference, spec),)
        offered = self.offered(server)
        chosen = {name: one for name, one in offered.items() if wanted in (ALL, one.name)}
        if not chosen and wanted != ALL:
            there = ", ".join(one.name for one in offered.values()) or "none"
            return f"the server '{server}' has no tool '{wanted}'; it has: {there}"
        return tuple(tool_of(name, one, spec, _closed(name)) for name, one in chosen.items())


def tool_of(name: str, definition: Definition, spec: McpSpec, function: Callable[..., Any]) -> Tool:
    """Return a tool of a server of the squad that is called by `function`."""
    made = server_tool(name, definition, function, spec.timeout or TIMEOUT_S, is_believed=spec.trust_annotations)
    made = replace(made, untrusted=spec.untrusted)
    return replace(made, risk="read_only", idempotent=True) if definition.name in spec.read_only else made


def _placeholder(reference: str, spec: McpSpec) -> Tool:
    server = reference.partition("/")[0]
    description = f"Of the MCP server '{server}', which says more when a run starts it."
    return tool_of(
        reference, Definition("", description, {"type": "object", "properties": {}}), spec, _closed(reference)
    )


def _closed(name: str) -> Any:
    async def closed(**_: Any) -> NoReturn:
        raise ToolFault(name, "its MCP server is started by a run, and this is none")

    return closed


def references(servers: Sequence[str]) -> list[str]:
    """Return what `mcp: [git]` of an agent means in terms of tools: all of these servers."""
    return [f"{name}/{ALL}" for name in servers]
