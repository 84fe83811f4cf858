"""Our squads and personas as tools of an MCP server, for any client of the protocol.

Each call is a run of its own, recorded where runs are. Nothing here reads the command line or the terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio

from agents.mcp.definitions import MOST_NAME
from orchestrator._version import __version__
from orchestrator.events import Event, TaskEnded, TaskStarted
from orchestrator.options import RunOptions
from orchestrator.run.approvals import questions_of
from orchestrator.run.result import RunResult
from orchestrator.run_opening import new_run_id, open_with
from orchestrator.squad.load import Squad
from orchestrator.squad.spec import InputSpec
from personas import Persona
from providers.catalog.model import Catalog
from providers.client.manager import open_manager
from providers.documents.problems import ProblemsFound
from providers.documents.unicode import clean
from providers.messages import Needs, Request, system, user
from providers.policy.model import Policy

ASK = "ask"
MOST_AT_ONCE = 16
"""Calls at work at once; more wait."""
TYPES = {
    **dict.fromkeys(("string", "file", "image"), "string"),
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "list": "array",
    "object": "object",
}
FILES = {"file": "The text of a file.", "image": "An image, as a data: URL: data:image/png;base64,..."}
"""What a client writes for an input that the command line reads from a file: it names none of ours."""

Tell = Callable[[float, float | None, str], Any]
"""Tells the client how far a call is: done, of how many, in words. It is awaited."""
AnswerWords = Callable[[str, Sequence[tuple[str, Sequence[str]]]], str]
"""Returns the commands that answer a run's questions, which are given with their choices, and go on with the run."""


@dataclass(frozen=True, slots=True)
class CallReply:
    """What a client is told of a call. `structured` is the same for programs."""

    text: str
    structured: Mapping[str, Any] | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What the server offers: squads by the names of their tools, and personas that answer one question.

    `options` are those of every run. `out` is the folder below which each run has its own; None: files are in the
    replies. `answer_words` is what a client is told where a person must answer.
    """

    squads: Mapping[str, Squad]
    personas: Mapping[str, Persona]
    policy: Policy
    catalog: Catalog
    options: RunOptions
    answer_words: AnswerWords
    out: Path | None = None
    mask: Callable[[str], str] = field(default=lambda text: text, repr=False)
    _room: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MOST_AT_ONCE), repr=False)

    def tools(self) -> list[dict[str, Any]]:
        """Return the definitions of the tools: name, description, schema of the arguments."""
        found = [_squad_tool(name, squad) for name, squad in self.squads.items()]
        return [*found, *([_ask_tool(self.personas)] if self.personas else [])]

    async def call(self, name: str, arguments: Mapping[str, Any], tell: Tell) -> CallReply:
        """Do the work of a tool. What goes wrong is a reply; a call that is cancelled cancels its run."""
        async with self._room:
            try:
                if name in self.squads:
                    return await self._run(self.squads[name], arguments, tell)
                if name == ASK and self.personas:
                    return await self._ask(arguments)
            except Exception as error:  # noqa: BLE001  # the boundary: a client is told what went wrong, whatever it was
                words = str(error) if isinstance(error, ProblemsFound) else f"{type(error).__name__}: {error}"
                return CallReply(self.mask(clean(words)), is_error=True)
        known = ", ".join([*self.squads, *([ASK] if self.personas else [])])
        return CallReply(f"there is no tool '{clean(name)[:80]}'; there are: {known}", is_error=True)

    async def _run(self, squad: Squad, arguments: Mapping[str, Any], tell: Tell) -> CallReply:
        clock = self.options.clock
        assert clock is not None, "who offers squads gives the clock of their runs"
        run = new_run_id(squad.name, clock())
        out = None if self.out is None else self.out / run
        options = replace(self.options, inputs=dict(arguments), run_id=run, out=out)
        heard = RunProgress()
        async with open_with(squad, options) as opened:
            async for event in opened:
                if words := heard.words(event):
                    await tell(float(heard.ended), float(heard.tasks) or None, words)
        return await self._reply(squad, opened.result, heard)

    async def _reply(self, squad: Squad, result: RunResult, heard: RunProgress) -> CallReply:
        outputs = dict(result.outputs) if squad.spec.outputs else {"output": heard.last}
        made = {
            "run_id": result.run_id,
            "status": result.status,
            "outputs": outputs,
            "cost_usd": None if result.cost is None else result.cost / 1e6,
            "files": dict(result.texts) if result.out is None else sorted(result.artifacts),
            "offline": result.stub,
        }
        if result.status == "done":
            return CallReply(self.mask(text_of(outputs)), self._masked(made))
        lines = [f"The run {result.run_id} is not done: {result.status}."]
        lines += [f"{task}: {error}" for task, error in result.errors.items()]
        if result.status == "waiting":
            lines.append(await self._waiting(result))
        return CallReply(self.mask(clean("\n".join(lines))), self._masked(made), is_error=True)

    async def _waiting(self, result: RunResult) -> str:
        if self.options.journal is None:
            return "A person must answer, and the run is not recorded: begin it by `orchestrator run` at a terminal."
        open_now = (await questions_of(self.options.journal, result.run_id)).open
        words = self.answer_words(result.run_id, [(gate.name, gate.choices) for gate in open_now])
        return f"A person must answer, and none can be asked here. In a terminal: {words}"

    async def _ask(self, arguments: Mapping[str, Any]) -> CallReply:
        question, name = arguments.get("question"), arguments.get("agent")
        if not isinstance(question, str) or not question.strip():
            return CallReply("`question` is a text that says something", is_error=True)
        persona = None if name is None else self.personas.get(str(name))
        if name is not None and persona is None:
            return CallReply(f"there is no agent of this name; there are: {', '.join(self.personas)}", is_error=True)
        opening = () if persona is None else (system(persona.instructions()),)
        needs = Needs() if persona is None else Needs(persona=persona.name, tier=persona.tier)
        options = self.options
        async with open_manager(
            self.policy,
            self.catalog,
            options.environ or {},
            offline=bool(options.offline),
            state=options.state,
            notify=options.notify,
            trust=options.trust,
        ) as manager:
            answer = await manager.complete(Request((*opening, user(clean(question))), needs=needs))
        cost = None if answer.cost is None else answer.cost / 1e6
        made = {"text": answer.text, "provider": answer.provider, "model": answer.model, "cost_usd": cost}
        return CallReply(self.mask(answer.text), self._masked(made))

    def _masked(self, made: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is answered as values, with no key in any text of it; what it is called by stays."""
        as_said = ("run_id", "status", "provider", "model")
        return {name: value if name in as_said else _each_text(value, self.mask) for name, value in made.items()}


