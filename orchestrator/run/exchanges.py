"""The exchanges of a chat, as its record has them, and what each agent sees of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agents.events import TextsEmbedded, TurnEnded
from agents.run_context import StepKey
from agents.untrusted import read_in
from orchestrator.events import ChatPartner, Event, ExchangesUndone, TaskEnded, UserSaid
from orchestrator.squad.plan import HUMAN
from orchestrator.units import Unit
from providers.messages import Message, Origin, user

EXCHANGE = StepKey(("try-1",), 0, "exchange")
"""The step that records all that was said in an exchange, the person's words first."""

ExchangeStatus = Literal["open", "ok", "failed", "cancelled"]
_STATUSES: Mapping[str, ExchangeStatus] = {"ok": "ok", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a person said to `agent` in a chat, and what came of it.

    `status` "open": the answer is not there yet; failed or cancelled, there is none. `is_undone`: nobody is told of it
    any more. `cost` is micro-USD, None where it is unknown. `error` says why it failed.
    """

    number: int
    """From 1."""
    agent: str
    """Who was asked."""
    text: str
    """What the person said."""
    at: float
    """Epoch seconds UTC."""
    status: ExchangeStatus = "open"
    """`open`: the answer is not there yet; failed or cancelled, there is none."""
    answer: str = ""
    """What the agent said; empty where there is no answer."""
    error: str = ""
    """Why it failed."""
    messages: tuple[Message, ...] = ()
    """All that was said in it, tools' calls and results too; empty where there is no answer."""
    is_undone: bool = False
    """It is told no more."""
    cost: int | None = 0
    """Micro-USD; None where a price is unknown."""
    model: str = ""
    """The last one that was asked: `provider/model`."""
    untrusted: tuple[str, ...] = ()
    """The sources of what others wrote that was read in it."""

    @property
    def stands(self) -> bool:
        """Whether others are told of it."""
        return self.status == "ok" and not self.is_undone

    @property
    def unit(self) -> Unit:
        """The unit of the chat's record that does its work: `say-1`."""
        return unit_of_exchange(self.number)

    def paid(self, made: TurnEnded | TextsEmbedded) -> Exchange:
        """Return it with what a turn cost, or vectors for its memory."""
        cost = None if self.cost is None or made.cost is None else self.cost + made.cost
        model = f"{made.provider}/{made.model}" if isinstance(made, TurnEnded) else self.model
        return replace(self, cost=cost, model=model)


def unit_of_exchange(number: int) -> Unit:
    """Return the unit that does the work of an exchange."""
    return Unit(f"say-{number}")


@dataclass(frozen=True, slots=True)
class ChatRecord:
    """What is recorded of a chat. `partner` is whom it is with; None: whom its squad names first."""

    exchanges: tuple[Exchange, ...] = ()
    partner: ChatPartner | None = None


def chat_of(events: Iterable[Event], messages_of: Callable[[Unit], tuple[Message, ...]]) -> ChatRecord:
    """Return the fold of a chat's events; `messages_of` returns what the step of a unit's exchange recorded."""
    found: dict[Unit, Exchange] = {}
    partner: ChatPartner | None = None
    for event in events:
        match event.data:
            case UserSaid(number, agent, text):
                found[unit_of_exchange(number)] = Exchange(number, agent, text, event.at)
            case TaskEnded(status=status, output=output, error=error) if event.unit in found:
                ended = replace(found[event.unit], status=_STATUSES.get(status, "failed"), answer=output or "")
                said = messages_of(event.unit)
                read = event.data.untrusted or read_in(said)
                said = with_origins(said, ended.agent, read)
                found[event.unit] = replace(ended, error=error or "", messages=said, untrusted=read)
            case (TurnEnded() | TextsEmbedded()) as made if event.unit in found:
                found[event.unit] = found[event.unit].paid(made)
            case ExchangesUndone(numbers):
                for unit in map(unit_of_exchange, numbers):
                    found[unit] = replace(found[unit], is_undone=True)
            case ChatPartner():
                partner = event.data
            case _:
                pass
    return ChatRecord(tuple(found.values()), partner)


def seen_by(agent: str, exchanges: Sequence[Exchange]) -> tuple[Message, ...]:
    """Return what an agent has seen of the chat: its own exchanges whole, of others' what was said. Each message knows
    whose it is, and what others wrote that its speaker had read."""
    seen: list[Message] = []
    for one in exchanges:
        if not one.stands:
            continue
        if one.agent == agent:
            seen += one.messages
        else:
            seen += with_origins((user(one.text), user(one.answer, name=one.agent)), one.agent, one.untrusted)
    return tuple(seen)


def with_origins(messages: Sequence[Message], agent: str, untrusted: tuple[str, ...]) -> tuple[Message, ...]:
    """Return what was said in an exchange, the person's words first, so that each message says whose it is."""
    origins = (Origin(HUMAN) if at == 0 else Origin(agent, untrusted) for at in range(len(messages)))
    return tuple(replace(one, origin=origin) for one, origin in zip(messages, origins, strict=True))


def addressed(text: str, agents: Iterable[str]) -> tuple[str | None, str]:
    """Return the agent whom `@name ...` speaks to and the words behind it; None where it names nobody."""
    first, _, rest = text.lstrip().partition(" ")
    if not first.startswith("@"):
        return None, text
    named = first[1:].rstrip(":,").casefold()
    return next(((one, rest.lstrip()) for one in agents if one.casefold() == named), (None, text))
