"""Runs that are killed: a process of its own for each, and a provider in this one that counts what it answered."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents import tool
from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.errors import RunOver
from orchestrator.journal.protocols import Journal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run, resume_run
from providers.adapters import HttpReply, HttpRequest
from providers.budgets import CallSize
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.documents.scalars import write_tree
from providers.emit import ignore
from providers.limits.ledger import Ledger
from providers.limits.ledger.sqlite import SqliteLedger
from providers.messages import Capability, FinishReason, Message, Request, Response, Text, ToolCall, Usage
from providers.policy.model import DailyBudget, Policy
from tests import processes

PADDING = " and so on" * 30
"""Makes an answer large enough to be kept apart from its record."""
LEDGER = "limits.sqlite3"
CAPPED = DailyBudget(1_000_000_000)
"""Of a process that keeps a budget."""


def seeds(few: int, all_of_them: int) -> list[Any]:
    """Return the seeds of a test that kills at random: a few for a plain run, the others behind the marker `long`."""
    return [seed if seed < few else pytest.param(seed, marks=pytest.mark.long) for seed in range(all_of_them)]


def swept_seeds(few: int, all_of_them: int) -> list[Any]:
    """Return the seeds of a test over real processes: a few are run, the others in a sweep alone."""
    return [seed if seed < few else pytest.param(seed, marks=pytest.mark.sweep) for seed in range(all_of_them)]


def agent() -> dict[str, Any]:
    return {"persona": {"name": "Tester", "role": "Answers.", "tier": "worker"}}


SMALL: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "agents": {"ann": agent(), "bob": agent()},
    "tasks": {
        "brief": {"agent": "ann", "description": "Study it.", "output_file": "brief.md"},
        "gate": {"needs": ["brief"], "approval": {"prompt": "Go on?", "show": ["brief"]}},
        "plan": {
            "agent": "bob",
            "needs": ["gate"],
            "context": ["brief"],
            "description": "Plan.",
            "output_file": "p.md",
        },
    },
    "outputs": {"plan": "${{ tasks.plan.output }}"},
}
SCHEMA_OF_STORIES = {
    "type": "object",
    "required": ["stories"],
    "properties": {"stories": {"type": "array", "maxItems": 9, "items": {"type": "object"}}},
}
VERDICT = {"type": "object", "required": ["verdict"], "properties": {"verdict": {"enum": ["approve", "revise"]}}}
LARGE: dict[str, Any] = {
    "version": 1,
    "name": "large",
    "budget": {"max_turns": 200, "max_cost": 1.0},
    "agents": {
        **{name: agent() for name in ("ann", "bob", "cat", "sam")},
        "dev": {**agent(), "tools": ["note"], "budget": {"max_turns": 60}},
    },
    "conversations": {
        "meeting": {
            "pattern": "party",
            "participants": ["ann", "bob", "cat"],
            "moderator": "sam",
            "speakers_per_round": 2,
            "independent_first_round": True,
            "terminate": {"max_turns": 9},
        }
    },
    "tasks": {
        "brief": {"agent": "ann", "description": "Study it.", "output_file": "docs/brief.md"},
        "left": {"agent": "bob", "needs": ["brief"], "description": "Left.", "output_file": "docs/left.md"},
        "right": {"agent": "cat", "needs": ["brief"], "description": "Right.", "output_file": "docs/right.md"},
        "talk": {
            "conversation": "meeting",
            "needs": ["left", "right"],
            "description": "Agree.",
            "output_file": "docs/minutes.md",
        },
        "stories": {
            "agent": "sam",
            "needs": ["talk"],
            "description": "Cut stories.",
            "output_schema": SCHEMA_OF_STORIES,
        },
        "gate": {
            "needs": ["stories"],
            "approval": {"prompt": "Build?", "show": ["stories"], "choices": ["approve", "revise", "reject"]},
            "on_revise": {"rerun": ["stories"], "max_attempts": 2},
        },
        "build": {
            "needs": ["gate"],
            "context": ["stories"],
            "for_each": "${{ tasks.stories.output.stories }}",
            "as": "story",
            "key": "${{ story.id }}",
            "max_parallel": 3,
            "steps": [
                {"id": "code", "agent": "dev", "description": "Code ${{ story.id }}."},
                {"id": "review", "agent": "cat", "description": "Review ${{ story.id }}.", "output_schema": VERDICT},
            ],
            "repeat": {"until": "${{ steps.review.output.verdict == 'approve' }}", "max_attempts": 3},
        },
        "docs": {"agent": "bob", "needs": ["build"], "description": "Write it.", "output_file": "docs/guide.md"},
    },
    "outputs": {"guide": "${{ tasks.docs.output }}", "built": "${{ tasks.build.output }}"},
}
REVIEW: dict[str, Any] = {
    "name": "review",
    "inputs": {"draft": {"type": "string"}},
    "budget": {"max_turns": 40},
    "agents": {"ann": agent(), "bob": agent()},
    "tasks": {
        "check": {"agent": "ann", "description": "Check ${{ inputs.draft }}", "output_schema": VERDICT},
        "gate": {
            "needs": ["check"],
            "approval": {"prompt": "Good?", "choices": ["approve", "revise", "reject"]},
            "on_revise": {"rerun": ["check"], "max_attempts": 1},
        },
        "work": {
            "needs": ["gate"],
            "context": ["check"],
            "agent": "${{ 'ann' if tasks.check.output.verdict == 'approve' else 'bob' }}",
            "description": "Work.",
        },
    },
    "outputs": {"verdict": "${{ tasks.check.output.verdict }}", "made": "${{ tasks.work.output }}"},
}
MIDDLE: dict[str, Any] = {
    "name": "middle",
    "inputs": {"draft": {"type": "string"}},
    "tasks": {"deep": {"squad": "review.yaml", "with": {"draft": "deep ${{ inputs.draft }}"}}},
    "outputs": {"made": "${{ tasks.deep.output.made }}"},
}
NESTED: dict[str, Any] = {
    "name": "nested",
    "agents": {"ann": agent(), "cat": agent()},
    "tasks": {
        "draft": {"agent": "ann", "description": "Draft.", "output_file": "draft.md"},
        "one": {"squad": "review.yaml", "needs": ["draft"], "with": {"draft": "${{ tasks.draft.output }}"}},
        "two": {"squad": "middle.yaml", "needs": ["draft"], "with": {"draft": "two"}, "budget": {"max_turns": 50}},
        "end": {
            "needs": ["one", "two"],
            "switch": {
                "on": "${{ tasks.one.output.verdict }}",
                "cases": {
                    "approve": {"squad": "review.yaml", "with": {"draft": "the end"}},
                    "revise": {"steps": [{"id": name, "agent": "cat", "description": name} for name in ("a", "b")]},
                },
            },
            "output_file": "end.md",
        },
    },
    "outputs": {"end": "${{ tasks.end.output }}", "made": "${{ [tasks.one.output.made, tasks.two.output.made] }}"},
}
"""Sub-squads, one of them within another, an agent that is chosen, a switch, and people who are asked inside."""
ELEMENTS: dict[str, Any] = {
    "name": "elements",
    "agents": {"ann": agent()},
    "tasks": {
        "all": {
            "for_each": "${{ ['x', 'y/z'] }}",
            "key": "${{ item }}",
            "squad": "middle.yaml",
            "with": {"draft": "${{ item }}"},
            "max_parallel": 1,
            "budget": {"max_turns": 50},
        },
        "end": {"agent": "ann", "needs": ["all"], "description": "End."},
    },
    "outputs": {"end": "${{ tasks.end.output }}", "made": "${{ tasks.all.output }}"},
}
"""A squad within a squad for each element of a list, and people who are asked inside."""
AGAIN: dict[str, Any] = {"repeat": {"until": "${{ output.made == '' }}", "max_attempts": 2}, "continue_on_error": True}
REPEATED: dict[str, Any] = {
    "name": "repeated",
    "agents": {"ann": agent()},
    "tasks": {
        "one": {"squad": "review.yaml", "with": {"draft": "one"}, **AGAIN},
        "all": {
            "needs": ["one"],
            "for_each": "${{ ['x'] }}",
            "key": "${{ item }}",
            "squad": "middle.yaml",
            "with": {"draft": "${{ item }}"},
            **AGAIN,
        },
    },
    "outputs": {"made": "${{ [tasks.one.output.made, tasks.all.output] }}"},
}
"""Sub-squads that are done again, as their condition never holds, and people who are asked inside."""
WITHIN = {"nested": NESTED, "elements": ELEMENTS, "repeated": REPEATED}
PATTERNS: dict[str, dict[str, Any]] = {
    "round_robin": {"participants": ["ann", "bob", "cat"], "terminate": {"max_turns": 5}},
    "party": {"participants": ["ann", "bob", "cat"], "moderator": "sam", "terminate": {"max_turns": 6}},
    "selector": {"participants": ["ann", "bob", "cat"], "selector": {"tier": "worker"}, "terminate": {"max_turns": 5}},
    "handoff": {"participants": ["ann", "bob", "human"], "terminate": {"max_turns": 6}},
    "debate": {"participants": ["ann", "bob"], "judge": "sam", "rounds": 2, "independent_first_round": True},
    "hierarchical": {"participants": ["ann", "bob", "cat"], "manager": "sam", "rounds": 3},
}


def talking(pattern: str) -> dict[str, Any]:
    """Return a squad that holds a conversation of a pattern, and then writes of it."""
    return {
        "version": 1,
        "name": pattern,
        "agents": {name: agent() for name in ("ann", "bob", "cat", "sam")},
        "conversations": {"talk": {"pattern": pattern, **PATTERNS[pattern]}},
        "tasks": {
            "talk": {"conversation": "talk", "description": "Agree.", "output_file": "minutes.md"},
            "docs": {"agent": "ann", "needs": ["talk"], "description": "Write ${{ tasks.talk.transcript }}."},
        },
        "outputs": {"docs": "${{ tasks.docs.output }}"},
    }


ASIDE = talking("round_robin")
ASIDE["conversations"] = {
    "talk": {"participants": ["ann", {"conversation": "side"}, "human"], "terminate": {"max_turns": 5}},
    "side": {"pattern": "hierarchical", "participants": ["bob", "cat"], "manager": "sam", "rounds": 2},
}
"""A conversation that takes part in another one, beside a person."""
HELPED: dict[str, Any] = {
    "version": 1,
    "name": "helped",
    "agents": {
        "ann": {**agent(), "tools": [{"agent": "bob"}]},
        "bob": {**agent(), "tools": [{"agent": "cat"}], "budget": {"max_turns": 40}},
        "cat": {**agent(), "tools": ["note"]},
    },
    "tasks": {
        "find": {"agent": "ann", "description": "Find it.", "output_file": "found.md"},
        "docs": {"agent": "cat", "needs": ["find"], "context": ["find"], "description": "Write it."},
    },
    "outputs": {"docs": "${{ tasks.docs.output }}"},
}
"""Agents that are tools of others, over one another."""
COMPACTED = {**talking("round_robin"), "defaults": {"history": {"summarise_over_tokens": 512}}}
COMPACTED["conversations"] = {"talk": {"participants": ["ann", "bob", "cat"], "terminate": {"max_turns": 11}}}
COMPACTED["tasks"] = {
    **COMPACTED["tasks"],
    "more": {"agent": "bob", "description": "Write more."},
    "all": {
        "agent": "cat",
        "needs": ["talk", "docs", "more"],
        "description": "Put it together.",
        "context_max_tokens": 256,
    },
}
"""A conversation that is so long that its beginning is summarised, again and again, and a task whose context is."""
SQUADS = {
    "aside": ASIDE,
    "compacted": COMPACTED,
    "helped": HELPED,
    "small": SMALL,
    "large": LARGE,
    **{pattern: talking(pattern) for pattern in PATTERNS},
}


def steering(prompt: str, number: int) -> str | None:
    """Return the line that a prompt of a conversation asks for, as `number` has it: now and then one of no use."""
    listed = re.findall(r"(?m)^- (\w+)", prompt)
    name = [*listed, "zoe"][number % (len(listed) + 1)]
    if "`NEXT: ` and the name" in prompt:
        return f"NEXT: {name}"
    if "`HANDOFF: ` and the name" in prompt and number % 2:  # else by a call of a tool
        return f"HANDOFF: {name}"
    if "`DELEGATE name: the task`" in prompt and number % 4:
        return f"DELEGATE {name}: the first part\nDELEGATE {listed[0]}: the second part"
    return None


def answer_to(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a model says: the same to the same request, another to each other one. Pure."""
    seal, last = asked["digest"][:12], asked["last"]
    if asked["schema"] and "Cut stories" in asked["text"]:
        return {"text": json.dumps({"stories": [{"id": f"S-{n}", "seal": seal} for n in (1, 2, 3)]})}
    if asked["schema"]:
        again = "S-2" in last and "attempt 1" not in asked["text"]
        return {"text": json.dumps({"verdict": "revise" if again else "approve"})}
    if (steers := steering(asked["last"], int(seal, 16))) is not None:
        return {"text": f"{asked['agent']} {seal}{PADDING}\n\n{steers}"}
    if asked["tools"] and asked["role"] == "user":
        given = "what" if asked["tool"] == "note" else "reason" if "transfer_to_" in asked["tool"] else "task"
        return {"call": json.dumps({given: seal}), "tool": asked["tool"]}
    return {"text": f"{asked['agent']} {seal}{PADDING}"}


