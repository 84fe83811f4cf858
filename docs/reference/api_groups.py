"""Which public name stands on which page of the Python reference, and what the page shows before them."""

from __future__ import annotations

from typing import NamedTuple

PACKAGES = ("orchestrator", "agents", "personas", "providers", "orchestrator.testing", "providers.simulation")
"""The packages whose `__all__` is promised. A name that several have stands once, under the first."""


class Group(NamedTuple):
    """A page: `names` in the order in which a reader needs them. `about` is its line in the index."""

    page: str
    title: str
    about: str
    intro: str
    names: tuple[str, ...]
    example: str = ""


HIDDEN = frozenset(
    {
        *("Run.drive", "Run.resume_units", "Run.units_at_work", "History.digested", "Agent.opening", "Agent.asking"),
        *("Tool.spec_in", "Tool.digest_in", "Tool.told_as", "Tool.doing", "Tool.but", "Tool.refused", "Message.memo"),
        *("ProviderError.of", "ProviderError.billed", "ProviderError.hide", "Exchange.paid", "Problem.under"),
    }
)
"""Methods that our own packages call, and no program that uses them."""
MADE_BY = {
    "AgentPool": "`create_balanced_agent_pool`",
    "Catalog": "`load_catalog`",
    "Plan": "`Squad.plan`, or `plan` of a `Run`",
    "Policy": "`parse_policy` or `default_policy`",
    "ProviderManager": "`open_manager`",
    "Run": "`open_run`, `resume_run` or `fork_run`",
    "ScriptedManager": "`scripted`",
    "Squad": "`Squad.from_file`, `Squad.from_text` or `Squad.from_mapping`",
    "Embeddings": "`embed` of a `ProviderManager`",
    "WorkResult": "`work` of an `Agent`",
    "WorkStream": "`stream` of an `Agent`",
}
"""Classes that a program does not make by calling them, and what makes them."""

SAME_PARAMETERS = {
    "run_squad": "open_run",
    "run_sync": "run_squad",
    "resume_run": "open_run",
    "fork_run": "open_run",
    "Session": "open_run",
    "Squad.from_file": "Squad.from_text",
    "Squad.from_mapping": "Squad.from_text",
    "Agent.stream": "Agent.work",
    "AgentPool.work": "Agent.work",
}
"""Whose parameters say what those of another mean, where it does not say it itself."""

