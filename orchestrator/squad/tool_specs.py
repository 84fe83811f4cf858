"""The section `tools:` as it is written: one entry a tool, of exactly one kind, and what holds for it.

A kind of tool joins here by a field of its own, in `KINDS`, and in `readers` of `orchestrator/squad/declared_tools.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from orchestrator.squad.shared_spec import NonEmpty, kind_of_text_or_mapping
from providers.documents.fields import PositiveDuration
from providers.documents.models import StrictModel

KINDS: Mapping[str, frozenset[str]] = {
    "python": frozenset(),
    "command": frozenset({"args", "env", "cwd", "max_output"}),
    "programs": frozenset({"env", "cwd", "max_output"}),
    "http": frozenset({"args", "method", "headers", "query", "body", "allow_private", "max_output"}),
    "web": frozenset(),
    "openapi": frozenset({"include", "base_url", "headers", "allow_private", "max_output"}),
}
"""The fields of which an entry has exactly one, each with those that stand beside it alone."""


SWITCHED_OFF: Mapping[str, str] = {
    "http_get": "name the hosts: tools: {http_get: {web: [docs.python.org]}}",
    "run_command": "name the programs: tools: {run_command: {programs: [git]}}",
}
"""Tools that people expect to be built in, and how each is declared: what it may reach is for the squad to say."""


class ArgSpec(StrictModel):
    """What one argument of a tool's call may be. A call that does not fit is not made, and the model is told so."""

    noun: ClassVar[str] = "an argument"
    meant: ClassVar[str] = "type"
    type: Literal["string", "integer", "number", "boolean", "list"] = Field(
        default="string", description="What values it takes; a list holds texts.", examples=["integer"]
    )
    description: str = Field(default="", description="What it is for, as the model reads it.", examples=["A path"])
    default: Any = Field(
        default=None,
        description="Its value where a call does not give it. Default: a call must give it.",
        examples=[10],
    )
    required: bool = Field(
        default=True,
        description="Whether a call must give it, where it has no default. Without it, what contains it is left out.",
        examples=[False],
    )
    enum: list[Any] | None = Field(
        default=None, min_length=1, description="The values that are allowed.", examples=[["EUR", "USD"]]
    )
    pattern: NonEmpty | None = Field(
        default=None, description="A regular expression that the whole text must match.", examples=["[\\w./-]+"]
    )
    minimum: float | None = Field(default=None, description="The least number that is allowed.", examples=[1])
    maximum: float | None = Field(default=None, description="The largest number that is allowed.", examples=[50])
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Characters that a text may have.", examples=[200]
    )
    allow_dash: bool = Field(
        default=False,
        description="Whether it may begin with `-`, as options of commands do.",
        examples=[True],
    )


class ToolUse(StrictModel):
    """A tool of an agent with more than its name, or another agent as a tool."""

    noun: ClassVar[str] = "a tool"
    name: NonEmpty | None = Field(
        default=None,
        description="The tool; beside `agent`, what the model calls it by. Default: the agent's id.",
        examples=["edit_file"],
    )
    agent: NonEmpty | None = Field(
        default=None,
        description="Or an agent of the squad, which does pieces of work for this one.",
        examples=["legal"],
    )
    description: NonEmpty | None = Field(
        default=None,
        description="What the agent is for, as the model reads it. Default: its role.",
        examples=["Answers questions of law."],
    )
    approval: Literal["never", "ask"] | None = Field(
        default=None,
        description="Whether a person is asked for each call. Default: what `approvals` or the tool says.",
        examples=["ask"],
    )


ToolRef = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[ToolUse, Tag("mapping")], Discriminator(kind_of_text_or_mapping)
]


