"""Who is told of what happens, for no other end than to know: traces, metrics, logs. None of them can hold a run up.

A `Subscriber` is a program's own, or one of `orchestrator/observe/`. A `Feed` hands events on to it in a thread of its
own, from a queue with an end: where that is full, events are left out and counted, and what a subscriber raises ends
its telling. Either is told once.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Literal

import anyio

from agents.hooks import Hooks
from agents.tool_context import CallPlace
from orchestrator.events import Event
from orchestrator.units import unit_of
from providers.embeddings import Embeddings
from providers.emit import Emit
from providers.events import AttemptEnded
from providers.messages import Request, Response
from providers.trace_context import TraceContext, read_trace_context

MOST_WAITING = 20_000
"""Events that wait for a subscriber at most."""
GATHER_S = 0.05
"""How long what comes is gathered before a subscriber's thread hears it: to wake it for each event would cost those who
tell it several times what it costs to hear one."""
CLOSE_S = 5.0
"""How long a run's end waits for its subscribers to have heard it."""
UNTIL_A_SPAN = "0" * 16
GenAiOperation = Literal["chat", "embeddings"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What events tell of: one process's work on a run, or one request to the gateway."""

    id: str
    """The run's id, or the request's."""
    trace: TraceContext
    """The trace of all its spans."""
    parent: TraceContext | None = None
    """The span that asked for it, where one is known."""
    is_run: bool = True
    """It is a run; False: a request to the gateway."""
    name: str = ""
    """The squad's name."""
    part: Literal["", "units"] = ""
    """`units`: the work of a process that does not drive the run; what a unit came to, that process tells."""


@dataclass(frozen=True, slots=True)
class CallContent:
    """What a model was asked and answered. It is told to subscribers that ask for content, and recorded nowhere."""

    request: Request
    response: Response


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A request to the gateway was answered, or not, after so many `seconds` and these attempts. It is all that is told
    of one to those who trace nothing. `operation` is what it asked for."""

    answer: Response | Embeddings | None
    error: BaseException | None
    seconds: float
    attempts: Sequence[AttemptEnded]
    operation: GenAiOperation = "chat"


@dataclass(frozen=True, slots=True)
class SubjectEnded:
    """Nothing more comes of an subject: the process that worked on a run lets go of it, or a request is answered."""


@dataclass(frozen=True, slots=True)
class SubscriberTrouble:
    """A subscriber is not told of everything: `reason` says why. No run records it."""

    subscriber: str
    reason: str


class Subscriber:
    """Is told of what happens. Override `hear`; what it does holds up no run.

    Events of one subject come in their order, each once, the last a `SubjectEnded`; those of several may come at once,
    from several threads. Of a request to the gateway comes one `CallEnded`, and all else only where `traces`. A run
    that is replayed, simulated or rehearsed tells nothing.
    """

    traces = False
    """Whether it makes spans: then attempts have ids of spans, and providers are sent `traceparent`."""
    wants_content = False
    """Whether it is told `CallContent` of each model call, too."""

    def hear(self, subject: Subject, event: Event) -> None:
        """Take what happened. What this raises is told once, and ends the telling."""
        raise NotImplementedError

    def samples(self, subject: Subject) -> bool:  # noqa: ARG002
        """Return whether the spans of an subject are kept, where `traces`."""
        return True


_Waiting = tuple[Subject, Event] | threading.Event | None
"""An event that waits to be heard; who is told that all before it was; the end."""


class Feed(Subscriber):
    """Hands on to a subscriber, in a thread of its own. `notify` is called in the thread that tells it."""

    def __init__(
        self, subscriber: Subscriber, notify: Emit, most_waiting: int = MOST_WAITING, gather_s: float = GATHER_S
    ) -> None:
        self.subscriber, self._notify, self._most, self._gather_s = subscriber, notify, most_waiting, gather_s
        self.traces, self.wants_content = subscriber.traces, subscriber.wants_content
        self._queue: SimpleQueue[_Waiting] = SimpleQueue()
        self._is_wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._left_out = 0
        self._is_told = self._is_closed = False

    def samples(self, subject: Subject) -> bool:
        return self.subscriber.samples(subject)

    def hear(self, subject: Subject, event: Event) -> None:
        if self._failure or self._is_closed:
            self._tell()
        elif self._queue.qsize() >= self._most and not isinstance(event.data, SubjectEnded):
            self._left_out += 1
            self._tell()
        else:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"feed of {self._name}", daemon=True)
                self._thread.start()
            self._queue.put((subject, event))

    async def heard_all(self, patience: float) -> bool:
        """Return once all that came before was heard; False: it was not within `patience` seconds."""
        if self._thread is None:
            return True
        heard = threading.Event()
        self._put_at_once(heard)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(heard.wait, patience)
        return heard.is_set()

    async def aclose(self) -> None:
        """Tell what is waiting, as far as that goes soon, and end."""
        if not await self.heard_all(CLOSE_S):
            self._failure = self._failure or f"what happened was not heard within {CLOSE_S:g} s of the end"
        self._tell()
        self._is_closed = True
        self._put_at_once(None)

    @property
    def _name(self) -> str:
        return type(self.subscriber).__name__

    def _put_at_once(self, item: threading.Event | None) -> None:
        """Let what waits be heard now, up to this."""
        self._queue.put(item)
        self._is_wanted.set()

    def _work(self) -> None:
        for item in self._gathered():
            if item is None:
                return
            if isinstance(item, threading.Event):
                item.set()
            elif not self._failure:
                try:
                    self.subscriber.hear(*item)
                except Exception as error:  # noqa: BLE001  # a subscriber's own
                    self._failure = f"{type(error).__name__}: {error}"

    def _gathered(self) -> Iterator[_Waiting]:
        """Yield what comes: some time after the first of it, or as soon as it is wanted."""
        while True:
            first = self._queue.get()
            self._is_wanted.wait(self._gather_s)
            self._is_wanted.clear()
            yield first
            for _ in range(self._queue.qsize()):
                yield self._queue.get()

    def _tell(self) -> None:
        if self._is_told or not (self._failure or self._left_out):
            return
        self._is_told = True
        late = "it is slower than what happens: events are left out"
        self._notify(SubscriberTrouble(self._name, self._failure or late))


@dataclass(frozen=True, slots=True)
class Listeners:
    """Those who are told of one subject. `trace` is what its calls belong to, None where nobody traces them."""

    tell: Callable[[Event], None]
    trace: TraceContext | None = None
    hooks: tuple[Hooks, ...] = ()


NOBODY = Listeners(lambda _: None)


@asynccontextmanager
async def subscribed(
    subscribers: Sequence[Subscriber], subject: Subject, notify: Emit, clock: Callable[[], float]
) -> AsyncIterator[Listeners]:
    """Tell subscribers of an subject while the block lasts, and of its end. A `Feed` is its owner's to close."""
    feeds = [one if isinstance(one, Feed) else Feed(one, notify) for one in subscribers]
    if not feeds:
        yield NOBODY
        return
    subject = sampled(subject, feeds)

    def tell(event: Event) -> None:
        for feed in feeds:
            feed.hear(subject, event)

    wanting = [feed for feed in feeds if feed.wants_content]
    hooks = (_Content(subject, wanting, clock),) if wanting else ()
    try:
        yield Listeners(tell, subject.trace if any(feed.traces for feed in feeds) else None, hooks)
    finally:
        tell(Event(subject.id, None, (), 0, 0, clock(), SubjectEnded()))
        for feed, given in zip(feeds, subscribers, strict=True):
            if feed is not given:
                await feed.aclose()


def sampled(subject: Subject, feeds: Iterable[Subscriber]) -> Subject:
    """Return the subject with whether its spans are kept, as those say who trace."""
    tracing = [feed.samples(subject) for feed in feeds if feed.traces]
    is_kept = any(tracing) if tracing else subject.trace.sampled
    return replace(subject, trace=replace(subject.trace, sampled=is_kept))


def subject_of(
    ident: str, traceparent: str | None = None, tracestate: str = "", *, is_run: bool = True, name: str = ""
) -> Subject:
    """Return the subject that is a run, or a request: in the trace of who asked for it, else in one of its own.

    A run's own is the same in each process that works on it.
    """
    parent = None if traceparent is None else read_trace_context(traceparent, tracestate)
    if parent is not None:
        return Subject(ident, parent.at(UNTIL_A_SPAN), parent, is_run, name)
    trace_id = hashlib.sha256(f"run {ident}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return Subject(ident, TraceContext(trace_id, UNTIL_A_SPAN), None, is_run, name)


class _Content(Hooks):
    """Tells what a model was asked and answered, and changes nothing of it."""

    def __init__(self, subject: Subject, feeds: Sequence[Feed], clock: Callable[[], float]) -> None:
        self._subject, self._feeds, self._clock = subject, feeds, clock

    def after_model(self, request: Request, response: Response, at: CallPlace) -> Any:
        unit = unit_of(at.unit) if at.unit else None
        content = CallContent(request, response)
        for feed in self._feeds:
            feed.hear(self._subject, Event(self._subject.id, unit, at.step, at.turn, 0, self._clock(), content))
