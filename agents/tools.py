"""Tools: a function with a name, a description and a schema, called on a model's word and never trusting it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal, overload

import anyio

from agents.errors import AgentError, ToolFault
from agents.events import ToolEnded, ToolStarted
from agents.functions import NO_NAMES, docs_of, local_names, name_of, plain
from agents.threads import in_thread
from agents.tool_names import meant
from agents.turn import CallToApprove, RunContext, StepKey, Suspended, all_of
from providers.documents.problems import closest
from providers.documents.unicode import clean, clean_json_text, cut
from providers.messages import ToolCall, ToolResult, ToolSpec

MOST_TOLD = 300
"""Characters (graphemes) of a call's arguments, and of its result, in the events of a tool."""
ApprovalMode = Literal["never", "ask"]
Risk = Literal["read_only", "writes", "risky"]
"""What a call may do. read_only: it changes nothing. writes: it changes what belongs to the run or the squad (files,
memory). risky: it reaches beyond that, and may not be taken back: sends, spends, deletes, runs a command."""


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """What a model may call. Equal only to itself.

    Arguments are validated, by the signature's types or by `parameters` (a JSON Schema) where given, before `function`
    gets them as keywords. A function that isn't async runs in a thread unless `blocking` is False. After `timeout_s`
    the model is told so; a thread cannot be stopped and may still finish, but keeps no process alive. Results are cut
    at `max_chars`.
    `idempotent`: calling it twice does no harm; a call of another one that a crash cut short is made again only with a
    person's leave. `approval` "ask": a person is asked before each call. `untrusted`: what it returns was written by
    others (a web page, a mail, a server's answer), and may hold instructions that are not the user's.
    """

    name: str
    description: str
    function: Callable[..., Any] = field(repr=False)
    parameters: Mapping[str, Any] | None = field(default=None, repr=False)
    blocking: bool = True
    timeout_s: float | None = 60.0
    max_chars: int = 40_000
    idempotent: bool = False
    approval: ApprovalMode = "never"
    risk: Risk = "writes"
    untrusted: bool = False
    _memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it. Raise `ToolFault` where its signature cannot be described."""
        found: ToolSpec | None = self._memo.get("spec")
        if found is None:
            found = self._memo["spec"] = ToolSpec(self.name, self.description, self._arguments().schema)
        return found

    @property
    def digest(self) -> bytes:
        """SHA-256 of what the model sees."""
        found: bytes | None = self._memo.get("digest")
        if found is None:
            seen = json.dumps([self.name, self.description, self.spec.parameters], sort_keys=True)
            found = self._memo["digest"] = hashlib.sha256(seen.encode()).digest()
        return found

    async def call(self, call: ToolCall) -> ToolResult:
        """Return the tool's answer. What goes wrong is told to the model, except a `ToolFault`, which is raised."""
        try:
            taken = self._arguments()
            args, kwargs = taken.placed(taken.read(clean_json_text(call.arguments)))
        except ValueError as error:
            return _failed(call, f"wrong arguments: {error}")
        try:
            with anyio.move_on_after(self.timeout_s):
                return _answered(call, await self._run(args, kwargs), self.max_chars)
        except ToolFault:
            raise
        except AgentError as error:
            return _failed(call, str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the tool boundary: whatever a tool raises, the model may fix
            return _failed(call, _in_words(error))
        return _failed(call, f"no answer within {self.timeout_s:g} s")

    async def _run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        call = partial(plain(self.function), *args, **kwargs)
        is_async = inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(self.function)
        made = await in_thread(lambda: _gone_through(call())) if self.blocking and not is_async else call()
        if inspect.isasyncgen(made):
            return await _gone_through_async(made)
        return _gone_through(await made if inspect.isawaitable(made) else made)

    def _arguments(self) -> Any:
        found = self._memo.get("arguments")
        if found is None:
            from agents.signature import Declared, Signature  # these load pydantic or jsonschema

            if self.parameters is not None:
                found = Declared(self.parameters)
            else:
                found = Signature(self.name, plain(self.function), self._memo.get("names", NO_NAMES))
            self._memo["arguments"] = found
        return found


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    blocking: bool = True,
    timeout_s: float | None = 60.0,
    max_chars: int = 40_000,
    idempotent: bool = False,
    approval: ApprovalMode = "never",
    risk: Risk = "writes",
    untrusted: bool = False,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(function: Callable[..., Any] | None = None, /, *, name: str | None = None, **more: Any) -> Any:
    """Return the function as a `Tool`: its name, its docstring, and a schema from its type hints, made when needed."""

    def make(function: Callable[..., Any]) -> Tool:
        function = plain(function)
        made = Tool(name or name_of(function), docs_of(function), function, **more)
        made._memo["names"] = local_names(function)  # they can be seen only now
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
            made_of_it = one if isinstance(one, Tool) else tool(one)
        except TypeError as error:
            raise ToolFault(repr(one), str(error)) from error
        if made_of_it.name in made and made[made_of_it.name] is not made_of_it:
            raise ToolFault(made_of_it.name, "two tools have this name")
        made[made_of_it.name] = made_of_it
    for one in made.values():
        _ = one.spec
    return tuple(made.values())


async def call_all(
    calls: Sequence[ToolCall], tools: Sequence[Tool], ctx: RunContext, turn: int
) -> tuple[ToolResult, ...]:
    """Return the results of one turn's calls in their order; the calls run at the same time.

    Each is the durable call `tool-I` of the turn. Raises what the first failing step raised, once all have stopped.
    One that is suspended stops no other: they end, and are recorded, before `Suspended` is raised.
    """
    named = {one.name: one for one in tools}
    if len(calls) == 1:
        return (await _step(calls[0], 1, named, ctx, turn),)
    results: list[ToolResult | None] = [None] * len(calls)
    waiting: list[Suspended] = []

    async def put(i: int, call: ToolCall) -> None:
        try:
            results[i] = await _step(call, i + 1, named, ctx, turn)
        except Suspended as error:
            waiting.append(error)

    try:
        async with anyio.create_task_group() as group:
            for i, call in enumerate(calls):
                group.start_soon(put, i, call)
    except BaseExceptionGroup as group:
        failed, cancelled = group.split(Exception)
        if failed is None or cancelled is not None:  # who leaves the run is not told which call failed meanwhile
            raise cancelled or group from None
        raise failed.exceptions[0] from group
    if waiting:
        raise all_of(waiting)
    return tuple(result for result in results if result is not None)


async def _step(call: ToolCall, i: int, tools: Mapping[str, Tool], ctx: RunContext, turn: int) -> ToolResult:
    key = StepKey(ctx.step, turn, f"tool-{i}")
    request_hash = hashlib.sha256(f"{call.name}\0{call.arguments}".encode("utf-8", "surrogatepass")).digest()

    name = meant(call.name, tools)
    told = call.name if name is None else name

    async def work() -> ToolResult:
        asked = cut(call.arguments, MOST_TOLD)
        ctx.emit(ToolStarted(turn, i, told, asked))
        began = anyio.current_time()
        made = await _checked(call, None if name is None else tools[name], key, tools, ctx)
        ms, result = (anyio.current_time() - began) * 1000, cut(made.content, MOST_TOLD)
        ctx.emit(ToolEnded(turn, i, told, not made.is_error, ms, asked, result))
        return made

    result: ToolResult = await ctx.do(key, request_hash, work)
    # A replayed result answers this turn's call, whatever id its own turn had.
    return result if result.call_id == call.id else ToolResult(call.id, call.name, result.content, result.is_error)


async def _checked(
    call: ToolCall, chosen: Tool | None, key: StepKey, tools: Mapping[str, Tool], ctx: RunContext
) -> ToolResult:
    """Return the result of a call that may be made. One that was cut short may have taken effect."""
    if chosen is None:
        return _failed(call, f"there is no tool of this name; there are: {', '.join(tools) or 'none'}")
    unknown = key in ctx.cut_short and not chosen.idempotent
    if unknown or chosen.approval != "never":
        if ctx.approve is None:
            return _failed(call, "it needs a person's approval, and no person can be asked now; go on without it")
        asked = CallToApprove(chosen.name, call.arguments, key, chosen.approval != "never", unknown)
        leave = await ctx.approve(asked)
        if not leave.is_given:
            why = f": {leave.comment}" if leave.comment else ""
            return _failed(call, f"a person refused this call{why}")
    return await chosen.call(call)


def _answered(call: ToolCall, value: Any, max_chars: int) -> ToolResult:
    return ToolResult(call.id, call.name, _shown(_text(value), max_chars))


def _failed(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(call.id, call.name, _shown(f"{call.name} failed: {why}", 4000), is_error=True)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value

    def plain(item: Any) -> Any:
        from pydantic_core import to_jsonable_python

        return to_jsonable_python(item)

    return json.dumps(value, ensure_ascii=False, default=plain)


MAX_ITEMS = 10_000
"""So many of what a generator yields are told."""


def _gone_through(value: Any) -> Any:
    return list(islice(value, MAX_ITEMS)) if inspect.isgenerator(value) else value


async def _gone_through_async(value: AsyncGenerator[Any, Any]) -> list[Any]:
    found: list[Any] = []
    async with aclosing(value):
        async for item in value:
            found.append(item)
            if len(found) == MAX_ITEMS:
                break
    return found


def _in_words(error: BaseException) -> str:
    """Return an error's class and message, whatever its own code makes of being asked."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # the tool boundary, too: the message is the tool's own code
        message = "it has no message that can be read"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _shown(text: str, max_chars: int) -> str:
    """Return `text` clean and at most about `max_chars` code points long; a cut splits no grapheme."""
    if len(text) <= max_chars:
        return clean(text)
    import regex

    # The last cluster of the piece may be cut through, so it goes too.
    kept = "".join(regex.findall(r"\X", text[:max_chars])[:-1])
    return f"{clean(kept)}\n[cut: the first {len(kept)} characters of {len(text)}]"


@dataclass(frozen=True, slots=True)
class Registry(Mapping[str, Tool]):
    """Tools by name. Read-only."""

    tools: tuple[Tool, ...] = ()
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
