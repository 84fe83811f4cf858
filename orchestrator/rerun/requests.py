"""The bytes that went to a provider, made again from a run's record: their SHA-256 tells that they are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from agents.events import HistoryFitted
from agents.fitting import fit_request
from orchestrator.rerun.record import StepAt
from orchestrator.rerun.replay import NONE, Functions, NotReplayable, Record, request_of
from providers.adapters import Adapter, LocalAdapter
from providers.catalog.model import Candidate, Catalog
from providers.client.manager import built_in
from providers.client.resume import ResumedStream
from providers.events import AttemptEnded
from providers.messages import Request, Response
from providers.routing.demands import as_taken


class OtherBytes(NotReplayable):
    """This release encodes the request otherwise than the one that sent it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt of a turn, the `number`-th (from 1), over all its retries and failovers. `path` is where it stands.

    `sha256` is None where nothing went over the network; `answer_cap` and `continues` are as in `AttemptEnded`. `room`:
    the tokens that the request was fitted to, where nobody took all of it.
    """

    path: str
    turn: int
    number: int
    provider: str
    model: str
    outcome: str
    sha256: str | None
    part: int
    step: StepAt
    answer_cap: int | None = None
    continues: int = 0
    room: int | None = None

    def __str__(self) -> str:
        return f"{self.path} --turn {self.turn} --attempt {self.number}: {self.provider}/{self.model}: {self.outcome}"


def attempts_of(record: Record) -> Iterator[Sent]:
    """Yield every attempt of a run, in the order in which they ended."""
    numbers: dict[StepAt, int] = {}
    rooms: dict[StepAt, int] = {}
    for part_number, part in enumerate(record.parts):
        for place in part.places:
            ended, at = place.event.data, place.at
            if isinstance(ended, HistoryFitted) and at is not None:
                rooms[at] = ended.room
            if not isinstance(ended, AttemptEnded) or at is None:
                continue
            numbers[at] = number = numbers.get(at, 0) + 1
            how = ended.outcome if ended.error is None else f"{ended.outcome}: {ended.error}"
            yield Sent(
                place.event.path,
                at.key.turn,
                number,
                ended.provider,
                ended.model,
                how,
                ended.request_sha256,
                part_number,
                at,
                ended.answer_cap,
                ended.continues,
                rooms.get(at),
            )


async def body_of(record: Record, sent: Sent, functions: Functions = NONE) -> bytes:
    """Return the body of the request that went out. Raise `OtherBytes` where its hash is not the recorded one."""
    request = await request_of(record, sent.part, sent.step, functions)
    if sent.room is not None:
        request = fit_request(request, sent.room)
    if sent.answer_cap is not None:
        request = replace(request, max_output_tokens=sent.answer_cap)
    if sent.continues:
        request = ResumedStream(_said_before(record, sent)).request(request)
    found = [_candidate(squad.catalog, sent) for squad in record.squads(sent.part, functions)]
    candidates = [candidate for candidate in found if candidate is not None]
    if not candidates:
        raise NotReplayable(f"neither this release nor the run's routing file knows the provider {sent.provider}")
    for candidate in candidates:
        for body in _bodies(request, candidate):
            if hashlib.sha256(body).hexdigest() == sent.sha256:
                return body
    raise OtherBytes(f"this release does not make the bytes that were sent: their SHA-256 was {sent.sha256}")


def _said_before(record: Record, sent: Sent) -> str:
    """Return the text that an attempt continued: the answer of its turn begins with it."""
    step = record.answers.steps.get(sent.step)
    if step is None or not step.done or record.answers.ended_in.get(sent.step) != sent.part:
        raise NotReplayable(f"{sent} continued a text that is not on record: its turn was cut off before it ended")
    answer: Response = step.result
    return answer.text[: sent.continues]


def _candidate(catalog: Catalog, sent: Sent) -> Candidate | None:
    row = catalog.providers.get(sent.provider)
    if row is None:
        return None
    if sent.model not in row.models:  # the environment named it
        row = catalog.serving(sent.provider, sent.model).providers[sent.provider]
    return Candidate(row, row.models[sent.model])


def _bodies(request: Request, candidate: Candidate) -> Iterator[bytes]:
    adapter: Adapter | LocalAdapter | None = built_in().get(candidate.provider.dialect)
    if adapter is None or isinstance(adapter, LocalAdapter):
        raise NotReplayable(f"{candidate.name} is answered without a network")
    for stream in (False, True):
        yield adapter.encode(as_taken(request, candidate.model), candidate, stream=stream).body