class ToolEntry(StrictModel):
    """A tool that this file declares. It has exactly one of `python`, `command`, `programs`, `http`, `web` and
    `openapi`."""

    noun: ClassVar[str] = "a tool"
    meant: ClassVar[str] = "python"
    other_names: ClassVar[Mapping[str, str]] = {
        "function": "python",
        "file": "python",
        "module": "python",
        "url": "http",
        "endpoint": "http",
        "params": "query",
        "json": "body",
        "data": "body",
        "verb": "method",
        "hosts": "web",
        "cmd": "command",
        "shell": "command",
        "run": "command",
        "argv": "command",
        "arguments": "args",
        "parameters": "args",
        "inputs": "args",
        "timeout_s": "timeout",
        "environment": "env",
        "working_dir": "cwd",
    }
    examples: ClassVar[Mapping[str, str]] = {
        "python": '"mytools.py:convert"',
        "command": '[git, log, "{path}"]',
        "http": "https://api.example.com/rates/{base}",
        "args": "{path: {type: string}}",
    }
    python: NonEmpty | None = Field(
        default=None,
        description="A function of a Python file, beside this one or below, as `FILE:FUNCTION`. Its type hints and "
        "its docstring are what the model reads.",
        examples=["mytools.py:convert"],
    )
    command: list[NonEmpty] | None = Field(
        default=None,
        min_length=1,
        description="A program and its arguments; `{name}` is an argument of the call. No shell reads it.",
        examples=[["git", "log", "--oneline", "{path}"]],
    )
    programs: list[NonEmpty] | None = Field(
        default=None,
        min_length=1,
        description="Programs whose arguments the model writes itself. A shell cannot be one of them.",
        examples=[["git", "make"]],
    )
    http: NonEmpty | None = Field(
        default=None,
        description="An address with a fixed host; `{name}` is an argument of the call.",
        examples=["https://api.example.com/rates/{base}"],
    )
    web: list[NonEmpty] | None = Field(
        default=None,
        min_length=1,
        description="Hosts whose pages may be read; `*` is any public host.",
        examples=[["docs.python.org", "*.wikipedia.org"]],
    )
    openapi: NonEmpty | None = Field(
        default=None,
        description="An OpenAPI document (3.0 or 3.1), beside this file or below. Each of its operations is a tool.",
        examples=["petstore.yaml"],
    )
    include: list[NonEmpty] | None = Field(
        default=None,
        min_length=1,
        description="The operations that are tools. A document with more than 20 needs it. Default: all.",
        examples=[["getPet", "addPet"]],
    )
    base_url: NonEmpty | None = Field(
        default=None,
        description="The address of the server. Default: the document's first one.",
        examples=["https://pets.example.com/v1"],
    )
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] | None = Field(
        default=None, description="The method of the request. Default: `GET`, with a `body` `POST`.", examples=["PUT"]
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Headers of each request. `${NAME}` is a variable of the environment or of the `.env`, `{name}` "
        "an argument of the call.",
        examples=[{"Authorization": "Bearer ${RATES_TOKEN}"}],
    )
    query: dict[str, str] = Field(
        default_factory=dict,
        description="Parts of the query, with variables and arguments as in `headers`.",
        examples=[{"symbols": "{symbols}"}],
    )
    body: Any = Field(
        default=None,
        description="What is sent as JSON; `{name}` alone becomes the argument's own value. Default: nothing.",
        examples=[{"text": "{text}"}],
    )
    allow_private: bool = Field(
        default=False, description="Whether this machine and private networks may be asked.", examples=[True]
    )
    args: dict[str, ArgSpec] = Field(
        default_factory=dict,
        description="What each argument of a call may be, by name. One that is not described is a text.",
        examples=[{"path": {"pattern": "[a-z/]+"}}],
    )
    env: list[NonEmpty] = Field(
        default_factory=list,
        description="Variables that the program gets, beside PATH, HOME, LANG, LC_ALL, TERM and TMPDIR.",
        examples=[["GH_TOKEN"]],
    )
    cwd: NonEmpty | None = Field(
        default=None, description="The folder that it runs in. Default: that of this file.", examples=["scripts"]
    )
    max_output: Annotated[int, Field(ge=100, le=1 << 30)] | None = Field(
        default=None,
        description="Bytes that a program may write before it is stopped, or that are read of a reply. Default: "
        "`1048576`.",
        examples=[100000],
    )
    description: NonEmpty | None = Field(
        default=None,
        description="What it does, as the model reads it. Default: of a function its docstring.",
        examples=["Convert euros to another currency."],
    )
    approval: Literal["never", "ask"] | None = Field(
        default=None,
        description="Whether a person is asked for each call. Default: `ask` for commands and for requests that send "
        "something, else `never`.",
        examples=["ask"],
    )
    risk: Literal["read_only", "writes", "risky"] | None = Field(
        default=None,
        description="What a call may do: only read, change what belongs to the run, or reach beyond it. Default: "
        "commands and requests that send something are `risky`, other requests `read_only`, functions `writes`.",
        examples=["read_only"],
    )
    timeout: PositiveDuration | None = Field(
        default=None, description="Time of one call. Default: `60s`, of requests `30s`.", examples=["20s"]
    )
    max_chars: Annotated[int, Field(ge=100, le=10_000_000)] | None = Field(
        default=None,
        description="Characters of a result that the model reads; the rest is cut off, and the model is told. Default: "
        "`40000`.",
        examples=[5000],
    )
    idempotent: bool | None = Field(
        default=None,
        description="Whether calling it twice does no harm: a call that a crash cut short is then made again. "
        "Default: `false`, of `GET` and `HEAD` `true`.",
        examples=[True],
    )
    untrusted: bool | None = Field(
        default=None,
        description="Whether others wrote what it returns. Default: `true` for commands and requests, `false` for "
        "functions.",
        examples=[True],
    )

    @property
    def kinds(self) -> list[str]:
        """The kinds that are written; one, in an entry that is sound."""
        return [kind for kind in KINDS if getattr(self, kind) is not None]

    def misplaced(self, kind: str) -> list[str]:
        """Return the fields that are written and belong to other kinds."""
        others = {field for fields in KINDS.values() for field in fields} - KINDS[kind]
        return [field for field in type(self).model_fields if field in others & self.model_fields_set]

    def settings(self) -> dict[str, Any]:
        """Return what the entry says of how its tool is called, by the names that `Tool` has."""
        said = {
            "timeout_s": self.timeout,
            **{name: getattr(self, name) for name in ("approval", "risk", "max_chars", "idempotent", "untrusted")},
        }
        found = {name: value for name, value in said.items() if value is not None}
        return {**found, "is_approval_said": True} if "approval" in found else found
