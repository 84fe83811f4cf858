"""How providers behaved, as far as recorded calls tell: latencies, errors, and when they were down. Pure.

A model's answers take the time that was fitted to its recorded ones, times one of the factors by which these differed
from that. Faults that came one after the other, more of them than chance would bring, are a time in which it was down;
the others are a share of its calls.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, log
from statistics import mean, median

from orchestrator.forecast.traffic import RecordedCall
from providers.catalog.model import Limit
from providers.simulation import Behaviour, Latency, ModelBehaviour, Outage
from providers.simulation.scenario import ErrorKind, Mode
from providers.windows import Rolling

FACTORS = 256
"""Quantiles of what was measured that are kept."""
LEAST_OUTAGE = 3
"""Faults in a row that are no outage if they are fewer."""
LIMITED = "RateLimited"
"""What a call fails with that is one too many."""
MINUTE = 60.0
OFF = 0.1
"""Calls that a limit of requests a minute may be wrong about, as a share of the refusals that it explains."""
BY_CHANCE = 0.05
"""How likely it may be that chance alone brings as many faults in a row as are taken for an outage."""
BEFORE = 1.0
"""Seconds before the first call that ran into an outage in which it is taken to have begun."""
AFTERWARDS = 3600.0
"""Seconds for which an outage goes on beyond the last call, where no answer shows its end."""

MODES: Mapping[str, Mode] = {
    "Unreachable": "refuses",
    "WrongAddress": "refuses",
    "TimedOut": "hangs",
    "StreamBroken": "errors",
    "ServerFault": "errors",
    "Overloaded": "errors",
    "AuthFailed": "blocks",
    "Blocked": "blocks",
    "Unsupported": "retires",
    "RateLimited": "limits",
    "QuotaSpent": "limits",
}
"""How a provider is down whose calls end so, by the class of the error; other errors are about one request alone."""
KINDS: Mapping[str, ErrorKind] = {
    "Unreachable": "unreachable",
    "WrongAddress": "unreachable",
    "TimedOut": "hangs",
    "Overloaded": "overloaded",
    "RateLimited": "rate_limited",
    "QuotaSpent": "rate_limited",
    "RequestTooLarge": "refused",
    "BadRequest": "refused",
    "ContextTooLong": "refused",
    "Unsupported": "refused",
    "Declined": "declined",
    "BadReply": "malformed",
    "WrongShape": "malformed",
}
"""How a call fails; what is not here is a server's fault."""


@dataclass(frozen=True, slots=True)
class _Down:
    """A time in which calls failed, epoch seconds, and the calls that showed it."""

    begins: float
    ends: float
    how: Mode
    calls: tuple[RecordedCall, ...]

    def outage(self, starts: float) -> Outage:
        return Outage(max(0.0, self.begins - starts), self.ends - max(self.begins, starts), self.how)


def behaviour_of(calls: Sequence[RecordedCall], starts: float) -> Behaviour:
    """Return how one provider behaved whose recorded `calls` these are, oldest first; outages count from `starts`."""
    limits = {model: limit_in([call for call in calls if call.model == model]) for model in {c.model for c in calls}}
    hidden = tuple(limit for _, limit in sorted(limits.items()) if limit is not None)
    calls = [call for call in calls if call.error != LIMITED or limits[call.model] is None]
    down = _downs(calls)
    shown = {id(call) for each in down for call in each.calls}
    by_model: dict[str, list[RecordedCall]] = {}
    for call in calls:
        by_model.setdefault(call.model, []).append(call)
    models = {
        model: _model(own, [call for call in own if id(call) not in shown], down, starts)
        for model, own in by_model.items()
    }
    return Behaviour(
        latency_of([call for call in calls if call.error is None]),
        outages=tuple(each.outage(starts) for each in down),
        hidden=hidden,
        models=models,
    )


def limit_in(calls: Sequence[RecordedCall]) -> Limit | None:
    """Return the requests a minute that a model allows, if refusals show it; None: they do not.

    Then they came when so many calls had been answered within a minute, and hardly any was answered after as many.
    """
    answered, before = deque[float](), list[tuple[int, bool]]()
    for call in calls:
        while answered and answered[0] <= call.began - MINUTE:
            answered.popleft()
        if call.error is None:
            before.append((len(answered), True))
            answered.append(call.began)
        elif call.error == LIMITED:
            before.append((len(answered), False))
    refused = sum(not was_answered for _, was_answered in before)
    if refused < LEAST_OUTAGE:
        return None
    # Of the amounts that there could be: the one with the fewest calls on its wrong side.
    wrong, least, best = refused, refused, 0
    for count, group in groupby(sorted(before, reverse=True), key=lambda each: each[0]):
        wrong += sum(1 if was_answered else -1 for _, was_answered in group)
        if wrong < least:
            least, best = wrong, count
    return (
        Limit("requests", best, Rolling(MINUTE), model=calls[0].model) if best > 1 and least <= OFF * refused else None
    )


