"""A chat at the command line: messages in, answers out, and what `/commands` do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import click
from anyio.abc import TaskStatus

from agents.errors import AgentError
from orchestrator.cli.exits import Exit, Interrupted, Terminated, exit_of
from orchestrator.cli.failures import tell_failure
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.figures import tokens, usd
from orchestrator.cli.ui.gates import discard_typed
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.message_lines import ReadPrompted, next_message
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.spoken import StreamPrinter
from orchestrator.errors import AnswerSuspended, OrchestratorError
from orchestrator.events import Event, to_json
from orchestrator.journal.protocols import JournalError
from orchestrator.run.deltas import CallsWhole, RunDelta, delta_json
from orchestrator.run.exchanges import Exchange, addressed
from orchestrator.session import ReplyStream, Session
from providers.documents.likeness import closest
from providers.documents.unicode import printable
from providers.errors import ProviderError, RoutingError
from providers.messages import Restarted, TextDelta

FAILURES = (OrchestratorError, AgentError, ProviderError, RoutingError)
"""What ends an answer, and not the chat."""
SHOWN = ("tool.", "attempt.ended", "waiting_for_provider", "budget.", "call.repeated")
"""Beginnings of the types of events that are told while an answer is awaited."""
HELP = """\
/undo [N]     take the last exchange, or the last N, out of what is told
/cost         what the chat has cost
/model [M]    answer with the model M from now on; without M the agent's own
/agent [A]    talk to A from now on; `@A words` does it once
/history      what was said, as it stands
/save FILE    write what stands to a Markdown file
/new          begin another chat
/exit         leave; Ctrl-D does, too. The chat goes on when you come back
A line that ends in \\ goes on in the next one; \"\"\" begins and ends a message of several lines.
// at the beginning sends a message that begins with one /."""


class Leaving(NamedTuple):
    """How a chat was left. `following`: another one is to begin, "new", or with another persona."""

    code: int = Exit.DONE
    following: str | None = None
    name: str = ""
    """Of the chat that was left."""


