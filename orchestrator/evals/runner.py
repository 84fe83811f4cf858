"""Runs cases: from their recordings, live, or as a run that was made before."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import anyio

from agents.errors import OutputInvalid
from agents.mcp.definitions import Definition
from orchestrator.errors import RunNotFound
from orchestrator.evals.checks import checks_of
from orchestrator.evals.facts import NO_FILES, RunFacts, facts_of
from orchestrator.evals.faults import FaultyTransport
from orchestrator.evals.given_memory import given_records, remember
from orchestrator.evals.judge import Judge, JudgeUnasked
from orchestrator.evals.people import PeoplesAnswers
from orchestrator.evals.recording import Recording, RecordingUnusable, read_recording, write_recording
from orchestrator.evals.rehearsal import Rehearsal, StaleRecording
from orchestrator.evals.scripted_tools import accepted, stand_ins
from orchestrator.evals.spec import ScriptedTool, SuiteCase
from orchestrator.evals.spec_names import remote_tool
from orchestrator.evals.squad_copy import SquadCopy, copied, texts_below
from orchestrator.evals.suite import Suite
from orchestrator.evals.verdicts import CaseRun, Verdict, verdict_of
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal
from orchestrator.manifest import refuse_chat
from orchestrator.options import RunOptions
from orchestrator.run.questions import Ask
from orchestrator.run_opening import open_with
from orchestrator.squad.load import Squad
from orchestrator.squad.sources import definitions_in
from providers.client.manager import open_manager
from providers.documents.problems import ProblemsFound
from providers.errors import ProviderError, RoutingError
from providers.transport import open_transport

MEMORY = "memory.db"
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


@dataclass(slots=True)
class CostSoFar:
    """What the live runs of a suite have cost so far, where that is known."""

    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class CaseRunner:
    """Runs the cases of one suite. `options` are those of each run; `secrets` must not stand in a recording."""

    suite: Suite
    options: RunOptions = field(default_factory=RunOptions)
    secrets: Collection[str] = ()
    repeat: int | None = None
    judge: Judge | None = None
    """Who judges outputs in live runs; None: a case that asks for it is not judged."""
    most: float | None = None
    """USD, the judge's among them: once they are spent no further run begins."""
    spent: CostSoFar = field(default_factory=CostSoFar)

    async def offline(self, case: SuiteCase) -> CaseResult:
        """Run a case from its recording, once: it has one answer to each question. Without one that can be used, the
        case is stale."""
        again = f"orchestrator test {self.suite.file} --record --case {json.dumps(case.name, ensure_ascii=False)}"
        try:
            recording = await read_recording(self.suite.recording(case))
        except RecordingUnusable as error:
            is_there = self.suite.recording(case).exists()
            why = str(error) if is_there else "it has no recording"
            attempt = CaseRun("stale", why=f"{why}\nrecord it: {again}")
        else:
            attempt = await self._rehearsed(case, recording)
            if attempt.outcome == "stale":
                attempt = replace(attempt, why=f"{attempt.why}\nif the change is meant, record it again: {again}")
        return CaseResult(case, verdict_of([attempt], 1.0), (attempt,))

    async def live(self, case: SuiteCase, *, record: bool = False) -> CaseResult:
        """Run a case with real providers, as often as it says; `record` the first run that passes, else the first that
        says something of the squad: one that nobody answered takes the place of no recording."""
        defaults = self.suite.spec.defaults
        times = self.repeat or case.repeat or defaults.repeat
        rate = defaults.pass_rate if case.pass_rate is None else case.pass_rate
        attempts, runs, is_cut = list[CaseRun](), list[_LiveRun](), False
        for number in range(1, times + 1):
            run = _LiveRun(f"test-{number}")
            runs.append(run)
            if self.most is not None and self.spent.usd + self._judged() >= self.most:
                why = f"not run, as {self.spent.usd + self._judged():g} USD of {self.most:g} are spent"
                attempts.append(CaseRun("error", why=why, is_limit=True))
                is_cut = True
                break
            attempts.append(await self._live(case, run))
            self.spent.usd += await _cost_of(run)
        changed = False
        if record:
            wanted = ("passed", "failed", "stale", "error")
            best = min(range(len(attempts)), key=lambda number: wanted.index(attempts[number].outcome))
            if attempts[best].facts is not None and attempts[best].outcome != "error":
                changed = await self._record(case, runs[best])
        verdict = verdict_of(attempts, rate)
        if is_cut and verdict in ("passed", "flaky"):
            verdict = "error"  # what was not run could have failed
        return CaseResult(case, verdict, tuple(attempts), changed)

    def _judged(self) -> float:
        return 0.0 if self.judge is None else (self.judge.cost or 0) / 1e6

    async def _record(self, case: SuiteCase, run: _LiveRun) -> bool:
        judged = {} if self.judge is None else self.judge.known
        return await write_recording(
            run.journal,
            run.id,
            self.suite.recording(case),
            secrets=self.secrets,
            judged=judged if case.expect.judge else {},
            surroundings=surroundings_of(case),
            agreement=self.judge.agreement if self.judge is not None and case.expect.judge else None,
            files=run.files,
        )

    async def past(self, case: SuiteCase, journal: Journal, run: str) -> CaseResult:
        """Check a run that was made before. Raise `RunNotFound`."""
        manifest = await journal.manifest(run)
        refuse_chat(run, manifest)
        if manifest.squad != (name := self.suite.squad.outline().name):
            raise RecordingUnusable(f"{run} is a run of {manifest.squad!r}, and {self.suite.file} tests {name!r}")
        attempt = await self._checked(case, await _facts(journal, run), self.judge)
        return CaseResult(case, verdict_of([attempt], 1.0), (attempt,))

    async def _rehearsed(self, case: SuiteCase, recording: Recording) -> CaseRun:
        if recording.surroundings != surroundings_of(case):
            return CaseRun("stale", why="it was recorded with other scripted tools, memory or faults under `with`")
        squad = await self.suite.squad_of(case, self.options.trust, self.options.variables)
        people = PeoplesAnswers(case.with_, squad.outline())
        rehearsal = await Rehearsal.of(recording, people)
        try:
            squad = squad.with_mcp(definitions_in((await recording.journal.manifest(recording.run)).sources))
        except ProblemsFound as error:
            told = "; ".join(problem.message for problem in error.problems if problem.severity == "error")
            return CaseRun("stale", why=f"the squad names tools of MCP servers that were not recorded: {told}")
        if why := rehearsal.other_models(squad.outline()):
            return CaseRun("stale", why=f"the recorded answers are those of other models: {why}")
        journal, recorded = MemoryJournal(), await _facts(recording.journal, recording.run)
        options = replace(
            self._options(case, journal, "test-1", rehearsal.answers()),
            manager=rehearsal,
            rehearse=rehearsal.step,
            max_cost_usd=None,
            timeout_s=None,
        )
        try:
            async with _own_folder() as folder:
                await self._run(squad, options, folder)
        except StaleRecording as error:
            return CaseRun("stale", why=_stale(error))
        facts = await _facts(journal, "test-1", recording.files)
        # What it took is what the recorded run took: here nothing is waited for.
        facts = replace(facts, seconds=recorded.seconds, stub=recorded.stub)
        spec = self.suite.spec.judge
        judge = (
            None
            if spec is None or facts.stub
            else Judge(spec, known=dict(recording.judged), agreement=recording.agreement)
        )
        try:
            checked = await self._checked(case, facts, judge)
        except JudgeUnasked as error:
            return CaseRun("stale", facts=facts, why=str(error))
        if unasked := rehearsal.unasked():
            told = f"{len(unasked)} of the recorded answers were not asked for, the first at {unasked[0]}"
            return replace(checked, why="\n".join(filter(None, [checked.why, told])))
        return checked

    async def _live(self, case: SuiteCase, run: _LiveRun) -> CaseRun:
        people = PeoplesAnswers(case.with_, self.suite.squad.outline())
        kept = await self._recorded_definitions(case)
        options = self._options(case, run.journal, run.id, people.ask())
        try:
            async with self._with_faults(case, options) as faulty, _own_folder() as folder:
                squad, copy = await self._squad(case, folder)
                trust = options.trust if copy is None else copy.trusting(options.trust)
                instead = stand_ins(squad, _scripts(case), [accepted(squad, options.state), kept])
                now = (options.clock or time.time)()
                remembered = given_records(case, squad.outline(), now)
                await anyio.to_thread.run_sync(remember, remembered, folder / MEMORY, now)
                await self._run(squad, replace(faulty, trust=trust, stand_ins=instead), folder)
                found = await anyio.to_thread.run_sync(_files, squad, folder, copy)
            told = (await _facts(run.journal, run.id)).files
            run.files.update({path: text for path, text in found.items() if (path, text) not in told.items()})
            facts = await _facts(run.journal, run.id, run.files)
            return await self._checked(case, facts, None if facts.stub else self.judge)
        except (RoutingError, ProviderError, OutputInvalid) as error:  # the last one of a judge
            return CaseRun("error", why=str(error))

    async def _recorded_definitions(self, case: SuiteCase) -> Mapping[str, Sequence[Definition]]:
        """Return what MCP servers said of their tools when a case was recorded, where it scripts some."""
        if not any(remote_tool(name, self.suite.squad.mcp) for name in _scripts(case)):
            return {}
        try:
            recording = await read_recording(self.suite.recording(case))
        except RecordingUnusable:
            return {}
        return definitions_in((await recording.journal.manifest(recording.run)).sources)

    @asynccontextmanager
    async def _with_faults(self, case: SuiteCase, options: RunOptions) -> AsyncIterator[RunOptions]:
        """Yield the options of a run whose providers fail as the case says."""
        faults = None if case.with_ is None else case.with_.faults
        if not faults or options.manager is not None or options.offline:
            yield options
            return
        squad, environ = self.suite.squad, os.environ if options.environ is None else options.environ
        candidates = squad.catalog.candidates(environ)
        async with (
            FaultyTransport(open_transport(), candidates, faults) as transport,
            open_manager(
                squad.policy, squad.catalog, environ, transport=transport, state=options.state, trust=options.trust
            ) as manager,
        ):
            yield replace(options, manager=manager)

    def _options(self, case: SuiteCase, journal: Journal, run: str, ask: Ask) -> RunOptions:
        defaults = self.suite.spec.defaults
        cost = case.max_cost if case.max_cost is not None else defaults.max_cost
        lowest = min((cap for cap in (cost, self.options.max_cost_usd) if cap is not None), default=None)
        return replace(
            self.options,
            inputs=self.suite.inputs(case),
            journal=journal,
            run_id=run,
            ask=ask,
            max_cost_usd=lowest,
            timeout_s=case.timeout or defaults.timeout or self.options.timeout_s,
        )

    async def _squad(self, case: SuiteCase, folder: Path) -> tuple[Squad, SquadCopy | None]:
        """Return the squad of a live run, and the copy of its folder that it works in: where agents may write there."""
        squad, trust, environ = self.suite.squad, self.options.trust, self.options.variables
        if not _writable(squad) or self.suite.writes_in_place(case):
            return await self.suite.squad_of(case, trust, environ), None
        home = Path(self.suite.squad_file).parent
        copy = await anyio.to_thread.run_sync(copied, home, folder / "squad", _writable(squad))
        return await self.suite.squad_of(case, trust, environ, copy.folder), copy

    async def _run(self, squad: Squad, options: RunOptions, folder: Path) -> None:
        """Run a case to its end, with a memory that begins empty."""
        async with open_with(squad, replace(options, out=folder / "out", memory=folder / MEMORY)) as run:
            async for _ in run:
                pass

    async def _checked(self, case: SuiteCase, facts: RunFacts, judge: Judge | None) -> CaseRun:
        checks = tuple(checks_of(case.expect, facts, self.suite.schemas))
        if judge is not None and not facts.provider_fault:
            checks = (*checks, *await judge.checks(case.expect, facts))
        unjudged = "its output was not judged" if case.expect.judge and judge is None else ""
        if all(check.ok for check in checks):
            return CaseRun("passed", checks, facts, unjudged)
        if facts.provider_fault:
            return CaseRun("error", checks, facts, f"no provider answered: {facts.provider_fault}")
        if facts.status in LIMITED and facts.status != _status_expected(case):
            return CaseRun("error", checks, facts, f"a limit ended the run as {facts.status}", is_limit=True)
        return CaseRun("failed", checks, facts, unjudged)


