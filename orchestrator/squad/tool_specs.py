"""The section `tools:` as it is written: one entry a tool, of exactly one kind, and what holds for it.

A kind of tool joins here by a field of its own, in `KINDS`, and in `readers` of `orchestrator/squad/declared_tools.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.squad.shared_spec import NonEmpty
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
    """What one argument of a tool may be."""

    noun: ClassVar[str] = "an argument"
    meant: ClassVar[str] = "type"
    type: Literal["string", "integer", "number", "boolean", "list"] = Field(
        default="string", description="What values it takes; a list holds texts"
    )
    description: str = Field(default="", description="What it is for")
    default: Any = Field(default=None, description="What holds where a call does not give it")
    required: bool = Field(default=True, description="Whether a call must give it, where it has no default")
    enum: list[Any] | None = Field(default=None, min_length=1, description="The values that are allowed")
    pattern: NonEmpty | None = Field(default=None, description="What the whole text must match")
    minimum: float | None = Field(default=None, description="Of a number")
    maximum: float | None = Field(default=None, description="Of a number")
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=10_000, description="Characters of a text")
    allow_dash: bool = Field(default=False, description="Whether it may begin with -, as options of commands do")


class ToolEntry(StrictModel):
    """A tool that this file declares."""

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
        default=None, description="A function of a file beside this one: mytools.py:convert"
    )
    command: list[NonEmpty] | None = Field(
        default=None, min_length=1, description="A program and its arguments; {name} is an argument of the call"
    )
    programs: list[NonEmpty] | None = Field(
        default=None, min_length=1, description="Programs of which the model itself writes the arguments"
    )
    http: NonEmpty | None = Field(
        default=None, description="An address with a fixed host; {name} is an argument of the call"
    )
    web: list[NonEmpty] | None = Field(
        default=None, min_length=1, description="Hosts whose pages may be read; * for any public one"
    )
    openapi: NonEmpty | None = Field(
        default=None, description="An OpenAPI document beside this file: each operation is a tool"
    )
    include: list[NonEmpty] | None = Field(default=None, min_length=1, description="The operations that are tools")
    base_url: NonEmpty | None = Field(default=None, description="Instead of the document's server")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] | None = Field(
        default=None, description="Of the request; default: GET, with a body POST"
    )
    headers: dict[str, str] = Field(default_factory=dict, description="${NAME} is a variable of the environment")
    query: dict[str, str] = Field(default_factory=dict, description="More of the query; as headers")
    body: Any = Field(default=None, description="What is sent as JSON")
    allow_private: bool = Field(default=False, description="Whether this machine and private networks may be asked")
    args: dict[str, ArgSpec] = Field(default_factory=dict, description="The arguments of a call, by name")
    env: list[NonEmpty] = Field(
        default_factory=list, description="Variables that the command gets besides PATH, HOME, LANG and TERM"
    )
    cwd: NonEmpty | None = Field(default=None, description="Its folder, below that of this file")
    max_output: Annotated[int, Field(ge=100, le=1 << 30)] | None = Field(
        default=None, description="Bytes that it may write before it is stopped"
    )
    description: NonEmpty | None = Field(default=None, description="What the model reads; default: the docstring")
    approval: Literal["never", "ask"] | None = Field(default=None, description="ask: a person allows each call")
    risk: Literal["read_only", "writes", "risky"] | None = Field(
        default=None, description="What a call may do; risky: it reaches beyond the run"
    )
    timeout: PositiveDuration | None = Field(default=None, description="Of one call")
    max_chars: Annotated[int, Field(ge=100, le=10_000_000)] | None = Field(
        default=None, description="Characters of a result that the model reads"
    )
    idempotent: bool | None = Field(default=None, description="Whether calling it twice does no harm")
    untrusted: bool | None = Field(default=None, description="Whether others wrote what it returns")

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