@dataclass(slots=True)
class RunProgress:
    """How far a run is, by its events. `last` is what the last task that ended gave."""

    tasks: int = 0
    ended: int = 0
    last: Any = None

    def words(self, event: Event) -> str:
        """Take the next event; return what it says of the progress, if anything."""
        match event.data:
            case TaskStarted(task):
                return f"{task} has begun"
            case TaskEnded(task) as ended:
                self.ended += 1
                self.last = ended.output if ended.output is not None else self.last
                return f"{task} is {ended.status}"
        if event.type == "run.started":
            self.tasks = len(event.data.tasks)
        return ""


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    match value:
        case str():
            return change(value)
        case list() | tuple():
            return [_each_text(one, change) for one in value]
        case dict():
            return {change(str(key)): _each_text(one, change) for key, one in value.items()}
    return value


def tool_names(squads: Sequence[Squad]) -> dict[str, Squad]:
    """Return the squads by the names of their tools. Raise `ValueError` where two have one name."""
    found: dict[str, Squad] = {}
    for squad in squads:
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", squad.name).strip("_")[:MOST_NAME] or "squad"
        if name in found or name == ASK:
            raise ValueError(f"two tools would be called '{name}': give the squad in {squad.file} another `name`")
        found[name] = squad
    return found


def _squad_tool(name: str, squad: Squad) -> dict[str, Any]:
    inputs = squad.spec.inputs
    required = [key for key, declared in inputs.items() if declared.default is None]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: input_schema(declared) for key, declared in inputs.items()},
        "additionalProperties": False,
    }
    described = squad.spec.description or f"Runs the squad '{squad.name}'."
    gives = f" It gives: {', '.join(squad.spec.outputs)}." if squad.spec.outputs else ""
    if required:
        schema["required"] = required
    return {"name": name, "description": f"{described}{gives}", "schema": schema}


def input_schema(declared: InputSpec) -> dict[str, Any]:
    """Return the JSON Schema of what a client gives for an input."""
    made: dict[str, Any] = {**(declared.schema_ or {}), "type": TYPES[declared.type]}
    if described := " ".join(filter(None, (declared.description, FILES.get(declared.type)))):
        made["description"] = described
    if declared.enum is not None:
        made["enum"] = declared.enum
    if declared.default is not None and declared.type not in FILES:
        made["default"] = declared.default
    return made


def _ask_tool(personas: Mapping[str, Persona]) -> dict[str, Any]:
    agents = {"type": "string", "enum": list(personas), "description": "Who answers; without one, a model alone."}
    question = {"type": "string", "description": "What is asked, with all that is needed to answer it."}
    return {
        "name": ASK,
        "description": "Asks one agent, or a model alone, one question.",
        "schema": {
            "type": "object",
            "properties": {"question": question, "agent": agents},
            "required": ["question"],
            "additionalProperties": False,
        },
    }


def text_of(outputs: Mapping[str, Any]) -> str:
    """Return outputs as one text: a single one as it is, several as a JSON object."""
    if len(outputs) == 1:
        (value,) = outputs.values()
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(dict(outputs), ensure_ascii=False, indent=2)


def server_of(offer: Offer) -> Any:
    """Return the package's server for an offer: `serve_stdio` and `serve_http` run it."""
    import mcp_types as types
    from mcp.server import Server

    async def on_list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(name=one["name"], description=one["description"], input_schema=one["schema"])
                for one in offer.tools()
            ]
        )

    async def on_call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        reply = await offer.call(params.name, params.arguments or {}, ctx.session.report_progress)
        content: list[Any] = [types.TextContent(type="text", text=reply.text)]
        structured = None if reply.structured is None else dict(reply.structured)
        return types.CallToolResult(content=content, structured_content=structured, is_error=reply.is_error)

    instructions = "Each tool runs a squad of agents, or asks one agent. Runs take seconds to minutes and cost money."
    return Server(
        "squad-orchestrator",
        version=__version__,
        instructions=instructions,
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )


async def serve_stdio(offer: Offer) -> None:
    """Serve the process's stdin and stdout until stdin ends. Whatever else is printed goes to stderr."""
    from mcp.server.stdio import stdio_server

    server = server_of(offer)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(offer: Offer, port: int, ready: Callable[[int], None]) -> None:
    """Serve `http://127.0.0.1:PORT/mcp` until cancelled; port 0 takes a free one. `ready` is told which it is."""
    import uvicorn

    app = server_of(offer).streamable_http_app()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, lifespan="on", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    ready(listening.getsockname()[1])
    await server.serve(sockets=[listening])
