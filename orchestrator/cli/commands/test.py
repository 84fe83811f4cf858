"""`test FILE`: the cases of a test file, from their recordings, live, or on a run that was made before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import anyio
import click

from agents.tools import Tool
from orchestrator.cli import app
from orchestrator.cli.app import Settings, argument, settings_of
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.exits import Exit, NothingSelected, Unusable
from orchestrator.cli.file_kind import NAMES, kind_of
from orchestrator.cli.files import environment
from orchestrator.cli.journals import open_records, read_db_option
from orchestrator.cli.loading import interrupts_held
from orchestrator.cli.signals import Interruption
from orchestrator.cli.squad_files import squad_of_file
from orchestrator.cli.ui.arguments import UsdOption
from orchestrator.cli.ui.console import Console, count, print_json
from orchestrator.cli.ui.figures import usd
from orchestrator.cli.ui.masking import mask_secrets, secret_values
from orchestrator.cli.ui.test_results import (
    CaseDrift,
    SuiteResults,
    case_line,
    document_of,
    drift_line,
    junit_document,
    why_lines,
)
from orchestrator.evals.baseline import baseline_text, read_baseline, worse
from orchestrator.evals.judge import Judge, read_labels
from orchestrator.evals.runner import CaseResult, CaseRunner, chosen
from orchestrator.evals.spec import SuiteCase
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.evals.verdicts import CaseRun
from orchestrator.options import RunOptions
from orchestrator.run_opening import stub_answers
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from providers.catalog.trust import Consent
from providers.client.manager import open_manager
from providers.documents.unicode import printable
from providers.documents.yaml import parse_file

SUFFIX = ".test.yaml"


class TestOptions(NamedTuple):
    """How the cases are run."""

    live: bool
    record: bool
    accept: bool
    offline: bool
    repeat: int | None
    run: str | None
    max_cost: float | None
    db: str | None


BEGIN = "write one: version: 1, squad: {squad}, cases: [{{name: works, expect: {{run: {{status: done}}}}}}]"
"""What is said where there is no test file. The page on tests of squads is not beside an installed package."""


@app.command("test")
@argument("file", required=False, help="A squad's test file, or the squad itself.")
@click.option(
    "--case", "cases", multiple=True, metavar="NAME", help="Only this case, or the cases that match a pattern."
)
@click.option("--live", is_flag=True, help="Ask real providers, as often as the cases say. It costs money.")
@click.option("--record", is_flag=True, help="Run live once, and keep the answers as the recording.")
@click.option("--offline", is_flag=True, help="With --live or --record: the offline stub answers.")
@click.option("--repeat", type=click.IntRange(1, 1000), metavar="N", help="How often each case is run live.")
@click.option("--accept", is_flag=True, help="Keep the figures of these live runs as the baseline.")
@click.option("--run", "run_id", metavar="ID", help="Check this recorded run; nothing is run.")
@click.option("--max-cost", type=UsdOption(), metavar="USD", help="Start no further run once this much is spent.")
@click.option("--junit", metavar="FILE", help="Write the results as JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@read_db_option
@click.pass_context
def test_command(
    context: click.Context,
    file: str | None,
    cases: tuple[str, ...],
    live: bool,
    record: bool,
    offline: bool,
    repeat: int | None,
    accept: bool,
    run_id: str | None,
    max_cost: float | None,
    junit: str | None,
    as_json: bool,
    db: str | None,
) -> int:
    """Run the cases of a test FILE (squad.test.yaml, or the squad beside it) and check the results.

    Offline, from recordings, unless --live: no provider is asked and nothing is spent.
    """
    settings, console = settings_of(context), Console(settings_of(context))
    asked = TestOptions(live or record or accept, record, accept, offline, repeat, run_id, max_cost, db)
    _check(asked)
    suites = [
        _suite(path, settings, asked) for path in _files(file)
    ]  # what is wrong with any is told before one is run
    results, drifted = list[SuiteResults](), list[CaseDrift]()
    try:
        for suite in suites:
            if selected := chosen(suite.spec.cases, cases):
                done: list[CaseResult] = []
                results.append(SuiteResults(suite, done))
                anyio.run(_uninterrupted, suite, selected, asked, settings, console, done)
                drifted += _against_baseline(suite, done, asked, console)
    except BaseException:  # what was paid for is reported, whatever ended the rest
        if told := [one for one in results if one.cases]:
            left = sum(len(chosen(suite.spec.cases, cases)) for suite in suites) - sum(len(one.cases) for one in told)
            console.warn(f"{count(left, 'case')} {'was' if left == 1 else 'were'} not run to the end")
            _report(told, drifted, junit, console, settings, as_json=as_json)
        raise
    if not results:
        raise NothingSelected(f"no case is called {', '.join(cases)}", "`orchestrator test FILE` runs all of them")
    _report(results, drifted, junit, console, settings, as_json=as_json)
    return _exit(results, drifted)


def _check(asked: TestOptions) -> None:
    if asked.run is not None and (asked.live or asked.repeat):
        raise click.UsageError(
            "--run checks a run that was made: it goes without --live, --record, --accept and --repeat"
        )
    if asked.offline and not asked.live:
        raise click.UsageError("--offline says who answers a live run: give --live or --record with it")
    if asked.repeat is not None and not asked.live:
        raise click.UsageError("--repeat is for live runs: a recording answers the same each time. Give --live with it")


def _files(file: str | None) -> list[Path]:
    """Return the test files that are meant: a squad's is beside it."""
    if file is None:
        found = sorted(Path().glob(f"*{SUFFIX}")) + sorted(Path("tests").glob(f"*{SUFFIX}"))
        if not found:
            raise NothingSelected(f"there is no *{SUFFIX} here", "orchestrator test FILE")
        return found
    path, squad = Path(file), "squad.yaml"
    if path.is_dir():
        if found := sorted(path.glob(f"*{SUFFIX}")):
            return found
        raise NothingSelected(f"there is no *{SUFFIX} in {file}", "orchestrator test FILE")
    beside = path.with_name(f"{path.name.removesuffix('.yaml').removesuffix('.yml')}{SUFFIX}")
    if not path.name.endswith(SUFFIX) and path.is_file() and kind_of(parse_file(file).keys) == "squad":
        path, squad = beside, path.name
    if not path.is_file():
        raise Unusable(f"there is no test file {path}", BEGIN.format(squad=squad))
    return [path]


