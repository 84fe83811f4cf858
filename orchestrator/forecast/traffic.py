"""What recorded runs asked of providers, and what these did: the turns of a journal as plain values. Pure.

Left out is what tells nothing of providers: what the offline stub answered, and turns that were cut short or asked
nobody. What a fork took over was asked by the run that it came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event
from orchestrator.units import StepPath, Unit
from providers.events import AttemptEnded, WaitingForProvider
from providers.messages import Needs, Usage

STUB = "stub"
"""The provider that answers offline."""
MOST_TURNS = 20_000
"""Of a window the latest so many are taken: a simulation of them takes seconds."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One attempt. `began` is epoch seconds UTC, `error` the class of what it failed with, and was billed all the same
    for `lost` micro-USD; None: it was answered, with so many tokens of `output`."""

    began: float
    seconds: float
    provider: str
    model: str
    error: str | None = None
    output: int = 0
    lost: int = 0

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One turn, which began `at` (epoch seconds UTC) and was answered after `seconds`.

    `usage` None: it failed. `cost` (micro-USD) is of its answer, None: unknown; `lost` of attempts that brought none.
    `waited` are the seconds for which it held back, for room in a limit or for a provider to recover.
    """

    at: float
    seconds: float
    run: str
    agent: str
    calls: tuple[RecordedCall, ...]
    usage: Usage | None
    cost: int | None = None
    lost: int = 0
    waited: float = 0.0
    needs: Needs | None = None
    """What it asks for, where no squad says it: of a client of the gateway, whose `run` is empty."""

    @property
    def answered_by(self) -> RecordedCall | None:
        """The call that brought the answer; None: there is none."""
        return None if self.usage is None else next((call for call in reversed(self.calls) if not call.error), None)


@dataclass(frozen=True, slots=True)
class RecordedTraffic:
    """The `turns` of a time, oldest first. `squads` names the squad of each run, `needs` what the agents of each squad
    ask for; of others only the name is known. `left_out` counts turns by why they are not among them. `routings` are
    the routing files under which the latest run of each squad went, as texts; "" for the built-in one."""

    turns: tuple[RecordedTurn, ...]
    squads: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[tuple[str, str], Needs] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    routings: Mapping[str, str] = field(default_factory=dict)

    def needs_of(self, turn: RecordedTurn) -> Needs:
        """Return what a turn asks for."""
        if turn.needs is not None:
            return turn.needs
        squad = self.squads.get(turn.run, "")
        return self.needs.get((squad, turn.agent)) or Needs(agent=turn.agent or None)


WorkPlace = tuple[str, Unit | None, StepPath]
"""Where an agent works: one turn at a time. What providers do is recorded without the number of a turn."""
OFFLINE, CUT_SHORT, NOBODY = "answered by the offline stub", "cut short", "asked no provider"


@dataclass(slots=True)
class _OpenTurn:
    """A turn whose end is not read yet."""

    at: float
    agent: str
    calls: list[tuple[RecordedCall, str]] = field(default_factory=list)
    """Each with how it ended."""
    lost: int = 0
    waited: float = 0.0


def turns_in(events: Iterable[Event]) -> tuple[list[RecordedTurn], Counter[str]]:
    """Return the turns that events of runs tell of, oldest first, and how many were left out, by why.

    The events of one run are in their order.
    """
    left_out = Counter[str]()
    return sorted(_told(events, left_out), key=lambda turn: turn.at), left_out


def _told(events: Iterable[Event], left_out: Counter[str]) -> Iterator[RecordedTurn]:
    opened: dict[WorkPlace, _OpenTurn] = {}

    def failed(place: WorkPlace) -> Iterator[RecordedTurn]:
        turn = opened.pop(place)
        if not turn.calls:
            left_out[NOBODY] += 1
        elif turn.calls[-1][1] != "failed":
            left_out[CUT_SHORT] += 1
        else:
            yield from _turn(place[0], turn, None, left_out)

    for run, unit, step, _, _, at, data in events:
        place = (run, unit, step)
        if isinstance(data, TurnStarted):
            if place in opened:
                yield from failed(place)
            opened[place] = _OpenTurn(at, data.agent)
        elif (turn := opened.get(place)) is None:
            continue  # its beginning is not part of the time that is looked at
        elif isinstance(data, AttemptEnded):
            took = max(data.ms, 0.0) / 1000
            error = None if data.outcome == "ok" else data.error or data.outcome
            lost = data.cost or 0
            call = RecordedCall(at - took, took, data.provider, data.model, error, lost=lost)
            turn.calls.append((call, data.outcome))
            turn.lost += lost
        elif isinstance(data, WaitingForProvider):
            turn.waited += max(0.0, data.until - at)
        elif isinstance(data, TurnEnded):
            yield from _turn(run, opened.pop(place), (at, data), left_out)
    for place in list(opened):
        yield from failed(place)


def _turn(
    run: str, turn: _OpenTurn, ended: tuple[float, TurnEnded] | None, left_out: Counter[str]
) -> Iterator[RecordedTurn]:
    """Yield the turn, if it tells something of providers."""
    calls = [call for call, how in turn.calls if how != "cancelled"]
    if any(call.provider == STUB for call in calls):
        left_out[OFFLINE] += 1
    elif not calls:
        left_out[NOBODY] += 1
    elif ended is None:
        last = calls[-1]
        took = max(0.0, last.began + last.seconds - turn.at)
        yield RecordedTurn(turn.at, took, run, turn.agent, tuple(calls), None, None, turn.lost, turn.waited)
    else:
        at, told = ended
        usage = told.usage if told.usage.total or told.estimate is None else told.estimate.usage
        calls = _with_output(calls, usage.output + usage.reasoning)
        took = max(0.0, at - turn.at)
        yield RecordedTurn(turn.at, took, run, turn.agent, tuple(calls), usage, told.cost, turn.lost, turn.waited)


def _with_output(calls: list[RecordedCall], tokens: int) -> list[RecordedCall]:
    """Return the calls; those that were answered share the tokens: a long answer may have come in several parts."""
    answered = sum(not call.error for call in calls)
    share = round(tokens / answered) if answered else 0
    return [
        call if call.error else RecordedCall(call.began, call.seconds, call.provider, call.model, None, share)
        for call in calls
    ]
