"""Tools: a function with a name, a description and a schema, called on a model's word and never trusting it."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MethodType
from typing import Any, Literal, overload

from agents.errors import ToolFault
from agents.functions import NO_NAMES, docs_of, local_names, name_of, plain, takes_object
from agents.results import failed
from agents.tool_context import ToolContext
from agents.untrusted import Untrusted
from providers.documents.likeness import closest
from providers.documents.unicode import clean_json_text
from providers.messages import ToolCall, ToolResult, ToolSpec

ApprovalMode = Literal["never", "ask", "deny"]
Risk = Literal["read_only", "writes", "risky"]
_APPROVALS: tuple[ApprovalMode, ...] = ("never", "ask", "deny")
_RISKS: tuple[Risk, ...] = ("read_only", "writes", "risky")
"""What a call may do. read_only: it changes nothing. writes: it changes what belongs to the run or the squad (files,
memory). risky: it reaches beyond that, and may not be taken back: sends, spends, deletes, runs a command."""
ALONE: ToolContext[Any] = ToolContext()


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """What a model may call. Equal only to itself.

    Arguments are validated, by the signature's types or by `parameters` (a JSON Schema) where given, before `function`
    gets them as keywords. A function that isn't async runs in a thread unless `blocking` is False. After `timeout_s`
    the model is told so; a thread cannot be stopped and may still finish, but keeps no process alive. Results are cut
    at `max_chars`. A parameter that is annotated `ToolContext` is filled in, and no model sees it.
    `idempotent`: calling it twice does no harm; a call of another one that a crash cut short is made again only with a
    person's approval. `approval` "ask": a person is asked before each call; "deny": none is made. `untrusted`: what it
    returns was written by others (a web page, a mail, a server's answer), and may hold instructions that are not the
    user's: models read it inside a fence. One that returns such texts now and then returns each as `Untrusted(text)`.
    `repeatable`: the same call may be made any number of times though its result stays the same, as of one that waits
    for something.
    """

    name: str
    """What a model calls it."""
    description: str
    """What a model is told of it."""
    function: Callable[..., Any] = field(repr=False)
    """What is called, with the arguments as keywords; plain or async."""
    parameters: Mapping[str, Any] | None = field(default=None, repr=False)
    """A JSON Schema of the arguments; None: it is made of the signature's types."""
    blocking: bool = True
    """A function that is not async runs in a thread; False: on the event loop."""
    timeout_s: float | None = 60.0
    """Seconds, after which the model is told so; None: no limit."""
    max_chars: int = 40_000
    """Characters of a result; the rest is cut off."""
    idempotent: bool = False
    """Calling it twice does no harm, so a call that a crash cut short is made again unasked."""
    approval: ApprovalMode = "never"
    """`ask`: a person is asked before each call; `deny`: none is made."""
    risk: Risk = "writes"
    """`read_only` changes nothing; `writes` changes files or memory of the run; `risky` reaches beyond."""
    untrusted: bool = False
    """Others wrote what it returns: models read it inside a fence."""
    repeatable: bool = False
    """The same call may be made any number of times though its result stays the same."""
    agent: str | None = None
    """The agent that does the work, where one does: what ends its work ends the caller's, but for its own failures."""
    is_approval_said: bool = False
    """Its `approval` is what the squad says of this very tool, and not what it says itself."""
    _memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for what, given, known in (("risk", self.risk, _RISKS), ("approval", self.approval, _APPROVALS)):
            if given not in known:  # it would count as none of them, so that nobody is asked
                raise ToolFault(self.name, f"its {what} is one of {', '.join(known)}; not {given!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it were no tool: nothing is validated, no thread started."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Tool:
        """Return the tool of an object, where the function is a method of its class."""
        target = owner if isinstance(self._memo.get("raw"), classmethod) else instance
        if target is None or not takes_object(self.function):
            return self
        bound = replace(self, function=MethodType(self.function, target))
        bound._memo.update(names=self._memo.get("names", NO_NAMES), unbound=self)
        return bound

    def but(self, **changes: Any) -> Tool:
        """Return the same tool with another `approval`, or `agent`; what is known of its function goes along."""
        made = replace(self, **changes)
        made._memo.update({key: known for key, known in self._memo.items() if key != "left"})
        return made

    def doing(self, function: Callable[..., Any]) -> Tool:
        """Return the same tool, as a model sees it, with another function behind it."""
        made = replace(self, function=function)
        made._memo.update({key: self._memo[key] for key in ("spec", "spec of 2") if key in self._memo})
        return made

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it. Raise `ToolFault` where its signature cannot be described."""
        found: ToolSpec | None = self._memo.get("spec")
        if found is None:
            taken = self._arguments()
            description = self.description if taken.description is None else self._docs(taken.description)
            found = self._memo["spec"] = ToolSpec(self.name, description, taken.schema)
        return found

    def spec_in(self, edition: int) -> ToolSpec:
        """Return the tool as a model sees it in a run of this edition: before 3 the docstring was told as a whole."""
        if edition > 2:
            return self.spec
        found: ToolSpec | None = self._memo.get("spec of 2")
        if found is None:
            found = self._memo["spec of 2"] = ToolSpec(self.name, self.description, self._arguments().bare)
        return found

    def told_as(self, description: str | None = None, parameters: Mapping[str, Any] | None = None) -> Tool:
        """Return this tool, told to models in these words and with this schema, where they are given."""
        if description is not None and parameters is not None:
            self._memo["spec"] = ToolSpec(self.name, description, parameters)
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of what the model sees."""
        return self.digest_in(3)

    def digest_in(self, edition: int) -> bytes:
        """Return SHA-256 of what the model sees in a run of this edition."""
        key = "digest" if edition > 2 else "digest of 2"
        found: bytes | None = self._memo.get(key)
        if found is None:
            spec = self.spec_in(edition)
            seen = json.dumps([spec.name, spec.description, spec.parameters], sort_keys=True)
            found = self._memo[key] = hashlib.sha256(seen.encode()).digest()
        return found

    @property
    def wants(self) -> Iterable[Any]:
        """The types of the dependencies that it needs; `Any`: of some that it does not name."""
        return self._arguments().injected.values()  # type: ignore[no-any-return]  # see `Signature`

    def refused(self, call: ToolCall) -> ToolResult | None:
        """Return what the model is told of arguments that the tool does not take, None where it takes them."""
        try:
            taken = self._arguments()
            taken.placed(taken.read(clean_json_text(call.arguments)))
        except ValueError as error:
            return failed(call, f"wrong arguments: {error}")
        return None

    async def call(self, call: ToolCall, context: ToolContext[Any] = ALONE) -> ToolResult:
        """Return the tool's answer. What goes wrong is told to the model, except a `ToolFault`, which is raised."""
        try:
            taken = self._arguments()
            args, kwargs = taken.placed(taken.read(clean_json_text(call.arguments)), context)
        except ValueError as error:
            return failed(call, f"wrong arguments: {error}")
        from agents.calling import result_of  # loads threads and the library of the event loop

        result = await result_of(self, call, args, kwargs, self._memo.setdefault("left", []))
        if self.untrusted or isinstance(result.content, Untrusted):
            return replace(result, content=str(result.content), fence=os.urandom(8).hex())
        return result

    def _docs(self, described: str) -> str:
        """Return the description: that of the docstring, unless the tool was given another."""
        return described if self.description == docs_of(self.function) else self.description

    def _arguments(self) -> Any:
        found = self._memo.get("arguments")
        if found is None:
            unbound: Tool | None = self._memo.get("unbound")
            found = None if unbound is None else unbound._memo.get("arguments of its objects")
        if found is None:
            from agents.signature import Declared, Signature  # these load pydantic or jsonschema

            if self.parameters is not None:
                found = Declared(self.parameters, self.function)
            else:
                found = Signature(self.name, self.function, self._memo.get("names", NO_NAMES))
            if unbound is not None:  # the objects of one class take the same
                unbound._memo["arguments of its objects"] = found
        self._memo["arguments"] = found
        return found


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    blocking: bool = True,
    timeout_s: float | None = 60.0,
    max_chars: int = 40_000,
    idempotent: bool = False,
    approval: ApprovalMode = "never",
    risk: Risk = "writes",
    untrusted: bool = False,
    repeatable: bool = False,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    **more: Any,
) -> Any:
    """Return the function as a `Tool`: its name, its docstring, and a schema from its type hints, made when needed.

    What the docstring says of each parameter (Google, NumPy or Sphinx) is in the schema. A method becomes the tool of
    each object of its class.

    - `function`: what the tool calls; left out where `tool` is given options: `@tool(risk="read_only")`.
    - `name`: what a model calls it; None: the function's name.
    - `description`: what a model is told of it; None: the function's docstring.
    - `more`: other fields of `Tool`, as `timeout_s=5`, `risk="read_only"` or `approval="ask"`.
    """

    def make(raw: Callable[..., Any]) -> Tool:
        function = plain(raw)
        if not callable(function):
            raise TypeError(f"@tool makes a tool of a function, not of {raw!r}; a name is given by @tool(name=...)")
        if isinstance(inspect.unwrap(function), Tool):
            raise TypeError(f"another decorator stands around @tool, at {function!r}: put @tool above all others")
        docs = docs_of(function) if description is None else description
        made = Tool(name or name_of(function), docs, function, **more)
        made._memo.update(names=local_names(function), raw=raw)  # the names can be seen only now
        return made

    return make if function is None else make(function)


def as_tools(given: Iterable[Tool | Callable[..., Any]]) -> tuple[Tool, ...]:
    """Return tools, and plain functions as the tools that they make.

    Raise `ToolFault` for what is neither, for two of one name, and for a function that cannot be described to a model.
    """
    made: dict[str, Tool] = {}
    for one in given:
        if not isinstance(one, Tool) and not callable(plain(one)):
            raise ToolFault(repr(one), "it is neither a tool nor a function")
        try:
            made_of_it = one if isinstance(one, Tool) else _tool_of(one)
        except TypeError as error:
            raise ToolFault(repr(one), str(error)) from error
        other = made.get(made_of_it.name, made_of_it)
        if other is not made_of_it and other.function != made_of_it.function:
            raise ToolFault(made_of_it.name, "two tools have this name")
        made[made_of_it.name] = made_of_it
    for one in made.values():
        _ = one.spec
    return tuple(made.values())


def _tool_of(one: Callable[..., Any]) -> Tool:
    inner = getattr(one, "__func__", None)
    if isinstance(one, MethodType) and isinstance(inner, Tool):  # a tool in a `classmethod`
        return inner.__get__(one.__self__)
    return tool(one)


def check_deps(tools: Iterable[Tool], deps: Any) -> None:
    """Raise `ToolFault` where a tool needs dependencies that are not there, or are of another type."""
    for one in tools:
        for kind in one.wants:
            if not _is_of(deps, kind):
                given = "there are none" if deps is None else f"it was given {type(deps).__name__}"
                raise ToolFault(one.name, f"its ToolContext needs deps of {kind.__name__}, and {given}: give deps=...")


def _is_of(value: Any, kind: Any) -> bool:
    """Return whether a value is of a type; of one that no value can be asked for, any is."""
    try:
        return kind is Any or not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:  # a protocol that is not for run time
        return value is not None


@dataclass(frozen=True, slots=True)
class Registry(Mapping[str, Tool]):
    """Tools by name. Read-only."""

    tools: tuple[Tool, ...] = ()
    """All of them; no two have one name."""
    _named: dict[str, Tool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for one in self.tools:
            if one.name in self._named:
                raise ValueError(f"two tools are named {one.name!r}")
            self._named[one.name] = one

    def __getitem__(self, name: str) -> Tool:
        return self._named[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def nearest(self, name: str) -> str | None:
        """Return the name most like `name`, None where none is alike."""
        return closest(name, self._named)

    def plus(self, *tools: Tool) -> Registry:
        """Return a registry with these tools too; they replace those of the same name."""
        return Registry(tuple({**self._named, **{one.name: one for one in tools}}.values()))

    def without(self, *names: str) -> Registry:
        """Return a registry without the tools of these names."""
        return Registry(tuple(one for name, one in self._named.items() if name not in names))
