"""What was asked of providers before this process began: what the pages tell of the last hour outlives a restart."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.forecast.traffic import RecordedTraffic, RecordedTurn
from orchestrator.journal.protocols import Journal
from orchestrator.recorded_traffic import recorded_traffic
from orchestrator.server.gateway.store import GatewayStore
from providers import errors
from providers.client.manager import ProviderManager
from providers.errors import ProviderError
from providers.routing.fleet import Fleet
from providers.routing.traffic import KEPT_S, AttemptSeen

MOST_TURNS = 5000


async def look_back(manager: ProviderManager, journal: Journal, store: GatewayStore) -> None:
    """Count what runs and the gateway's clients asked within the last hour, as if it had been asked here.

    Raise `JournalDamaged` and `MemoryUnusable`.
    """
    now = manager.clock()
    clients = await store.turns(now - KEPT_S, now, MOST_TURNS)
    traffic = await recorded_traffic(journal, now - KEPT_S, now, MOST_TURNS, clients)
    if not traffic.turns:
        return
    for attempt in sorted(attempts_in(traffic, manager.fleet), key=lambda attempt: attempt.at):
        manager.traffic.saw(attempt)
    manager.traffic.began = min(manager.traffic.began, traffic.turns[0].at)


def attempts_in(traffic: RecordedTraffic, fleet: Fleet) -> Iterator[AttemptSeen]:
    """Yield the attempts of recorded turns as the router would have seen them. Pure."""
    for turn in traffic.turns:
        needs = traffic.needs_of(turn)
        tier = fleet.ranking(needs).tier
        after: tuple[str, str] | None = None
        for call in turn.calls:
            yield AttemptSeen(
                at=call.began + call.seconds,
                candidate=call.name,
                outcome="ok" if call.error is None else "failed",
                seconds=call.seconds,
                tier=tier,
                agent=needs.agent or needs.persona or "",
                error=call.error,
                fault=_fault(call.error),
                after=after,
                input_tokens=_input(turn) if call is turn.answered_by else 0,
                output_tokens=call.output,
            )
            after = None if call.error is None else (call.name, call.error)


def _input(turn: RecordedTurn) -> int:
    return 0 if turn.usage is None else turn.usage.input


def _fault(error: str | None) -> errors.Fault | None:
    kind = None if error is None else getattr(errors, error, None)
    return kind.fault if isinstance(kind, type) and issubclass(kind, ProviderError) else None