@interrupts_held()
def _suite(path: Path, settings: Settings, asked: TestOptions) -> Suite:
    parsed = parse_file(str(path))
    if (kind := kind_of(parsed.keys, parsed.file)) != "tests":
        raise Unusable(f"{path} is {NAMES[kind]}, not a test file", BEGIN.format(squad="squad.yaml"))

    def load(file: str, tools: tuple[Tool, ...]) -> Squad:
        return squad_of_file(parse_file(file), settings, tools=tools)

    suite = load_suite(parsed, load)
    if asked.accept and suite.baseline is None:
        raise Unusable(f"{suite.file} names no baseline", "add baseline: {file: squad.baseline.json}")
    if asked.live and suite.baseline is not None:
        read_baseline(suite.baseline, suite.squad.outline().name)
    return suite


async def _uninterrupted(
    suite: Suite,
    cases: Sequence[SuiteCase],
    asked: TestOptions,
    settings: Settings,
    console: Console,
    done: list[CaseResult],
) -> None:
    """Run the cases; each is in `done` once it is. Raise what a signal ended them with."""
    async with anyio.create_task_group() as tasks:
        interruption = Interruption(tasks.cancel_scope, lambda: False)
        await tasks.start(interruption.watch)
        await _run(suite, cases, asked, settings, console, done)
        tasks.cancel_scope.cancel()
    interruption.check()


async def _run(
    suite: Suite,
    cases: Sequence[SuiteCase],
    asked: TestOptions,
    settings: Settings,
    console: Console,
    done: list[CaseResult],
) -> None:
    environ = environment(settings)
    code = consent_to_code(settings, suite.squad.code_uses(), console) if asked.run is None else trust_file().allows
    keys: Consent = trust_file().allows
    plan, offline = suite.squad.outline(), asked.offline or None
    if asked.live and not stub_answers(suite.squad, plan, environ, offline):
        keys = consent(settings, suite.squad.catalog, environ, console)
    state = settings.state_folder if asked.live else None
    options = RunOptions(environ=environ, offline=offline, trust=either(code, keys), state=state)
    candidates = suite.squad.catalog.candidates(environ)
    secrets = {one.key: f"the key of {one.provider.name}" for one in candidates if one.key} | secret_values(environ)
    runner = CaseRunner(suite, options, secrets, asked.repeat, most=asked.max_cost)
    if suite.spec.judge is not None and asked.live and not asked.offline:
        async with open_manager(
            suite.squad.policy, suite.squad.catalog, environ, state=state, trust=options.trust
        ) as manager:
            judge = Judge(suite.spec.judge, manager)
            await _calibrate(judge, suite, console)
            await _all(replace(runner, judge=judge), cases, asked, console, done)
            console.say(f"the judge cost {usd(None if judge.cost is None else judge.cost / 1e6)}")
    elif asked.run is not None:
        async with open_records(settings, asked.db) as records:
            done += [await runner.past(case, records.journal, asked.run) for case in cases]
        for result in done:
            _tell_case(runner, result, console)
    else:
        await _all(runner, cases, asked, console, done)