def _model(
    calls: Sequence[RecordedCall], others: Sequence[RecordedCall], of_provider: Sequence[_Down], starts: float
) -> ModelBehaviour:
    """Return how a model behaved; `others` are its calls outside the times in which its whole provider was down."""
    own = _downs(others)
    shown = {id(call) for each in own for call in each.calls}
    usual = [call for call in others if id(call) not in shown]
    failed = Counter(KINDS.get(call.error, "server") for call in usual if call.error is not None)
    seconds: dict[ErrorKind | Mode, list[float]] = {}
    for call in usual:
        if call.error is not None:
            seconds.setdefault(KINDS.get(call.error, "server"), []).append(call.seconds)
    for each in (*of_provider, *own):
        seconds.setdefault(each.how, []).extend(call.seconds for call in each.calls)
    return ModelBehaviour(
        latency_of([call for call in calls if call.error is None]),
        {kind: number / len(usual) for kind, number in failed.items()},
        tuple(each.outage(starts) for each in own),
        {how: median(took) for how, took in seconds.items()},
    )


def latency_of(answered: Sequence[RecordedCall]) -> Latency:
    """Return how long answers take like these: a line through them, and how they lie around it."""
    if not answered:
        return Latency()
    took, tokens = [call.seconds for call in answered], [call.output for call in answered]
    first, per_token = _line(tokens, took)
    expected = [first + per_token * output for output in tokens]
    if min(expected) <= 0:
        return Latency(mean(took), 0.0)
    factors = sorted(seconds / usual for seconds, usual in zip(took, expected, strict=True))
    count = min(len(factors), FACTORS)
    kept = tuple(factors[int((at + 0.5) * len(factors) / count)] for at in range(count))
    return Latency(first, per_token, factors=kept)


def _line(tokens: Sequence[int], took: Sequence[float]) -> tuple[float, float]:
    """Return the seconds before a first token and for each token, neither below 0, that fit best."""
    mid, usual = mean(tokens), mean(took)
    spread = sum((each - mid) ** 2 for each in tokens)
    if not spread:
        return usual, 0.0
    slope = sum((each - mid) * (seconds - usual) for each, seconds in zip(tokens, took, strict=True)) / spread
    if slope <= 0:
        return usual, 0.0
    first = usual - slope * mid
    return (first, slope) if first >= 0 else (0.0, usual / mid)


def _downs(calls: Sequence[RecordedCall]) -> list[_Down]:
    """Return the times in which all calls failed, by more faults in a row than chance brings."""
    rows = list(_faults_in_a_row(calls))
    answers = sum(call.error is None for call in calls)
    # How often a fault follows an answer: an outage counts once there, however many calls ran into it. Of a provider
    # with few answers little is known, and it is taken for one that is usually well.
    share = min((len(rows) + 0.5) / (answers + 5), 0.9)
    least = max(LEAST_OUTAGE, ceil(log(max(len(calls), 1) / BY_CHANCE) / -log(share)))
    return [
        _Down(
            _just_before(calls, first),
            _just_before(calls, after) if after < len(calls) else calls[-1].began + calls[-1].seconds + AFTERWARDS,
            _how(row),
            row,
        )
        for first, after, row in rows
        if len(row) >= least or len(row) == len(calls) >= LEAST_OUTAGE
    ]


def _just_before(calls: Sequence[RecordedCall], at: int) -> float:
    """Return an instant between a call and the one before it: what is done before a call goes out takes a while."""
    gap = calls[at].began - calls[at - 1].began if at else 2 * BEFORE
    return calls[at].began - min(BEFORE, gap / 2)


def _faults_in_a_row(calls: Sequence[RecordedCall]) -> Iterable[tuple[int, int, tuple[RecordedCall, ...]]]:
    """Yield the place of the first fault of each row, the place of the answer that ends it, and the faults.

    Errors that are about one request alone are neither.
    """
    row: list[tuple[int, RecordedCall]] = []
    for at, call in enumerate(calls):
        if call.error is None:
            if row:
                yield row[0][0], at, tuple(fault for _, fault in row)
            row = []
        elif call.error in MODES:
            row.append((at, call))
    if row:
        yield row[0][0], len(calls), tuple(fault for _, fault in row)


def _how(faults: Iterable[RecordedCall]) -> Mode:
    return Counter(MODES[call.error] for call in faults if call.error is not None).most_common(1)[0][0]