@dataclass
class Counting:
    """The provider. `answered` counts the same request's answers; `tools` and `asked` the tools' calls and the gates'.

    `before(n)` and `after(n)` are called around the n-th answer.
    """

    answered: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    before: Callable[[int], None] = lambda number: None
    after: Callable[[int], None] = lambda number: None
    port: int = 0

    @contextmanager
    def serving(self) -> Iterator[Counting]:
        provider, lock = self, threading.Lock()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline()
                if not line:
                    return
                told = json.loads(line)
                with lock:
                    number = provider._count(told)
                if told["kind"] == "model":
                    provider.before(number)
                try:
                    self.wfile.write(json.dumps(provider._reply(told)).encode() + b"\n")
                except OSError:
                    return
                if told["kind"] == "model":
                    provider.after(number)

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def _count(self, told: dict[str, Any]) -> int:
        counter = {"model": self.answered, "tool": self.tools, "gate": self.asked}[told["kind"]]
        counter[told["digest"]] += 1
        return self.answered.total()

    def _reply(self, told: dict[str, Any]) -> dict[str, Any]:
        return answer_to(told) if told["kind"] == "model" else {"text": "done"}


async def tell(port: int, told: dict[str, Any]) -> dict[str, Any]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(json.dumps(told).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            data += await stream.receive()
    reply: dict[str, Any] = json.loads(data)
    return reply


def digest_of(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


class OverSocket:
    """A manager whose provider is another process."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def complete(
        self, request: Request, *, emit: Any = ignore, budgets: Any = None, accept: Any = None
    ) -> Response:
        hold = await budgets.reserve(CallSize(7, 15))
        try:
            reply = await tell(self._port, _told(request))
        except BaseException:
            hold.release()
            raise
        hold.settle(7, 15)
        return _said(reply, cost=7)


class Far:
    """The same provider as a dialect and the way to it, for a manager that keeps a ledger."""

    def __init__(self, port: int) -> None:
        self._port = port

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        return HttpRequest("POST", "", {}, json.dumps(_told(request)).encode())

    def decode(self, reply: HttpReply, *_: Any) -> Response:
        return _said(json.loads(reply.body))

    async def send(self, request: HttpRequest, **_: float) -> HttpReply:
        told = await tell(self._port, json.loads(request.body))
        return HttpReply(200, {}, json.dumps(told).encode())


def _said(reply: Mapping[str, Any], cost: int | None = None) -> Response:
    part = Text(reply["text"]) if "text" in reply else ToolCall("c", reply["tool"], reply["call"])
    finish = FinishReason.STOP if "text" in reply else FinishReason.TOOL_CALLS
    return Response(Message("assistant", (part,)), finish, Usage(10, output=5), "far", "far", cost)


def _told(request: Request) -> dict[str, Any]:
    agent = request.needs.agent or ""
    said = [m.digest.hex() for m in request.messages]
    return {
        "kind": "model",
        "agent": agent,
        "digest": digest_of(agent, str(bool(request.output_schema)), *said),
        "schema": request.output_schema is not None,
        "tools": bool(request.tools),
        "tool": request.tools[0].name if request.tools else "",
        "role": request.messages[-1].role,
        "text": "\n".join(m.text for m in request.messages),
        "last": request.messages[-1].text,
    }


def paying(port: int, ledger: Ledger) -> ProviderManager:
    """Return a manager whose one model costs 7 micro-USD an answer, under a cap for the day."""
    capabilities = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA})
    model = Model("far", 1_000_000, 1000, capabilities, Price(0.2, 1.0))
    row = Candidate(Provider("far", "far", "", None, {"far": model}), model)
    policy = Policy({"worker": (row.name,)}, last_resort=(), budget=CAPPED)
    far: Any = Far(port)
    return ProviderManager([row], policy, adapters={"far": far}, transport=far, ledger=ledger)


def squad_for(name: str, port: int, says: str = "Note it.") -> Squad:
    """Return one of these squads. Its tool `says` so of itself."""

    @tool(idempotent=True, description=says)
    async def note(what: str) -> str:
        return str((await tell(port, {"kind": "tool", "digest": what}))["text"])

    if name in WITHIN:
        review, middle = write_tree(REVIEW), write_tree(MIDDLE)
        sources = {
            "squad review.yaml": review,
            "squad middle.yaml": middle,
            "of middle.yaml: squad review.yaml": review,
        }
        return Squad.from_text(write_tree(WITHIN[name]), f"{name}.yaml", sources=sources)
    return Squad.from_mapping(SQUADS[name], tools=[note] if name in ("large", "helped") else [])


class Doomed:
    """A journal that kills the process as soon as it has recorded so many things."""

    WRITES = ("create", "claim", "begin", "finish", "give_up", "end", "park", "append")

    def __init__(self, journal: SqliteJournal, left: int) -> None:
        self._journal = journal
        self._left = left

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._journal, name)
        if name not in self.WRITES:
            return found

        async def write(*args: Any) -> Any:
            done = await found(*args)
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return write


@dataclass(frozen=True)
class Order:
    """What a process is to do: run a squad, or resume it, and die after `commits` records."""

    squad: str
    folder: str
    port: int
    resume: bool = False
    commits: int = 0
    backend: str = "asyncio"
    budget: bool = False
    """Whether a day's budget is kept, in the folder's ledger."""


def child(order: Order) -> None:
    """Be the process. How the run ended stands in `result.json`."""
    anyio.run(_drive, order, backend=order.backend)


async def _drive(order: Order) -> None:
    folder = Path(order.folder)
    squad, ledger = squad_for(order.squad, order.port), SqliteLedger(folder / LEDGER)
    manager = paying(order.port, ledger) if order.budget else OverSocket(order.port)

    async def ask(gate: GateOpened) -> GateAnswered:
        await tell(order.port, {"kind": "gate", "digest": f"{gate.task}#{gate.attempt}"})
        if gate.choices == ("say",):
            return GateAnswered(gate.name, "say", "a person's word", "terminal")
        choice = "revise" if "revise" in gate.choices and gate.attempt == 1 else "approve"
        return GateAnswered(gate.task, choice, "smaller" if choice == "revise" else "", "terminal")

    async with SqliteJournal(folder / "journal.db") as opened:
        journal: Journal = Doomed(opened, order.commits) if order.commits else opened  # type: ignore[assignment]
        shared: dict[str, Any] = {"manager": manager, "journal": journal, "ask": ask}
        if order.resume:
            opening = resume_run(squad, "r", **shared)
        else:
            opening = open_run(squad, run_id="r", out=folder / "out", **shared)
        try:
            async with opening as run:
                async for _ in run:
                    pass
        except RunOver:  # it was killed right after its last record
            return
        finally:
            await ledger.aclose()
        result = run.result
    used = [result.status, dict(result.outputs), dict(result.artifacts), result.usage.total, result.cost]
    (folder / "result.json").write_text(json.dumps(used))


def start(order: Order) -> ForkServerProcess:
    return processes.start(child, order)


def run_to_its_end(order: Order) -> int:
    """Return the exit code: 0, or -9 for a process that was killed."""
    return processes.end(start(order))


def made(folder: Path) -> dict[str, bytes]:
    """Return the files of the run's folder."""
    out = folder / "out"
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
