"""Chats that go on at the server: each message opens its session, is answered and recorded, and closes it again.

So nothing of a chat is held between two messages: it goes on at the command line as well, and after a restart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from orchestrator.errors import AnswerSuspended
from orchestrator.events import Event, RunResumed, UserSaid
from orchestrator.journal.protocols import Journal, RunBusy
from orchestrator.options import RunOptions
from orchestrator.session import Session
from orchestrator.squad.load import Squad


@dataclass(slots=True)
class _Answering:
    """An answer that is made here."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    closed: anyio.Event = field(default_factory=anyio.Event)


class ChatHost:
    """Has messages of chats answered, beside each other. `options` are those of each; `out`: where their files are."""

    def __init__(self, tasks: TaskGroup, journal: Journal, options: RunOptions, out: Path | None) -> None:
        self._tasks, self._journal, self._options, self._out = tasks, journal, options, out
        self._answering: dict[str, _Answering] = {}
        self.failed: dict[str, str] = {}
        """Why chats could not be gone on with, by their id."""

    async def say(self, squad: Squad, chat: str, text: str, agent: str | None, *, is_new: bool = False) -> None:
        """Say something in a chat, and return once it is recorded; the answer is made meanwhile.

        Raise `RunBusy` where an answer is being made, here or elsewhere, and what opening a session raises.
        """
        await self._begin(squad, chat, is_new, agent, lambda session: session.say(text, to=agent))

    async def go_on(self, squad: Squad, chat: str) -> None:
        """Have an answer made that was cut short, or waited for a person. Raise what `say` raises."""
        await self._begin(squad, chat, False, None, lambda session: session.go_on())

    def stop(self, chat: str) -> bool:
        """End the answer that is being made here; False: none is."""
        if (answering := self._answering.get(chat)) is None:
            return False
        answering.scope.cancel()
        return True

    async def ended(self) -> None:
        """Wait until no answer is being made here."""
        while self._answering:
            await next(iter(self._answering.values())).closed.wait()

    async def _begin(
        self, squad: Squad, chat: str, is_new: bool, agent: str | None, work: Callable[[Session], Awaitable[Any]]
    ) -> None:
        if chat in self._answering:
            raise RunBusy(f"an answer is being made in {chat}: wait for it")
        answering = self._answering[chat] = _Answering()
        try:
            await self._tasks.start(self._drive, squad, chat, is_new, agent, work, answering)
        except BaseException:
            self._closed(chat, answering)  # it did not begin
            raise

    async def _drive(
        self,
        squad: Squad,
        chat: str,
        is_new: bool,
        agent: str | None,
        work: Callable[[Session], Awaitable[Any]],
        answering: _Answering,
        *,
        task_status: TaskStatus[None],
    ) -> None:
        told: list[None] = []

        def heard(event: Event) -> None:
            if isinstance(event.data, UserSaid | RunResumed) and not told:
                told.append(task_status.started())

        try:
            with answering.scope:
                async with self._session(squad, chat, is_new, agent, heard) as session:
                    await work(session)
            if not told:  # nothing was left to be answered, or it was stopped at once
                told.append(task_status.started())
        except AnswerSuspended:
            pass  # its question is recorded, and shown
        except Exception as error:  # the boundary of a chat's work, as of a task: it is recorded with it
            if not told:
                raise
            self.failed[chat] = str(error) or type(error).__name__
        else:
            self.failed.pop(chat, None)
        finally:
            self._closed(chat, answering)

    def _session(
        self, squad: Squad, chat: str, is_new: bool, agent: str | None, heard: Callable[[Event], None]
    ) -> Session:
        given = self._options
        return Session(
            squad,
            id=chat,
            journal=self._journal,
            agent=agent if is_new else None,
            out=self._out / chat if is_new and self._out is not None else None,
            manager=given.manager,
            environ=given.environ,
            offline=given.offline,
            clock=given.clock,
            state=given.state,
            notify=given.notify,
            trust=given.trust,
            memory=given.memory,
            deps=given.deps,
            hooks=given.hooks,
            on_event=heard,
        )

    def _closed(self, chat: str, answering: _Answering) -> None:
        if self._answering.get(chat) is answering:
            del self._answering[chat]
        answering.closed.set()
