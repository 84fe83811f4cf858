"""People within a unit's work: one who takes part in a conversation speaks, and one decides on a text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agents import RunContext
from agents.run_context import Escalate, Leave, StepKey
from orchestrator.errors import NoReply
from orchestrator.events import GateOpened
from orchestrator.run import prompts
from orchestrator.run.assignment import AskWithin
from orchestrator.squad.plan import ConversationPlan
from orchestrator.units import SAID, StepPath, Unit, path_of
from providers.emit import Emit
from providers.messages import Message


async def person_speaks(
    plan: ConversationPlan, prompt: str, history: tuple[Message, ...], unit: Unit, ask: AskWithin, ctx: RunContext
) -> str:
    """Return a person's words, or those that stand for a turn that is passed over. Raise `NoReply`."""
    gate = GateOpened(path_of(unit, ctx.step), prompt, ("say",), prompts.shown_to_a_person(history[-3:]), 1)
    wait = plan.human
    if wait is not None:
        gate = replace(gate, timeout=wait.timeout, on_timeout=wait.on_timeout)

    async def asked() -> str | list[str]:
        answer = await ask(gate, ctx.step, "a person's reply")
        return answer.comment if answer.choice == "say" else [answer.choice]

    heard = b"".join(message.digest for message in history) + prompt.encode("utf-8", "replace")
    said: str | list[str] = await ctx.do(StepKey(ctx.step, 0, SAID), hashlib.sha256(heard).digest(), asked)
    if isinstance(said, str):
        return said
    if said != ["skip"]:
        raise NoReply(plan.id, 0.0 if wait is None else wait.timeout, ends=said == ["end"])
    return prompts.NO_REPLY


def escalation(unit: Unit, ask: AskWithin, ctx: RunContext, emit_at: Callable[[Unit, StepPath], Emit]) -> Escalate:
    """Return what asks a person whether a text may pass, once, at a place of its own."""

    async def escalate(place: StepPath, question: str, text: str, schema: Mapping[str, Any] | None) -> Leave:
        here = ctx.at(step=place, emit=emit_at(unit, place))
        shown, choices = {"text": text}, ("approve", "reject")
        gate = GateOpened(path_of(unit, place), question, choices, shown, 1, editable="text", schema=schema)

        async def asked() -> list[str]:
            answer = await ask(gate, place, "a person's word on a text")
            return [answer.choice, answer.comment, *([] if answer.edited is None else [answer.edited])]

        about = hashlib.sha256(f"{question}\0{text}".encode("utf-8", "surrogatepass")).digest()
        choice, comment, *edited = await here.do(StepKey(place, 0, SAID), about, asked)
        return Leave(choice == "approve", comment, *edited)

    return escalate