@dataclass(frozen=True, slots=True)
class _LiveRun:
    """One live run: its record, and the files that were found after it of which that does not tell."""

    id: str
    journal: Journal = field(default_factory=MemoryJournal)
    files: dict[str, str | None] = field(default_factory=dict)


@asynccontextmanager
async def _own_folder() -> AsyncIterator[Path]:
    """Yield a folder that is removed at the end."""
    folder = Path(await anyio.to_thread.run_sync(tempfile.mkdtemp))
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def _files(squad: Squad, folder: Path, copy: SquadCopy | None) -> dict[str, str | None]:
    """Return the files of a run's own folder, and those that it wrote in the copies of workspaces, by their paths in
    these."""
    written = [] if copy is None else [copy.written(root) for root in _writable(squad)]
    return {path: text for files in (*written, texts_below(folder / "out")) for path, text in files.items()}


def _writable(squad: Squad) -> list[Path]:
    """Return the workspaces of a squad and its sub-squads in which agents may write."""
    return list(dict.fromkeys(one.root for one in squad.workspaces().values() if one.can_write))


def _status_expected(case: SuiteCase) -> str | None:
    return None if case.expect.run is None else case.expect.run.status


def surroundings_of(case: SuiteCase) -> Mapping[str, Any]:
    """Return what of a case's surroundings its recording depends on, and does not tell: answers are compared."""
    given = {} if case.with_ is None else case.with_.model_dump(mode="json", exclude_none=True)
    return {name: value for name, value in given.items() if name in ("tools", "faults", "memory")}


def _scripts(case: SuiteCase) -> Mapping[str, ScriptedTool]:
    return {} if case.with_ is None else case.with_.tools or {}


async def _cost_of(run: _LiveRun) -> float:
    """Return what a run cost, though it ended in an error."""
    try:
        return (await _facts(run.journal, run.id)).cost or 0.0
    except RunNotFound:  # it ended before it began
        return 0.0


async def _facts(journal: Journal, run: str, files: Mapping[str, str | None] = NO_FILES) -> RunFacts:
    return facts_of(run, await journal.events(run), await journal.steps(run), files)


def _stale(error: StaleRecording) -> str:
    lines = [line for change in error.changes for line in change.lines()]
    return "\n".join([str(error), *lines])


def chosen(cases: Sequence[SuiteCase], patterns: Sequence[str]) -> list[SuiteCase]:
    """Return the cases whose names are, or fit, one of the patterns; all where there are none."""
    named = [case for case in cases if case.name in patterns or any(fnmatchcase(case.name, one) for one in patterns)]
    return named if patterns else list(cases)
