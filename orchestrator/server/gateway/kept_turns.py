"""The turns of the gateway's clients, as recorded traffic has them: when each came, what it asked for, what providers
did. What was said is not among it. Pure, but for its SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.forecast.traffic import STUB, RecordedCall, RecordedTurn
from orchestrator.server.json_text import as_json
from providers.events import AttemptEnded, WaitingForProvider
from providers.messages import Capability, Needs, Usage

TABLE = "CREATE TABLE IF NOT EXISTS turns (at REAL NOT NULL, turn TEXT NOT NULL)"
INDEX = "CREATE INDEX IF NOT EXISTS turns_at ON turns (at)"
KEPT_S = 31 * 86_400.0
MOST = 50_000
"""Turns that are kept, the latest."""
LOOKS_EVERY = 1000
"""Turns after which those that are too many are forgotten."""


@dataclass(slots=True)
class TurnSeen:
    """One request's turn as it goes on; instants are epoch seconds."""

    needs: Needs
    began: float
    calls: list[RecordedCall] = field(default_factory=list)
    lost: int = 0
    waited: float = 0.0

    def hear(self, event: Any, now: float) -> None:
        """Take an event of the turn."""
        match event:
            case AttemptEnded(outcome="cancelled"):
                pass
            case AttemptEnded():
                took = max(event.ms, 0.0) / 1000
                error = None if event.outcome == "ok" else event.error or event.outcome
                lost = event.cost or 0
                self.calls.append(RecordedCall(now - took, took, event.provider, event.model, error, lost=lost))
                self.lost += lost
            case WaitingForProvider(until=until):
                self.waited += max(0.0, until - now)

    def ended(self, usage: Usage | None, cost: int | None, now: float) -> RecordedTurn | None:
        """Return the turn, answered with this `usage`, or not (None). None: it tells nothing of providers."""
        if not self.calls or any(call.provider == STUB for call in self.calls):
            return None
        calls, last = list(self.calls), self.calls[-1]
        if usage is None and last.error is None:  # its client left before the answer was whole
            return None
        if usage is not None and last.error is None:
            output = usage.output + usage.reasoning
            calls[-1] = RecordedCall(last.began, last.seconds, last.provider, last.model, None, output)
        took = max(0.0, now - self.began)
        return RecordedTurn(self.began, took, "", "", tuple(calls), usage, cost, self.lost, self.waited, self.needs)


def make_table(db: sqlite3.Connection) -> None:
    """Make the table where there is none: files of earlier releases have none."""
    db.execute(TABLE)
    db.execute(INDEX)


def write_turns(
    db: sqlite3.Connection, turns: Sequence[RecordedTurn], now: float, *, tidy: bool, most: int = MOST
) -> None:
    """Add turns, in the open transaction; `tidy`: forget those that are too old, or too many."""
    db.executemany("INSERT INTO turns VALUES (?, ?)", [(turn.at, _written(turn)) for turn in turns])
    if tidy:
        db.execute("DELETE FROM turns WHERE at < ?", (now - KEPT_S,))
        newest = "SELECT at FROM turns ORDER BY at DESC LIMIT 1 OFFSET ?"
        db.execute(f"DELETE FROM turns WHERE at <= ({newest})", (most,))  # noqa: S608  # made of constants


def read_turns(db: sqlite3.Connection, since: float, until: float, most: int) -> list[RecordedTurn]:
    """Return the latest turns of a time, oldest first."""
    query = "SELECT turn FROM turns WHERE at >= ? AND at < ? ORDER BY at DESC LIMIT ?"
    return [_read(text) for (text,) in db.execute(query, (since, min(until, 1e300), most))][::-1]


def _written(turn: RecordedTurn) -> str:
    """Return a turn as text: what it asked for, and not whose it was."""
    needs, usage = turn.needs or Needs(), turn.usage
    asked = [needs.agent, needs.persona, needs.tier, needs.model, needs.chain, [*needs.capabilities]]
    calls = [
        [call.began, call.seconds, call.provider, call.model, call.error, call.output, call.lost] for call in turn.calls
    ]
    spent = None if usage is None else [usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning]
    return as_json([turn.at, turn.seconds, asked, calls, spent, turn.cost, turn.lost, turn.waited]).decode()


def _read(text: str) -> RecordedTurn:
    at, seconds, asked, calls, spent, cost, lost, waited = json.loads(text)
    agent, persona, tier, model, chain, able = asked
    capabilities = frozenset(map(Capability, able))
    needs = Needs(agent, persona, tier, model, capabilities=capabilities, chain=tuple(chain))
    usage = None
    if spent is not None:
        read, output, cached, kept, reasoning = spent
        usage = Usage(read, output=output, cache_read=cached, cache_write=kept, reasoning=reasoning)
    made = tuple(RecordedCall(*call) for call in calls)
    return RecordedTurn(at, seconds, "", "", made, usage, cost, lost, waited, needs)
