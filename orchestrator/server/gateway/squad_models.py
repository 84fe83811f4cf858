"""A whole squad that answers as one model: its inputs in the last message, its progress as thoughts, its outputs told.

The run is recorded as any other. A client that leaves cuts it short where it is: it can be resumed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from orchestrator.errors import OrchestratorError, RunNotFound
from orchestrator.mcp_server import RunProgress, text_of
from orchestrator.run.approvals import questions_of
from orchestrator.run.result import RunResult
from orchestrator.run_opening import new_run_id
from orchestrator.server.gateway.admission import Grant
from orchestrator.server.gateway.allowance import RequestSize
from orchestrator.server.gateway.failures import OUT_OF_QUOTA, GatewayFailure, invalid, stopping
from orchestrator.server.gateway.killed_runs import bill_of_run
from orchestrator.server.gateway.sizing import size_of_run
from orchestrator.server.hosting import HostStopping
from orchestrator.server.state import ServerState
from orchestrator.squad.load import Squad
from providers.client.reservations import BOOK_S
from providers.documents.problems import ProblemsFound
from providers.messages import (
    Delta,
    FinishReason,
    Message,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
)
from providers.transport.closing import undisturbed

AS_TEXT = ("string", "file", "image")
"""Inputs whose value is the message as it stands."""


class SquadAnswerer:
    """Runs a squad for one request. Raise `GatewayFailure` where the request does not say what it is to be run with."""

    def __init__(self, state: ServerState, squad: Squad, request: Request) -> None:
        if request.tools:
            raise invalid("a squad calls the tools of its own agents, and no others", "tools", "unsupported_parameter")
        if request.output_schema is not None:
            raise invalid("a squad's outputs have the shape that it declares", "response_format")
        self._state, self._squad = state, squad
        self._request, self._inputs = request, inputs_in(squad, request)
        self.run = new_run_id(squad.name, state.clock())

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-orchestrator-run": self.run.encode("ascii", "replace").decode()}

    def size(self, now: float) -> RequestSize:  # noqa: ARG002  # an `Answerer`
        return size_of_run(self.run, self._squad, self._request)

    async def whole(self, grant: Grant) -> Response:
        """Return the outputs of a run."""
        async with self.pieces(grant) as heard:
            async for _ in heard:
                pass
        assert heard.response is not None, "a run that was followed to its end has an answer"
        return heard.response

    @asynccontextmanager
    async def pieces(self, grant: Grant) -> AsyncIterator[RunHeard]:
        """Yield the run's progress, then its outputs. It may spend what the grant holds."""
        capped = {} if grant.held is None else {"max_cost_usd": grant.held / 1e6}
        try:
            async with self._state.host.driving(self._squad, self._inputs, self.run, **capped) as driven:
                yield RunHeard(driven, self._answer)
        except ProblemsFound as error:
            raise invalid(str(error), "messages") from None
        except HostStopping as error:
            raise stopping(str(error)) from None
        except OrchestratorError as error:
            raise GatewayFailure(500, "ours", f"the run {self.run}: {error}", "run_failed") from None
        finally:
            await undisturbed(partial(self._charge, grant), BOOK_S)

    async def _charge(self, grant: Grant) -> None:
        """Tell the grant what the run has come to so far, by its record."""
        try:
            events = await self._state.journal.events(self.run)
        except RunNotFound:  # it never began
            return
        bill, cost, tokens = bill_of_run(events)
        if tokens:
            grant.charged(cost, tokens)
            grant.billed(*self._as_model, bill)

    @property
    def _as_model(self) -> tuple[str, str]:
        return "orchestrator", f"squad/{self._squad.name}"

    async def _answer(self, result: RunResult, last: Any) -> Response:
        if result.status == "waiting":
            names = [gate.name for gate in (await questions_of(self._state.journal, self.run)).open]
            text = (
                f"the run {self.run} awaits a person's answer ({', '.join(names)}): see `orchestrator approvals`, or "
                "the server's page of the run; it goes on there, and its outputs are with it"
            )
            raise GatewayFailure(409, "invalid_request", text, "awaiting_approval")
        if result.status != "done":
            why = "; ".join(f"{task}: {error}" for task, error in result.errors.items())
            text = f"the run {self.run} is not done: it is {result.status}. {why}".strip()
            if result.status in ("stopped", "paused"):  # by a cap; `runs resume` goes on with it
                raise GatewayFailure(429, "quota", text, OUT_OF_QUOTA)
            raise GatewayFailure(500, "ours", text, "run_failed")
        outputs = dict(result.outputs) if self._squad.spec.outputs else {"output": last}
        said = Text(self._state.mask(text_of(outputs)))
        whole = Message("assistant", (said,))
        return Response(whole, FinishReason.STOP, result.usage, *self._as_model, cost=result.cost)


class RunHeard:
    """A run as an answer: what it is at are thoughts, its outputs the text."""

    def __init__(self, driven: Any, answer: Callable[[RunResult, Any], Any]) -> None:
        self._driven, self._answer = driven, answer
        self.speaker, self.begun = None, 0
        self.response: Response | None = None

    async def __aiter__(self) -> AsyncIterator[Delta]:
        progress = RunProgress()
        async for event in self._driven:
            if words := progress.words(event):
                yield ReasoningDelta(f"{words}\n")
        self.response = await self._answer(self._driven.result, progress.last)
        for part in self.response.message.parts:
            if isinstance(part, Text) and part.text:
                yield TextDelta(part.text)


def inputs_in(squad: Squad, request: Request) -> Mapping[str, Any]:
    """Return a squad's inputs as the last message of the user has them. Raise `GatewayFailure` where it has not.

    A JSON object of inputs is taken as such. Other text is the one input that is required; where none is, it is the
    first. Several that are required must come as an object.
    """
    declared = squad.spec.inputs
    said = next((one for one in reversed(request.messages) if one.role == "user"), None)
    text = "" if said is None else said.text
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and whole and whole.keys() <= declared.keys():
        return whole
    needed = [name for name, one in declared.items() if one.default is None]
    if len(needed) > 1:
        example = json.dumps(dict.fromkeys(needed, "..."))
        words = f"the squad '{squad.name}' needs several inputs: {', '.join(needed)}; write the message as {example}"
        raise invalid(words, "messages", "several_inputs")
    if not declared or not text.strip():
        return {}
    name = needed[0] if needed else next(iter(declared))
    return {name: text} if declared[name].type in AS_TEXT else squad.coerce([(name, text)])