@dataclass(slots=True)
class Talk:
    """One session as it is held here. `knows_model` says what is wrong with a model's name, "" where nothing is."""

    console: Console
    read: ReadPrompted
    environ: Mapping[str, str]
    knows_model: Callable[[str], str]
    personas: Sequence[str]
    """Who else can be talked to, each in a squad of their own."""
    at_terminal: bool
    as_json: bool
    stream: bool
    verbose: bool = False
    code: int = Exit.DONE
    """Of the first answer that failed."""
    session: Session = field(init=False)
    """Set before it is held: it tells this of its events."""
    _progress: Progress = field(default_factory=Progress)
    _printer: StreamPrinter | None = None
    _reply: ReplyStream | None = None
    _calls: CallsWhole = field(default_factory=CallsWhole)
    _at_work: anyio.CancelScope | None = None
    _stopped: int = 0
    """How often Ctrl-C was pressed since something was said."""

    async def hold(self) -> Leaving:
        """Take messages until the input ends, or the person leaves."""
        async with anyio.create_task_group() as tasks:
            failure: list[Exception] = []
            await tasks.start(self._watch, tasks.cancel_scope, failure)
            left = await self._take_messages()
            tasks.cancel_scope.cancel()
        if failure:
            raise failure[0]
        return left

    async def _watch(
        self,
        whole: anyio.CancelScope,
        failure: list[Exception],
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Ctrl-C stops the answer, at the prompt twice the chat; without a terminal it ends all, as SIGTERM does."""
        if os.name == "nt":
            task_status.started()
            return
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                self._stopped += 1
                at_work = self._at_work
                if number == signal.SIGINT and self.at_terminal and self._stopped <= MOST_STOPS:
                    if at_work is not None:
                        at_work.cancel()
                    continue
                failure.append(Terminated("terminated") if number == signal.SIGTERM else Interrupted("interrupted"))
                whole.cancel()

    async def _take_messages(self) -> Leaving:
        if (pending := self.session.pending) is not None:
            self.console.say(f"the answer to {_quoted(pending.text)} was cut short: it continues")
            await self._within(self._answer(self.session.stream_on))
            if self._waits:
                return self._leaving()
        while True:
            message = await self._next()
            if message is None:
                return self._leaving()
            self._stopped = 0
            text = message.strip()
            if text.startswith("/") and not text.startswith("//"):
                left = await self._command(*text[1:].partition(" ")[::2])
                if left is not None:
                    return left
            elif text:
                await self._say(message[1:] if text.startswith("//") else message)
                if self._waits:
                    return self._leaving()

    @property
    def _waits(self) -> bool:
        """Whether an answer waits for a person who is not here: what a script says next would give it up."""
        return self.code == Exit.WAITING and not self.at_terminal

    def _leaving(self, following: str | None = None) -> Leaving:
        """Return how the chat is left: a person saw what failed, a script is told by the code."""
        return Leaving(Exit.DONE if self.at_terminal else self.code, following)

    async def _next(self) -> str | None:
        """Return the next message. Ctrl-C at the prompt drops the line; the second one in a row ends the chat."""
        found: list[str | None] = []

        async def take() -> None:
            found.append(await next_message(self.read, "> "))

        while not await self._within(take()):
            discard_typed()
            sys.stderr.write("\n")
            if self._stopped > 1:
                raise Interrupted("interrupted")
            self.console.say("Ctrl-C once more, Ctrl-D or /exit leaves the chat")
        return found[0]

    async def _within(self, work: Awaitable[None]) -> bool:
        """Do what Ctrl-C stops; return whether it came to its end."""
        with anyio.CancelScope() as self._at_work:
            await work
        stopped = self._at_work.cancelled_caught
        self._at_work = None
        return not stopped

    # -- answers

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Make room for a question."""
        self._show_deltas()
        self._end_line()
        yield

    async def _say(self, message: str) -> None:
        agent, words = addressed(message, self.session.agents)
        if not words.strip():
            self.console.say(f"say something to {agent}: `@{agent} words`; `/agent {agent}` goes on with it")
            return
        if agent is None and (meant := _mentioned(words)):
            self.console.say(f"no agent here is called {printable(meant)}: {self.session.agent} is told all of it")
        if not await self._within(self._answer(lambda: self.session.stream(words, to=agent))):
            self._stopped = 0
            self._end_line()
            self.console.say("stopped: the chat goes on without this answer")

    async def _answer(self, ask: Callable[[], ReplyStream]) -> None:
        try:
            async with ask() as reply:
                self._reply, self._printer = reply, StreamPrinter() if self.stream else None
                while await reply.more():
                    self._show_deltas()
            self._show_answer(reply.exchange)
        except JournalError:
            raise
        except FAILURES as error:
            self._end_line()
            tell_failure(self.console, error, self.environ, internal=False, verbose=self.verbose)
            self.code = self.code or exit_of(error)
            if isinstance(error, AnswerSuspended):
                self.code = Exit.WAITING
            if self.as_json and self.session.exchanges:
                print_json(mask_document(exchange_json(self.session.id, self.session.exchanges[-1]), self.environ))
        finally:
            self._reply = None

    def saw(self, event: Event) -> None:
        """Show an event of the chat, after what was said before it."""
        document: Any = to_json(event)
        line = self._progress.apply(document)
        if line is None or not document["type"].startswith(SHOWN):
            return
        self._show_deltas()
        self._end_line()
        self.console.say(mask_secrets(printable(line.text), self.environ))

    def _show_deltas(self) -> None:
        for delta in self._reply.ready() if self._reply is not None else ():
            self._show(delta)

    def _show(self, delta: RunDelta) -> None:
        if not self.stream:
            return
        if self.as_json:
            for whole in self._calls.add(delta):
                print_json(mask_document(delta_json(whole), self.environ))
        elif isinstance(delta.delta, TextDelta):
            assert self._printer is not None, "it is made with the answer"
            self._printer.add(delta.delta.text)
        elif isinstance(delta.delta, Restarted):
            self._end_line()
            self.console.say(f"void; the answer begins again: {printable(delta.delta.reason)}")

    def _end_line(self) -> None:
        if self._printer is not None and not self.as_json:
            self._printer.break_line()

    def _show_answer(self, exchange: Exchange | None) -> None:
        if exchange is None:
            return
        if self.as_json:
            print_json(mask_document(exchange_json(self.session.id, exchange), self.environ))
        elif self._printer is not None:
            self._printer.break_line()
        else:
            click.echo(printable(exchange.answer))
        sys.stdout.flush()

    # -- commands

    async def _command(self, name: str, argument: str) -> Leaving | None:
        """Do what a /command says. Return how the chat is left, None where it goes on."""
        argument = argument.strip()
        match name:
            case "exit" | "quit":
                return self._leaving()
            case "new":
                return self._leaving("new")
            case "agent" if argument:
                return await self._talk_to(argument.removeprefix("@"))
            case "agent":
                self.console.write(f"{self.session.agent} answers; there are: {', '.join(self.session.agents)}")
            case "model":
                await self._choose_model(argument)
            case "undo":
                await self._undo(argument)
            case "cost":
                self.console.write(self._cost())
            case "history":
                for one in self.session.history:
                    self.console.write(printable(f"> {one.text}\n{one.agent}: {one.answer}\n"))
            case "save":
                self._save(argument)
            case "help":
                self.console.write(HELP)
            case _:
                close = closest(name, COMMANDS)
                hint = f"did you mean /{close}? " if close else ""
                self._mistake(f"there is no command /{name}", f"{hint}/help lists them; // begins a message with a /")
        return None

    async def _talk_to(self, name: str) -> Leaving | None:
        found = next((one for one in self.session.agents if one.casefold() == name.casefold()), None)
        if found is not None:
            await self.session.talk_to(found)
            self.console.say(f"{found} answers from now on")
            return None
        if name in self.personas:
            return self._leaving(f"persona {name}")
        close = closest(name, [*self.session.agents, *self.personas])
        like = f"did you mean {close}? " if close else ""
        here = f"{like}agents here: {', '.join(self.session.agents)}; personas: orchestrator personas ls"
        self._mistake(f"there is no agent {name}", here)
        return None

    async def _choose_model(self, name: str) -> None:
        if mistake := self.knows_model(name) if name else "":
            self._mistake(f"/model: {mistake}")
            return
        await self.session.talk_to(model=name)
        self.console.say(f"{name or 'the own model'} of {self.session.agent} answers from now on")

    async def _undo(self, argument: str) -> None:
        if argument and not argument.isdecimal():
            self._mistake(f"/undo takes how many exchanges: {argument!r} is not a number")
            return
        undone = await self.session.undo(int(argument or 1))
        if not undone:
            self.console.say("there is nothing to undo")
        for one in undone:
            self.console.say(f"undone: {_quoted(one.text)}")
            if effects := self.session.effects_of(one):
                self.console.say(f"what its tools did stays done: {printable(', '.join(effects))}")

    def _cost(self) -> str:
        session = self.session
        last = session.history[-1] if session.history else None
        figures = "  ".join(filter(None, (usd(_usd(session.cost)), tokens(session.tokens))))
        of_last = "" if last is None else f"; the last answer {usd(_usd(last.cost))}, {last.model}"
        return f"{session.id}: {figures}{of_last}"

    def _save(self, name: str) -> None:
        if not name:
            self._mistake("/save takes the name of a file")
            return
        try:
            with Path(name).expanduser().open("x", encoding="utf-8") as file:
                file.write(as_markdown(self.session.id, self.session.history))
        except OSError as error:
            why = "it is there already" if isinstance(error, FileExistsError) else error.strerror or str(error)
            self._mistake(f"{name} cannot be written: {why}")
        else:
            self.console.say(f"saved: {name}")

    def _mistake(self, text: str, hint: str = "") -> None:
        self.console.fail(printable(text), printable(hint))
        if not self.at_terminal:
            self.code = self.code or Exit.USAGE


MOST_STOPS = 2
"""After so many times Ctrl-C in a row, each of which stopped something, the next one ends all."""
COMMANDS = ("help", "undo", "cost", "model", "agent", "history", "save", "new", "exit", "quit")


def exchange_json(session: str, exchange: Exchange) -> dict[str, Any]:
    """Return the document of one exchange."""
    return {
        "type": "exchange",
        "schema_version": 1,
        "session": session,
        "number": exchange.number,
        "agent": exchange.agent,
        "text": exchange.text,
        "answer": exchange.answer,
        "status": exchange.status,
        "error": exchange.error or None,
        "undone": exchange.is_undone,
        "model": exchange.model,
        "cost_usd": _usd(exchange.cost),
    }


def as_markdown(session: str, exchanges: tuple[Exchange, ...]) -> str:
    """Return what was said as a Markdown text."""
    parts = [f"# {session}"]
    for one in exchanges:
        parts += ["## You", one.text, f"## {one.agent}", one.answer]
    return "\n\n".join(parts) + "\n"


def _usd(cost: int | None) -> float | None:
    return None if cost is None else cost / 1e6


def _mentioned(text: str) -> str:
    """Return the name that a message begins with, `@ann`; an address or a lone @ is none."""
    first = text.split(maxsplit=1)[0]
    name = first[1:].rstrip(":,")
    return name if first.startswith("@") and name.isidentifier() else ""


def _quoted(text: str) -> str:
    line = " ".join(printable(text).split())
    return f'"{line[:60]}{"..." if len(line) > 60 else ""}"'