GROUPS = (
    Group(
        "run",
        "Run a squad",
        "load a squad, run it, read its result; chats",
        "Load a squad from its file, run it, and read how it ended. `run_squad` waits for the end, `run_sync` "
        "does it without async, `open_run` hands you the events. Guides: "
        "[notebook](../../guides/notebook.md), [FastAPI](../../guides/fastapi.md), "
        "[streaming](../../guides/streaming.md), [chat](../../guides/chat.md).",
        (
            *("Squad", "run_squad", "run_sync", "open_run", "Run", "RunResult", "RunDelta", "AnswerEnded", "Plan"),
            *("Session", "Exchange", "environment_of"),
        ),
        """
from orchestrator import Squad, run_sync

squad = Squad.from_text(\"\"\"
name: hello
agents: {ann: {instructions: Answer in one line.}}
tasks: {greet: {agent: ann, description: 'Greet ${{ inputs.who }}.'}}
inputs: {who: {type: string, default: the team}}
outputs: {greeting: '${{ tasks.greet.output }}'}
\"\"\")
result = run_sync(squad, inputs={"who": "Mary"}, offline=True)  # offline: the stub answers, no key is needed
print(result.status, result.outputs["greeting"], result.cost)
""",
    ),
    Group(
        "resume",
        "Resume, fork and change runs",
        "go on with a run, branch off one, end a conversation, allow keys",
        "What is recorded is neither done nor paid again. Guides: [resume and "
        "replay](../../guides/resume-and-replay.md), [edit, fork, remove](../../guides/edit-fork-remove.md), "
        "[security](../../guides/security.md).",
        (
            *("resume_run", "fork_run", "edit_of_run", "end_conversation"),
            *("trust_file", "KeyUse", "CodeUse"),
        ),
        """
from orchestrator import Squad, open_journal, open_run, resume_run

squad = Squad.from_mapping(
    {
        "name": "hello",
        "agents": {"ann": {"instructions": "Answer in one line."}},
        "tasks": {"greet": {"agent": "ann", "description": "Greet the team."}},
    }
)


async def main() -> None:
    async with open_journal("runs.db") as journal:
        async with open_run(squad, journal=journal, run_id="r-1", offline=True) as run:
            async for event in run:
                break  # leaving the block ends the work; the record stays
        async with resume_run(squad, "r-1", journal=journal) as run:
            async for event in run:
                print(event.path, event.type)
        print(run.result.status)
""",
    ),
    Group(
        "events",
        "Events and questions",
        "what a run tells as it goes on; approvals; subscribers",
        "What a run tells as it goes on. Every type of event is in the [events reference](../events.md). "
        "Guides: [observability](../../guides/observability.md), [human "
        "approval](../../guides/human-approval.md).",
        ("Event", "to_json", "GateOpened", "GateAnswered", "Subscriber", "Subject"),
        """
from orchestrator import GateAnswered, GateOpened


async def ask(gate: GateOpened) -> GateAnswered | None:
    \"\"\"Give it to `run_squad(..., ask=ask)`. None leaves the question open: the run ends as `waiting`.\"\"\"
    choice = input(f"{gate.prompt} {gate.choices} ")
    return GateAnswered(gate.task, choice, comment="", by="api") if choice in gate.choices else None
""",
    ),
    Group(
        "journal",
        "Journal",
        "where runs are recorded: SQLite, PostgreSQL",
        "The record of runs. Open one with `open_journal`, give it to `open_run(..., journal=journal)`, and "
        "`resume_run` goes on from it. Concept: [journal](../../concepts/journal.md).",
        ("open_journal", "Journal", "SqliteJournal"),
        """
from orchestrator import open_journal


async def last_runs() -> None:
    async with open_journal("runs.db") as journal:
        for line in await journal.runs(limit=5):
            print(line.id, line.status)
""",
    ),
    Group(
        "agents",
        "One agent",
        "an agent without a squad; typed answers, pools, history, memory",
        "An agent is a persona, or instructions, with tools and a provider manager that answers. Guides: "
        "[single agent](../../guides/single-agent.md), [pools](../../guides/pools.md), "
        "[memory](../../guides/memory.md).",
        (
            *("Agent", "WorkResult", "WorkStream", "History", "RunContext", "Complete"),
            *("AgentPool", "create_balanced_agent_pool"),
            *("TurnStarted", "TurnEnded", "RepeatStopped"),
            *("MemoryStore", "MemoryRecord", "Embedder", "LocalEmbedder"),
        ),
        """
from dataclasses import dataclass

from agents import Agent
from providers import open_manager


@dataclass
class Verdict:
    good: bool
    why: str


async def judge(text: str) -> Verdict:
    async with open_manager() as manager:
        agent = Agent("judge", instructions="Judge the text.", manager=manager, tier="worker")
        done = await agent.work(text, output_type=Verdict)
        return done.output
""",
    ),
    Group(
        "tools",
        "Tools, hooks and MCP",
        "functions that a model calls, what stands around calls, MCP servers",
        "A tool is a typed function; a hook stands around each call. Guides: [Python "
        "tools](../../guides/python-tools.md), [tools](../../guides/tools.md), [MCP](../../guides/mcp.md).",
        (
            *("tool", "Tool", "ToolContext", "Registry", "Untrusted"),
            *("Hooks", "Deny", "CallPlace"),
            *("ToolStarted", "ToolProgress", "ToolEnded", "RiskyCallHeld"),
            *("mcp_tools", "McpStdioServer", "McpHttpServer", "McpLimits"),
        ),
        """
from agents import CallPlace, Deny, Hooks, Tool, tool
from providers import ToolCall


@tool(risk="read_only", timeout_s=5)
def price_of(article: str) -> float:
    \"\"\"Return the price of an article in euros.\"\"\"
    return {"bike": 499.0}[article]


class Careful(Hooks):
    async def before_tool(self, call: ToolCall, tool: Tool, at: CallPlace) -> Deny | None:
        return Deny("only the operator may do that") if tool.risk == "risky" and at.agent != "operator" else None
""",
    ),
    Group(
        "personas",
        "Personas",
        "who speaks: find, make and render personas",
        "A persona says who an agent is. Fields: [persona reference](../personas.md). Guide: "
        "[personas](../../guides/personas.md).",
        ("Persona", "Personas", "packaged", "in_memory", "first_of", "Sandbox"),
        """
from personas import Personas, packaged

personas = Personas(packaged())
analyst = personas.get("analyst")
print(analyst.role, analyst.tier)
""",
    ),
    Group(
        "providers",
        "Providers and routing",
        "ask a model; messages, requests, answers; policy, catalog, embeddings",
        "Open a manager, and it answers requests: it finds a model that can, keeps limits and budgets, and "
        "goes to another one where one fails. Money is micro-USD (a millionth of a US dollar). Guides: "
        "[routing](../../guides/routing.md), [limits](../../guides/limits.md), [many free "
        "tiers](../../guides/many-free-tiers.md).",
        (
            *("open_manager", "ProviderManager", "Request", "Needs", "Capability", "OutputSchema", "Response", "Usage"),
            *("Message", "system", "user", "assistant", "Text", "Image", "ToolSpec", "ToolCall", "ToolResult"),
            *("TextDelta", "ReasoningDelta", "ToolCallDelta", "Restarted", "Resumed", "Embeddings", "ModelCalls"),
            *("Policy", "parse_policy", "default_policy", "Catalog", "load_catalog"),
        ),
        """
from providers import Request, open_manager, system, user


async def ask(text: str) -> str:
    async with open_manager() as manager:
        response = await manager.complete(Request((system("Answer in one line."), user(text))))
        print(response.provider, response.model, response.usage, response.cost)
        return response.text
""",
    ),
    Group(
        "testing",
        "Testing",
        "scripted answers in place of a provider; no real calls in tests",
        "Scripted answers replace providers; routing, tools and journal are the real ones. An error as a step "
        "is raised as if the provider had failed so. Guide: [testing squads](../../guides/testing-squads.md).",
        ("scripted", "ScriptedManager", "say", "tool_call", "ScriptMismatch"),
        """
import pytest

from orchestrator import Squad, run_squad
from orchestrator.testing import scripted

squad = Squad.from_mapping(
    {
        "name": "hello",
        "agents": {"ann": {"instructions": "Answer in one line."}},
        "tasks": {"greet": {"agent": "ann", "description": "Greet the team."}},
        "outputs": {"greeting": "${{ tasks.greet.output }}"},
    }
)


@pytest.mark.anyio
async def test_it_greets() -> None:
    async with scripted("Hello, team.") as manager:
        result = await run_squad(squad, manager=manager)
    assert result.outputs == {"greeting": "Hello, team."}
""",
    ),
    Group(
        "simulation",
        "Simulation",
        "a routing policy against modelled providers, on a virtual clock",
        "What a routing policy does when providers fail, computed in milliseconds. Fields of a file: "
        "[scenario file](../scenario-file.md). Guide: [simulation](../../guides/simulation.md).",
        (
            *("simulate", "load_scenario", "shipped", "Scenario", "Behaviour", "ModelBehaviour", "Latency", "Load"),
            *("Outage", "Flaky", "Expectation", "Report", "Claim", "ProviderUse", "GroupUse", "LimitUse", "Bucket"),
            *("Durations", "Waits"),
        ),
        """
from providers.simulation import load_scenario, simulate

report = simulate(load_scenario("outage"))
print(report.held, report.claims)
""",
    ),
    Group(
        "errors",
        "Errors",
        "what is raised, from which root, with which fields",
        "Three roots: `OrchestratorError` (squads and runs), `AgentError` (one agent's work), `ProviderError` "
        "and `RoutingError` (getting an answer). Mistakes in files are `ProblemsFound`, each with a "
        "[code](../problems.md). What a failed task says in the terminal: "
        "[troubleshooting](../../troubleshooting.md).",
        (
            *("OrchestratorError", "ProblemsFound", "SpecError", "PlanError", "Problem"),
            *("NoProvider", "StubAnswers", "NotTrusted", "CodeNotTrusted", "ToolUnusable", "CannotWrite"),
            *("RunNotFound", "RunOver", "RunCancelled", "RunChanged", "JournalError", "RunBusy"),
            *("AgentError", "TurnLimit", "OutputInvalid", "AnswerCut", "CallDenied", "HookFailed", "ToolFault"),
            *("McpFault", "PathEscapes", "MemoryFull", "MemoryUnusable", "PersonaError", "TemplateError"),
            *("ProviderError", "Unreachable", "TimedOut", "RateLimited", "ServerFault", "AuthFailed", "ContextTooLong"),
            *("Declined", "RealCallForbidden", "RoutingError", "NoRoute", "AllAttemptsFailed", "BudgetSpent"),
            "CatalogError",
        ),
        """
from orchestrator import NoProvider, OrchestratorError, ProblemsFound, Squad, run_squad


async def main() -> None:
    try:
        await run_squad(Squad.from_file("squad.yaml"))
    except ProblemsFound as error:  # mistakes in the file, all at once; nothing was spent
        for problem in error.problems:
            print(problem.line, problem.code, problem.message, problem.hint)
    except NoProvider as error:
        print("set a key:", error)
    except OrchestratorError as error:
        print(error)
""",
    ),
)
