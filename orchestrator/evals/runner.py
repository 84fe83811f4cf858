"""Runs cases: from their recordings, live, or as a run that was made before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from orchestrator.evals.checks import checks_of
from orchestrator.evals.facts import RunFacts, facts_of
from orchestrator.evals.recording import Recording, read_recording, write_recording
from orchestrator.evals.rehearsal import Rehearsal, StaleRecording, answer_by_case
from orchestrator.evals.spec import SuiteCase
from orchestrator.evals.suite import Suite
from orchestrator.evals.verdicts import CaseRun, Verdict, verdict_of
from orchestrator.events import GateAnswered, GateOpened
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal
from orchestrator.options import RunOptions
from orchestrator.run.questions import Ask
from orchestrator.runtime import open_with
from providers.errors import ProviderError, RoutingError

LIMITED = frozenset({"paused", "stopped"})
"""How runs end that a cap or a provider's limit ended."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a case. `recorded`: its recording was written, and is another than before."""

    case: SuiteCase
    verdict: Verdict
    attempts: tuple[CaseRun, ...]
    recorded: bool = False

    @property
    def passes(self) -> bool:
        return self.verdict in ("passed", "flaky")


@dataclass(frozen=True, slots=True)
class CaseRunner:
    """Runs the cases of one suite. `options` are those of each run; `secrets` must not stand in a recording."""

    suite: Suite
    options: RunOptions = field(default_factory=RunOptions)
    secrets: Collection[str] = ()
    repeat: int | None = None

    async def offline(self, case: SuiteCase) -> CaseResult:
        """Run a case from its recording, once: it has one answer to each question. Raise `RecordingUnusable`."""
        recording = await read_recording(self.suite.recording(case))
        attempt = await self._rehearsed(case, recording)
        return CaseResult(case, verdict_of([attempt], 1.0), (attempt,))

    async def live(self, case: SuiteCase, *, record: bool = False) -> CaseResult:
        """Run a case with real providers, as often as it says; `record` the first run that passes, else the first."""
        defaults = self.suite.spec.defaults
        times = self.repeat or case.repeat or defaults.repeat
        rate = defaults.pass_rate if case.pass_rate is None else case.pass_rate
        attempts, runs = list[CaseRun](), list[tuple[Journal, str]]()
        for number in range(1, times + 1):
            attempt, journal = await self._live(case, number)
            attempts.append(attempt)
            runs.append((journal, f"test-{number}"))
        changed = False
        if record:
            best = next((i for i, one in enumerate(attempts) if one.outcome == "passed"), 0)
            if attempts[best].facts is not None:
                file = self.suite.recording(case)
                changed = await write_recording(*runs[best], file, secrets=self.secrets)
        return CaseResult(case, verdict_of(attempts, rate), tuple(attempts), changed)

    async def past(self, case: SuiteCase, journal: Journal, run: str) -> CaseResult:
        """Check a run that was made before. Raise `RunNotFound`."""
        await journal.manifest(run)
        attempt = self._judged(case, await _facts(journal, run))
        return CaseResult(case, verdict_of([attempt], 1.0), (attempt,))

    async def _rehearsed(self, case: SuiteCase, recording: Recording) -> CaseRun:
        rehearsal = await Rehearsal.of(recording)
        journal, recorded = MemoryJournal(), await _facts(recording.journal, recording.run)
        options = replace(
            self._options(case, journal, "test-1"),
            manager=rehearsal,
            rehearse=rehearsal.step,
            ask=rehearsal.answers(_answers(case)),
            max_cost_usd=None,
            timeout_s=None,
        )
        try:
            await self._run(case, options)
        except StaleRecording as error:
            return CaseRun("stale", why=_stale(error))
        facts = await _facts(journal, "test-1")
        # What it took is what the recorded run took: here nothing is waited for.
        return self._judged(case, replace(facts, seconds=recorded.seconds, stub=recorded.stub))

    async def _live(self, case: SuiteCase, number: int) -> tuple[CaseRun, Journal]:
        journal = MemoryJournal()
        options = self._options(case, journal, f"test-{number}")
        try:
            await self._run(case, options)
        except (RoutingError, ProviderError) as error:
            return CaseRun("error", why=str(error)), journal
        return self._judged(case, await _facts(journal, f"test-{number}")), journal

    def _options(self, case: SuiteCase, journal: Journal, run: str) -> RunOptions:
        defaults = self.suite.spec.defaults
        cost = case.max_cost if case.max_cost is not None else defaults.max_cost
        lowest = min((cap for cap in (cost, self.options.max_cost_usd) if cap is not None), default=None)
        return replace(
            self.options,
            inputs=self.suite.inputs(case),
            journal=journal,
            run_id=run,
            ask=answering(_answers(case)),
            max_cost_usd=lowest,
            timeout_s=case.timeout or defaults.timeout or self.options.timeout_s,
        )

    async def _run(self, case: SuiteCase, options: RunOptions) -> None:
        """Run a case to its end, in a folder that is removed then."""
        folder = Path(await anyio.to_thread.run_sync(tempfile.mkdtemp))
        try:
            async with open_with(self.suite.squad_of(case), replace(options, out=folder)) as run:
                async for _ in run:
                    pass
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))

    def _judged(self, case: SuiteCase, facts: RunFacts) -> CaseRun:
        checks = tuple(checks_of(case.expect, facts, self.suite.schemas))
        if all(check.ok for check in checks):
            return CaseRun("passed", checks, facts)
        if facts.provider_fault:
            return CaseRun("error", checks, facts, f"no provider answered: {facts.provider_fault}")
        if facts.status in LIMITED and facts.status != _status_expected(case):
            return CaseRun("error", checks, facts, f"a limit ended the run as {facts.status}", is_limit=True)
        return CaseRun("failed", checks, facts)


def answering(given: Mapping[str, str]) -> Ask:
    """Return what answers approvals as a case says, and leaves the others open."""

    async def ask(gate: GateOpened) -> GateAnswered | None:
        return answer_by_case(gate, given)

    return ask


def _status_expected(case: SuiteCase) -> str | None:
    return None if case.expect.run is None else case.expect.run.status


def _answers(case: SuiteCase) -> Mapping[str, str]:
    return {} if case.with_ is None else dict(case.with_.approvals or {})


async def _facts(journal: Journal, run: str) -> RunFacts:
    return facts_of(run, await journal.events(run), await journal.steps(run))


def _stale(error: StaleRecording) -> str:
    lines = [line for change in error.changes for line in change.lines()]
    return "\n".join([str(error), *lines])


def chosen(cases: Sequence[SuiteCase], patterns: Sequence[str], fits: Callable[[str, str], bool]) -> list[SuiteCase]:
    """Return the cases whose names fit one of the patterns; all where there are none."""
    return [case for case in cases if not patterns or any(fits(pattern, case.name) for pattern in patterns)]
