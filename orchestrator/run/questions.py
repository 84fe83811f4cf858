"""The questions of a run that this process drives: who is asked, what is recorded, and how long each is waited for.

A question is put to the person at this process, where there is one, and may be answered from any other. Where nobody
here can answer, its unit waits on as long as something else is at work, since an answer may come; then it is suspended.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from agents.run_context import CallToApprove, Leave, Suspended
from agents.untrusted import told
from orchestrator.events import AnswerOverruled, GateAnswered, GateOpened
from orchestrator.journal.protocols import Journal, JournalError
from orchestrator.run.approvals import decide, edit_fault, hear, recorded_answer, refuse_without_comment
from orchestrator.run.history import RunHistory
from orchestrator.run.recorder import Recorder
from orchestrator.run.work_clock import RunClock, UnitClock
from orchestrator.squad.plan import Approval
from orchestrator.units import StepPath, Unit, text_of
from providers.emit import Emit, ignore

Ask = Callable[[GateOpened], Awaitable[GateAnswered | None]]
"""Asks a person; None: no answer can be had now, so the unit or the run pauses."""


RUN = "Run the tool "


def tool_asked_for(gate: GateOpened) -> str | None:
    """Return the tool that a question asks to run; None: it asks for something else."""
    if "call" not in gate.shown or not gate.prompt.startswith(RUN):
        return None
    return gate.prompt.removeprefix(RUN).partition("?")[0].partition(" ")[0]


class Asker:
    """Asks the questions of one run."""

    def __init__(
        self,
        journal: Journal,
        recorder: Recorder,
        ask: Ask,
        past: RunHistory,
        clock: RunClock,
        notify: Emit = ignore,
        *,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        """`flush` lets the journal have all events so far."""
        self.here = 0
        """Questions to which a person at this process may yet answer."""
        self._journal = journal
        self._recorder = recorder
        self._ask = ask
        self._past = past
        self._clock = clock
        self._notify = notify
        self._flush = flush
        self._released = anyio.Event()

    def release(self) -> None:
        """Suspend the units that wait for a person whom nobody here can ask."""
        released, self._released = self._released, anyio.Event()
        released.set()

    # -- a task that a person answers

    async def gate(self, gate: GateOpened, plan: Approval, opened_at: float, now: float) -> GateAnswered | None:
        """Return the answer to an approval that was opened at `opened_at`, None where nobody here can answer now.

        Where its time is up that is the answer, entered like any other: one that was given before stands. With
        `on_timeout: pause` no answer comes of it; a resumed run asks for as long again.
        """
        left = _left(plan, opened_at, now)
        if plan.on_timeout == "pause" and left <= 0:
            left = plan.timeout or 0.0
        with self._clock.asking():
            return await self._gate(gate, plan, anyio.current_time() + left)

    async def _gate(self, gate: GateOpened, plan: Approval, until: float) -> GateAnswered | None:
        await self._flush()
        answer = await self._recorded(gate)
        if answer is None:
            with anyio.CancelScope(deadline=until):
                answer = await self._answer_here(gate)
        if answer is None and anyio.current_time() >= until and plan.on_timeout != "pause":
            answer = await self._enter(gate, GateAnswered(gate.name, plan.on_timeout, "", "timeout"))
        return answer

    async def later(self, gate: GateOpened, plan: Approval, opened_at: float, now: float) -> GateAnswered:
        """Return the answer that comes from elsewhere, or when the time of an approval is up."""
        left = math.inf if plan.on_timeout == "pause" else _left(plan, opened_at, now)
        with self._clock.asking():
            with anyio.CancelScope(deadline=anyio.current_time() + left):
                return await hear(self._journal, self._recorder.run_id, gate)
            return await self._enter(gate, GateAnswered(gate.name, plan.on_timeout, "", "timeout"))

    # -- a question in a unit's work

    async def within(self, unit: Unit, step: StepPath, gate: GateOpened, clock: UnitClock, what: str) -> GateAnswered:
        """Ask a question of a unit's work, and record it and its answer. Raise `Suspended` where none can be had."""
        given = self._past.answers.get(gate.name, [])
        if len(given) >= gate.attempt:
            return given[-1]
        known, left = self._past.gates.get(gate.name), _seconds(gate.timeout)
        if known is not None and known.opened.attempt == gate.attempt:
            gate = _as_asked(gate, known.opened)
            left = min(known.at + left - self._recorder.now(), left)
        until = anyio.current_time() + left
        self._recorder.record(gate, unit, step)
        await self._flush()
        answer = await self._recorded(gate)
        if answer is None:
            with clock.asking(), anyio.CancelScope(deadline=until):
                answer = await self._answer_here(gate)
                if answer is None:
                    answer = await self._answer_elsewhere(gate)
        if answer is None and anyio.current_time() >= until:
            answer = await self._enter(gate, GateAnswered(gate.name, gate.on_timeout, "", "timeout"))
        if answer is None:
            raise Suspended(what)
        self._recorder.record(answer, unit, step)
        await self._flush()  # an answer is recorded before anything follows from it
        return answer

    async def leave(self, unit: Unit, call: CallToApprove, clock: UnitClock, source: str = "") -> Leave:
        """Return a person's leave for one call: that which was given to it already, or what a person says now.

        `source` is the digest of what runs where the tool is called. Leave for a tool that is another now is none.
        """
        name, tool = text_of(unit, call.key), _digest(call.tool, call.definition, source)
        given = self._past.answers.get(name, [])
        arguments = call.arguments
        if given:
            last = given[-1]
            if last.choice != "approve" or not (call.is_unknown or last.tool not in ("", tool)):
                return _leave(last)
            arguments = arguments if last.edited is None else last.edited
        again = " again, though it was cut short and may have taken effect" if call.is_unknown else ""
        after = f" The agent has read text that others wrote ({told(call.after)})." if call.after else ""
        shown = {"call": name, "arguments": arguments}  # leave for one call is no leave for the next one like it
        gate = GateOpened(
            name,
            f"{RUN}{call.tool}{again}?{after}",
            ("approve", "reject"),
            shown,
            len(given) + 1,
            call.is_unknown,
            editable="arguments",
            schema=call.parameters,
            tool=tool,
            # Leave that was given before the agent read what others wrote does not cover what it does after it.
            grant="" if call.is_unknown else _digest(tool, call.agent, "after" if call.after else ""),
        )
        answer = await self.within(unit, (), gate, clock, f"a person's approval of {call.tool}")
        if answer.choice == "approve" and answer.edited is None and arguments != call.arguments:
            answer = replace(answer, edited=arguments)
        return _leave(answer)

    # -- where answers come from

    async def _recorded(self, gate: GateOpened) -> GateAnswered | None:
        return await recorded_answer(self._journal, self._recorder.run_id, gate)

    async def _enter(self, gate: GateOpened, given: GateAnswered) -> GateAnswered:
        """Enter an answer that was given in this process, and return the one that stands.

        Raise `ValueError` where what a program answers cannot replace what was asked about, `CommentMissing` where it
        asks for changes without a comment.
        """
        refuse_without_comment(gate, given.choice, given.comment)
        if given.edited is not None and (why := edit_fault(gate, given.edited)):
            raise ValueError(f"{gate.name}: {why}")
        decided = await decide(self._journal, self._recorder.run_id, gate, given)
        if not decided.is_own and given.by != "timeout":
            self._notify(AnswerOverruled(gate.name, given.choice, decided.answer.choice, decided.answer.by))
        return decided.answer

    async def _answer_here(self, gate: GateOpened) -> GateAnswered | None:
        """Ask here, while the answer may also come from elsewhere. None: nobody here can answer."""
        given: GateAnswered | None = None
        is_asked = True
        self.here += 1
        try:
            async with self._heard(gate) as heard:
                given = await self._ask(gate)
                is_asked = False
        finally:
            self.here -= 1
        if not heard:
            return None if given is None else await self._enter(gate, given)
        stands = heard[0]
        if is_asked or given is not None:
            self._notify(AnswerOverruled(gate.name, "" if given is None else given.choice, stands.choice, stands.by))
        return stands

    async def _answer_elsewhere(self, gate: GateOpened) -> GateAnswered | None:
        """Wait for an answer from elsewhere, as long as something else is at work."""
        released = self._released
        async with self._heard(gate) as heard:
            self._clock.on_change()  # nobody here can answer: perhaps nothing else is at work either
            await released.wait()
        return heard[0] if heard else None

    @asynccontextmanager
    async def _heard(self, gate: GateOpened) -> AsyncIterator[list[GateAnswered]]:
        """Cut the block short once an answer comes from elsewhere, which is then in the list."""
        heard: list[GateAnswered] = []
        failures: list[JournalError] = []

        async def listen() -> None:
            try:
                heard.append(await hear(self._journal, self._recorder.run_id, gate))
            except JournalError as error:
                failures.append(error)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            yield heard
            tasks.cancel_scope.cancel()
        if failures:
            raise failures[0]


def _leave(answer: GateAnswered) -> Leave:
    return Leave(answer.choice == "approve", answer.comment, answer.edited)


def _digest(*said: str) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _as_asked(gate: GateOpened, known: GateOpened) -> GateOpened:
    """Return a question as it is on record where it is still the same, so that an answer to that one counts.

    An earlier release recorded less of it.
    """
    gate = replace(gate, first_asked_as=known.first_asked_as)  # it was given another name before, perhaps
    if known.tool in ("", gate.tool):
        return replace(gate, editable=known.editable, schema=known.schema, tool=known.tool, grant=known.grant)
    return gate


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout


def _left(plan: Approval, opened_at: float, now: float) -> float:
    """Return the seconds that an approval leaves: never more than all of its time, be the clock set back meanwhile."""
    return math.inf if plan.timeout is None else min(opened_at + plan.timeout - now, plan.timeout)
