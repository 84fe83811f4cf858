"""Binds the conversations of a squad: who takes part, by which pattern, and when each ends. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.squad import termination
from orchestrator.squad.conversation_spec import (
    ROUNDS,
    ConversationSpec,
    NestedSpec,
    SelectorSpec,
    TerminateSpec,
    names_of,
)
from orchestrator.squad.plan import HUMAN, ConversationPlan, HumanWait
from orchestrator.squad.shared_spec import budget
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.termination import Termination
from providers.documents.findings import Findings
from providers.documents.problems import Path, nearest

FIELDS_OF: Mapping[str, tuple[str, ...]] = {
    "speakers_per_round": ("party",),
    "selector": ("selector",),
    "allow_repeated_speaker": ("selector",),
    "transitions": ("selector",),
    "mentions": ("round_robin", "party", "selector"),
    "handoffs": ("handoff",),
    "rounds": ("debate", "hierarchical"),
    "positions": ("debate",),
    "judge": ("debate",),
    "manager": ("hierarchical",),
}
"""Fields that belong to some patterns only."""
ONE_BY_ONE = ("selector", "handoff", "hierarchical")
"""Patterns without a round in which all participants speak."""
LED: Mapping[str, str] = {"debate": "judge", "hierarchical": "manager"}
"""Patterns that need a moderator, and what it is called there."""
MOST_NESTED = 4
"""Conversations that are held one inside the other."""
_CONDITIONS = (
    *("any", "all", "max_turns", "text", "no_progress_rounds", "tokens", "time", "function"),
    *("stop_message", "handoff", "source", "message", "tool", "external"),
)


@dataclass(slots=True)
class Conversations:
    """`called` and `roles` are what the agents' personas are called, and what they are there for; `agent` reports a
    name that no agent has, `picker` makes an agent that does nothing but pick who speaks next.
    """

    spec: SquadSpec
    findings: Findings
    functions: Mapping[str, Callable[..., bool]]
    tools: Collection[str]
    called: Mapping[str, str]
    roles: Mapping[str, str]
    agent: Callable[[Path, str], None]
    picker: Callable[[Path, str, str | None], str]
    edition: int

    def plans(self) -> dict[str, ConversationPlan]:
        plans = {name: self._conversation(name, spec) for name, spec in self.spec.conversations.items()}
        self._check_nesting(plans)
        return plans

    def _conversation(self, name: str, spec: ConversationSpec) -> ConversationPlan:
        path = ("conversations", name)
        self._participants(path, spec)
        self._fields(path, spec)
        moderator = self._moderator(path, spec)
        speakers = [*names_of(spec), *([moderator] if moderator else [])]
        rounds = (spec.rounds or ROUNDS) if spec.pattern in LED else None
        plan = ConversationPlan(
            name,
            spec.pattern,
            tuple(names_of(spec)),
            self._ends(path, spec, speakers),
            moderator,
            independent_first_round=spec.independent_first_round,
            budget=budget(spec.budget),
            names={one: self.called[one] for one in speakers if one in self.called} if self.edition > 1 else {},
            edition=self.edition,
            roles={one: self.roles[one] for one in speakers if one in self.roles},
            selector=self._selector(path, name, spec),
            allow_repeated_speaker=spec.allow_repeated_speaker,
            transitions=self._transitions(path, spec, "transitions") or self._transitions(path, spec, "handoffs"),
            turns_of=self._turns_of(path, spec),
            rounds=rounds,
            positions=self._positions(path, spec),
            mentions=spec.mentions,
            nested=tuple(name for name in names_of(spec) if self._is_nested(name)) or None,
            human=self._human(path, spec),
        )
        return plan if spec.speakers_per_round is None else replace(plan, speakers_per_round=spec.speakers_per_round)

    def _human(self, path: Path, spec: ConversationSpec) -> HumanWait | None:
        """Return how long a person is waited for. Report where there is none."""
        if spec.human is None:
            return None
        selector = spec.selector.agent if isinstance(spec.selector, SelectorSpec) else spec.selector
        if HUMAN not in (*names_of(spec), selector):
            self.findings.error((*path, "human"), "no-effect", "no person takes part", "add human to `participants`")
        return HumanWait(spec.human.timeout, spec.human.on_timeout)

    def _moderator(self, path: Path, spec: ConversationSpec) -> str | None:
        """Return who moderates, by whichever of its names it is called. Report a pattern that lacks one."""
        called = [name for name in ("moderator", "judge", "manager") if getattr(spec, name) is not None]
        for name in called:
            self.agent((*path, name), getattr(spec, name))
        own = LED.get(spec.pattern)
        if len(called) > 1 and own in called:
            message = f"'moderator' and '{own}' mean the same here"
            self.findings.error((*path, own), "one-of", message, "leave one of them out", key=True)
        if not called:
            if own is not None:
                message = f"a {spec.pattern} conversation has a {own}"
                self.findings.lacks(path, "missing-field", message, f"add `{own}: ` and the name of an agent")
            return None
        moderator = str(getattr(spec, called[0]))
        if own is not None and moderator in names_of(spec):
            place: Path = (*path, "participants", names_of(spec).index(moderator))
            message = f"'{moderator}' is the {own}, and cannot be a participant, too"
            self.findings.error(place, "duplicate-name", message)
        return moderator

    def _positions(self, path: Path, spec: ConversationSpec) -> dict[str, str] | None:
        for name in spec.positions or {}:
            self._takes_part((*path, "positions", name), name, spec, key=True)
        return None if spec.positions is None else dict(spec.positions)

    def _ends(self, path: Path, spec: ConversationSpec, speakers: Sequence[str]) -> Termination:
        """Return when a conversation ends. One that counts its rounds may leave that out."""
        if spec.terminate is not None:
            return self._terminate((*path, "terminate"), spec.terminate, speakers)
        hint = "write `terminate: {max_turns: 12}`, for example"
        if "terminate" in spec.model_fields_set:
            self.findings.error((*path, "terminate"), "wrong-type", "'terminate' is empty", hint, key=True)
        elif spec.pattern not in LED:
            self.findings.lacks(path, "missing-field", "a conversation needs 'terminate'", hint)
        lead = 1 if spec.pattern == "hierarchical" else 0
        return termination.MaxTurns((spec.rounds or ROUNDS) * (len(spec.participants) + lead))

    def _fields(self, path: Path, spec: ConversationSpec) -> None:
        """Report the fields that mean nothing in this pattern. Where it is wrong itself, it is not known which do."""
        if self.findings.is_broken((*path, "pattern")):
            return
        for name, patterns in FIELDS_OF.items():
            if getattr(spec, name) is not None and spec.pattern not in patterns:
                message = f"'{name}' means nothing in the pattern {spec.pattern}"
                where = f"it belongs to {' and '.join(patterns)}"
                if name == "speakers_per_round":  # earlier releases read it, and it did nothing
                    self.findings.warn((*path, name), "misplaced-field", message, where)
                else:
                    self.findings.error((*path, name), "misplaced-field", message, where, key=True)

        if spec.independent_first_round and spec.pattern in ONE_BY_ONE:
            message = f"'independent_first_round' means nothing in the pattern {spec.pattern}"
            self.findings.error((*path, "independent_first_round"), "misplaced-field", message, key=True)

    def _selector(self, path: Path, name: str, spec: ConversationSpec) -> str | None:
        """Return who picks the next speaker, None where nobody does."""
        if spec.pattern != "selector":
            return None
        place: Path = (*path, "selector")
        match spec.selector:
            case None if spec.moderator is not None:
                return spec.moderator
            case None:
                return self.picker((*path, "pattern"), name, None)
            case SelectorSpec(agent=None, tier=tier):
                return self.picker(place if tier is None else (*place, "tier"), name, tier)
            case SelectorSpec(agent=str(agent), tier=tier):
                if tier is not None:
                    message = "a selector has an agent or a tier"
                    self.findings.error(place, "one-of", message, "an agent's own tier is said at the agent")
                place = (*place, "agent")
            case str(agent):
                pass
        if agent != HUMAN:
            self.agent(place, agent)
        return agent

    def _transitions(self, path: Path, spec: ConversationSpec, field: str) -> dict[str, tuple[str, ...]] | None:
        written: dict[str, list[str]] | None = getattr(spec, field)
        if written is None:
            return None
        place: Path = (*path, field)
        for name, following in written.items():
            self._takes_part((*place, name), name, spec, key=True)
            for index, other in enumerate(following):
                self._takes_part((*place, name, index), other, spec)
        return {name: tuple(following) for name, following in written.items()}

    def _turns_of(self, path: Path, spec: ConversationSpec) -> dict[str, int] | None:
        match spec.max_turns_per_speaker:
            case None:
                return None
            case int(turns):
                return dict.fromkeys(names_of(spec), turns)
            case by_name:
                for name in by_name:
                    self._takes_part((*path, "max_turns_per_speaker", name), name, spec, key=True)
                return dict(by_name)

    def _is_nested(self, name: str) -> bool:
        """Return whether a participant's name means a conversation: that of an agent means the agent."""
        return name in self.spec.conversations and name not in self.spec.agents

    def _nested(self, path: Path, name: str) -> None:
        """Report a conversation that cannot take part in another."""
        if name not in self.spec.conversations:
            self.findings.unknown((*path, "conversation"), "conversation", name, self.spec.conversations)
        elif name in self.spec.agents:
            message = f"an agent is called '{name}' too: who takes part is known by its name alone"
            self.findings.error((*path, "conversation"), "duplicate-name", message)

    def _check_nesting(self, plans: Mapping[str, ConversationPlan]) -> None:
        """Report conversations that are held inside themselves, or too deep inside others."""
        for name in plans:
            for way in _ways_down(name, plans):
                place: Path = ("conversations", name, "participants", plans[name].participants.index(way[1]))
                shown = " -> ".join(way)
                if way[-1] == name:
                    self.findings.error(place, "cycle", f"a conversation is held inside itself: {shown}")
                elif len(way) > MOST_NESTED:
                    message = f"conversations are held inside each other at most {MOST_NESTED} deep: {shown}"
                    self.findings.error(place, "out-of-range", message)

    def _takes_part(self, path: Path, name: str, spec: ConversationSpec, *, key: bool = False) -> None:
        if name not in names_of(spec):
            message = f"'{name}' does not take part in this conversation"
            self.findings.error(path, "unknown-agent", message, nearest(name, names_of(spec)), key=key)

    def _participants(self, path: Path, spec: ConversationSpec) -> None:
        if self.findings.is_unsure(path, "participants"):
            return
        names = names_of(spec)
        for index, name in enumerate(names):
            place = (*path, "participants", index)
            if name in names[:index]:
                self.findings.error(place, "duplicate-name", f"'{name}' is listed already")
            elif isinstance(spec.participants[index], NestedSpec):
                self._nested(place, name)
            elif name != HUMAN and not self._is_nested(name):
                self.agent(place, name)
        if set(names) == {HUMAN} and spec.pattern != "hierarchical":  # there an agent manages
            self.findings.error((*path, "participants"), "invalid-value", "at least one participant must be an agent")

    def _terminate(self, path: Path, spec: TerminateSpec, speakers: Sequence[str]) -> Termination:
        named = [name for name in _CONDITIONS if getattr(spec, name) is not None]
        if len(named) != 1:
            found = " and ".join(named) or "none"
            hint = "join several by any: [...] or all: [...]"
            self.findings.lacks(
                path, "one-of", f"a condition has exactly one of {', '.join(_CONDITIONS)}; here: {found}", hint
            )
        if spec.from_ is not None and spec.text is None:
            self.findings.error((*path, "from"), "misplaced-field", "'from' belongs to 'text'", key=True)
        elif spec.from_ is not None and spec.from_ not in speakers:
            message = f"'{spec.from_}' does not take part in this conversation"
            self.findings.error((*path, "from"), "unknown-agent", message, nearest(spec.from_, speakers))
        for field in ("handoff", "message", "source"):
            for name in _listed(getattr(spec, field)):
                if name not in speakers:
                    message = f"'{name}' does not take part in this conversation"
                    self.findings.error((*path, field), "unknown-agent", message, nearest(name, speakers))
        for name in ("stop_message", "external"):
            if getattr(spec, name) is False:
                self.findings.error((*path, name), "invalid-value", f"'{name}' is true, or left out")
        if spec.tool is not None and "/" not in spec.tool and spec.tool not in self.tools:  # of a server: its own
            self.findings.unknown((*path, "tool"), "tool", spec.tool, self.tools)
        function = None if spec.function is None else self.functions.get(spec.function)
        if spec.function is not None and function is None:
            self.findings.unknown((*path, "function"), "function", spec.function, self.functions)
        return self._condition(path, spec, speakers, function)

    def _condition(
        self, path: Path, spec: TerminateSpec, speakers: Sequence[str], function: Callable[..., bool] | None
    ) -> Termination:
        """Return the condition that is written first, in the order of `_CONDITIONS`, where there are several."""
        match spec:
            case TerminateSpec(any=list(inner)):
                return termination.AnyOf(
                    tuple(self._terminate((*path, "any", i), one, speakers) for i, one in enumerate(inner))
                )
            case TerminateSpec(all=list(inner)):
                return termination.AllOf(
                    tuple(self._terminate((*path, "all", i), one, speakers) for i, one in enumerate(inner))
                )
            case TerminateSpec(max_turns=int(turns)):
                return termination.MaxTurns(turns)
            case TerminateSpec(text=str(phrase)):
                return termination.PhraseSaid(phrase, spec.from_)
            case TerminateSpec(no_progress_rounds=int(rounds)):
                return termination.NoProgress(rounds)
            case TerminateSpec(tokens=int(tokens)):
                return termination.MaxTokens(tokens)
            case TerminateSpec(time=float(seconds)):
                return termination.MaxSeconds(seconds)
            case TerminateSpec(stop_message=bool()):
                return termination.StopSaid()
            case TerminateSpec(handoff=str(target)):
                return termination.HandedTo(target)
            case TerminateSpec(source=str() | list() as source):
                return termination.SpokenBy(tuple(_listed(source)))
            case TerminateSpec(message=str(speaker)):
                return termination.MessageOf(speaker)
            case TerminateSpec(tool=str(tool)):
                return termination.ToolCalled(tool)
            case TerminateSpec(external=bool()):
                return termination.EndedOutside()
        return termination.FunctionHolds(function or _never)


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def _never(_: object) -> bool:
    """Stand for a function that is not known, which is reported."""
    return False


def _ways_down(name: str, plans: Mapping[str, ConversationPlan]) -> Iterator[tuple[str, ...]]:
    """Yield the ways from a conversation into those inside it, as far as one is met twice, or one is too deep."""
    ways: list[tuple[str, ...]] = [(name,)]
    while ways:
        way = ways.pop()
        for inner in plans[way[-1]].nested or () if way[-1] in plans else ():
            longer = (*way, inner)
            if inner == name or len(longer) > MOST_NESTED:
                yield longer
            elif inner not in way:
                ways.append(longer)


def ends_by_itself(plan: ConversationPlan) -> bool:
    """Return whether a pattern is sure to end: it counts its rounds, or everybody may speak so often only."""
    return plan.rounds is not None or set(plan.participants) <= set(plan.turns_of or {})
