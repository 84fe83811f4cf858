"""A provider that answers from a script: in order, or in order for each agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from types import TracebackType
from typing import Any, Self

from providers.adapters import LocalAdapter
from providers.catalog.model import Candidate, Model, Provider
from providers.client.manager import ProviderManager
from providers.errors import ProviderError, RoutingError
from providers.messages import Capability, Request, Response
from providers.policy.model import Policy
from providers.stub.scripted import Scripted, ScriptStep

MODEL = Model("scripted", 1_000_000, 100_000, frozenset(Capability) - {Capability.PREFILL})
PROVIDER = Provider("scripted", "local", "", None, {"scripted": MODEL})


class ScriptMismatch(AssertionError):
    """What was asked and what is scripted do not fit: the script is too short, too long, or for another agent."""


class ScriptedManager(ProviderManager):
    """Answers whatever is asked, of any agent, tier or model, from a script, by the same code that asks providers.

    `requests` holds what was asked, in order. As a context manager it raises `ScriptMismatch` at its end where the
    script was not used up; `check` does the same at any time.
    """

    def __init__(self, script: Iterable[ScriptStep] | Mapping[str, Iterable[ScriptStep]]) -> None:
        self._answers = _by_agent(script) if isinstance(script, Mapping) else _InOrder(script)
        candidate = Candidate(PROVIDER, MODEL)
        policy = Policy({"worker": (candidate.name,)}, last_resort=(), attempts_per_turn=1)
        super().__init__([candidate], policy, adapters={"local": self._answers}, sole=candidate.name, rng=Random(0))  # noqa: S311  # jitter, not a secret

    @property
    def requests(self) -> list[Request]:
        """The requests that were made, in order."""
        return self._answers.requests

    def check(self, *, used_up: bool = True) -> None:
        """Raise `ScriptMismatch` where one was asked for too many, a function of the script failed, or (with `used_up`)
        answers are left that were not asked for.

        A run makes a failed task of that, which a test may not look at.
        """
        if fault := self._answers.fault(used_up=used_up):
            raise ScriptMismatch(fault)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.check()


def scripted(*steps: Any) -> ScriptedManager:
    """Return a manager that gives these answers in order; one mapping gives each agent answers of its own.

    A step is a text, a `tool_call(...)`, a message (`say(...)`), a whole `Response`, an exception to raise, or a
    function of the request that returns one of these. An agent's errors are what a provider's would be: `RateLimited`
    and the like fail the turn, as there is no other provider.
    """
    if len(steps) == 1 and isinstance(steps[0], Mapping):
        return ScriptedManager(steps[0])
    return ScriptedManager(steps)


class _InOrder(LocalAdapter):
    """One script for all agents."""

    def __init__(self, steps: Iterable[ScriptStep]) -> None:
        self._script = tuple(steps)
        self._scripted = Scripted(self._script)
        self.wrong = ""

    @property
    def requests(self) -> list[Request]:
        return self._scripted.requests

    def respond(self, request: Request, candidate: Candidate) -> Response:
        if len(self.requests) >= len(self._script):
            asked = f"{request.needs.agent or 'somebody'}: {request.messages[-1].text[:120]!r}"
            self.wrong = f"the script has {len(self._script)} answers; one more is asked for by {asked}"
            raise ScriptMismatch(self.wrong)
        try:
            return self._scripted.respond(request, candidate)
        except Exception as error:  # a run makes a failed task of a function that fails
            if callable(self._script[len(self.requests) - 1]) and not isinstance(error, ProviderError | RoutingError):
                self.wrong = f"answer {len(self.requests)} failed: {type(error).__name__}: {error}"
            raise

    def fault(self, *, used_up: bool) -> str:
        """Return what does not fit so far; empty: all of the script was asked for, and no more."""
        left = len(self._script) - len(self.requests) if used_up else 0
        return self.wrong or (f"{left} of {len(self._script)} answers were not asked for" if left else "")


class _ForEachAgent(LocalAdapter):
    """A script for each agent."""

    def __init__(self, scripts: Mapping[str, _InOrder]) -> None:
        self._scripts = scripts
        self.requests: list[Request] = []
        self._wrong = ""

    def respond(self, request: Request, candidate: Candidate) -> Response:
        self.requests.append(request)
        agent = request.needs.agent or ""
        if agent not in self._scripts:
            known = ", ".join(self._scripts) or "none"
            self._wrong = f"the agent {agent!r} asks, and has no script; those with one: {known}"
            raise ScriptMismatch(self._wrong)
        return self._scripts[agent].respond(request, candidate)

    def fault(self, *, used_up: bool) -> str:
        faults = {name: script.fault(used_up=used_up) for name, script in self._scripts.items()}
        return self._wrong or "; ".join(f"{name}: {text}" for name, text in faults.items() if text)


def _by_agent(scripts: Mapping[str, Iterable[ScriptStep]]) -> _ForEachAgent:
    in_order = {name: [steps] if isinstance(steps, str) else steps for name, steps in scripts.items()}
    return _ForEachAgent({name: _InOrder(steps) for name, steps in in_order.items()})
