"""Notices about the process, which no run records: its shared ledger, alerts that were not posted, answers too late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.events import AnswerOverruled
from orchestrator.subscribers import SubscriberTrouble
from providers.emit import Emit
from providers.events import AlertNotPosted, LedgerEmptied, LedgerLost, LedgerRegained, ProviderExchange

STUB_NOTICE = "OFFLINE STUB: no model is asked, every answer is canned"


def telling(say: Callable[[str], None], show: Callable[[str], None]) -> Emit:
    """Return an emitter that calls `say` with one line for each notice, and `show` with what was asked to be shown."""

    def emit(event: Any) -> None:
        match event:
            case LedgerLost(reason, share):
                say(f"the ledger of limits is down ({reason}): continuing alone with {share:.0%} of each limit")
            case AlertNotPosted(variable, which, reason):
                say(f"an alert about the budget of the {which} was not posted to {variable}: {reason}")
            case AnswerOverruled(task, "", stands, by):
                say(f"{task}: no answer is needed here any more: {stands} by {by}")
            case AnswerOverruled(task, choice, stands, by):
                say(f"{task}: your answer {choice} does not count: it was answered before, {stands} by {by}")
            case ProviderExchange():
                show(exchange_lines(event))
            case SubscriberTrouble(who, reason):
                say(f"{who} does not receive all events: {reason}")
            case LedgerEmptied():
                say("the ledger of limits had lost its counts; what this process used is counted again")
            case LedgerRegained():
                say("the ledger of limits is back; what was used meanwhile is counted")

    return emit


def exchange_lines(seen: ProviderExchange) -> str:
    """Return what went to a provider and came back, as lines."""
    where = " ".join(filter(None, (seen.run, seen.place, f"turn {seen.turn}" if seen.turn else "")))
    came = seen.error or f"{seen.status}"
    lines = [f"[{seen.provider}] {where}".rstrip(), f"> {seen.sent}"]
    lines += [f"> {name}: {value}" for name, value in seen.sent_headers.items()]
    lines += [f"> {seen.sent_body}", f"< {came} after {seen.ms:.0f} ms"]
    lines += [f"< {name}: {value}" for name, value in seen.headers.items()]
    return "\n".join([*lines, f"< {seen.body}"] if seen.body else lines)