async def _calibrate(judge: Judge, suite: Suite, console: Console) -> None:
    """Find out what the judge's word is worth, by the labels that people gave."""
    if judge.spec.labels is None:
        return
    labels = read_labels(suite.file.parent / judge.spec.labels)
    share = await judge.calibrate(labels)
    console.say(f"the judge agrees with {share:.0%} of {count(len(labels), 'label')}")
    if not judge.counts:
        console.warn(f"that is less than {judge.spec.min_agreement:.0%}: what it says is advice, and fails no case")


async def _all(
    runner: CaseRunner, cases: Sequence[SuiteCase], asked: TestOptions, console: Console, done: list[CaseResult]
) -> None:
    """Run the cases one after the other, each told when it ends; past the cap no further run begins."""
    for case in cases:
        result = await (runner.live(case, record=asked.record) if asked.live else runner.offline(case))
        _tell_case(runner, result, console)
        done.append(result)


def _tell_case(runner: CaseRunner, result: CaseResult, console: Console) -> None:
    """Tell how a case went, and of each expectation that does not hold its line."""
    for line in (case_line(result), *why_lines(runner.suite, result)):
        console.say(mask_secrets(printable(line), runner.options.environ or {}))
    if result.recorded:
        console.say(f"  recorded: {runner.suite.recording(result.case)}")


def _masked(result: CaseResult, environ: Mapping[str, str]) -> CaseResult:
    """Return a result whose words may be shown and written: they quote what the run made."""

    def told(attempt: CaseRun) -> CaseRun:
        checks = tuple(check._replace(message=mask_secrets(check.message, environ)) for check in attempt.checks)
        return replace(attempt, checks=checks, why=mask_secrets(attempt.why, environ))

    return replace(result, attempts=tuple(told(attempt) for attempt in result.attempts))


def _against_baseline(
    suite: Suite, results: Sequence[CaseResult], asked: TestOptions, console: Console
) -> list[CaseDrift]:
    """Return what is worse than the baseline, of live runs; with --accept keep them as the baseline."""
    spec, file = suite.spec.baseline, suite.baseline
    if file is None or spec is None or not asked.live:
        return []
    name = suite.squad.outline().name
    if asked.accept:
        _write(file, baseline_text(read_baseline(file, name), results, name))
        console.say(f"baseline: {file}")
        return []
    kept = read_baseline(file, name)
    return [CaseDrift(suite, result.case.name, drift) for result in results for drift in worse(kept, result, spec)]


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as error:
        raise Unusable(f"{file} cannot be written: {error.strerror or error}") from error


def _report(
    results: Sequence[SuiteResults],
    drifted: Sequence[CaseDrift],
    junit: str | None,
    console: Console,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    environ = environment(settings)
    masked = [one._replace(cases=[_masked(result, environ) for result in one.cases]) for one in results]
    if junit is not None:
        _write(Path(junit), junit_document(masked, drifted))
    _tell(masked, drifted, console, as_json=as_json)


def _tell(results: Sequence[SuiteResults], drifted: Sequence[CaseDrift], console: Console, *, as_json: bool) -> None:
    for _, name, drift in drifted:
        line = f"{printable(name)}: {drift_line(drift)}"
        if drift.fails:
            console.warn(line)
        else:
            console.say(line)
    verdicts = [result.verdict for one in results for result in one.cases]
    told = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    if as_json:
        print_json(document_of(results, drifted), indent=2)
    else:
        click.echo(f"{count(len(verdicts), 'case')}: {told}")


def _exit(results: Sequence[SuiteResults], drifted: Sequence[CaseDrift]) -> Exit:
    done = [result for one in results for result in one.cases]
    if any(result.verdict in ("broken", "stale") for result in done) or any(one.drift.fails for one in drifted):
        return Exit.FAILED
    errors = [result for result in done if result.verdict == "error"]
    if any(attempt.is_limit for result in errors for attempt in result.attempts):
        return Exit.LIMIT
    return Exit.NO_ANSWER if errors else Exit.DONE
