"""Record the tests of the recipes: with the answers in `answers/NAME.yaml`, else with those of the offline stub.

Run `python docs/recipes/record.py` after a recipe, a persona or the wording of a request has changed. It records what
does not pass any more; with `--all`, every case. An answer is a text, a value (said as JSON), or a call,
`{tool: NAME, args: {...}}`; each agent's come in their order.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import yaml

from agents.tools import Tool
from orchestrator.cli.recipes import Recipe, recipes
from orchestrator.evals.runner import CaseRunner
from orchestrator.evals.spec import SuiteCase
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.options import RunOptions
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted, tool_call
from providers.documents.yaml import parse_file

ANSWERS = Path(__file__).resolve().parent / "answers"
ROUTING = Path("agent_routing.yaml")


def answer(written: Any) -> Any:
    """Return a step of a script."""
    if isinstance(written, dict) and set(written) == {"tool", "args"}:
        return tool_call(written["tool"], **written["args"])
    return written if isinstance(written, str) else json.dumps(written, ensure_ascii=False)


def record(recipe: Recipe, *, every: bool) -> None:
    """Write what is to be recorded of a recipe. Raise `AssertionError` where a case does not pass with its answers."""
    os.chdir(recipe.folder)  # a recording names a routing file as it was named: no path of this machine
    suite = load_suite(parse_file("squad.test.yaml"), load)
    file = ANSWERS / f"{recipe.name}.yaml"
    answers = yaml.safe_load(file.read_text("utf-8")) if file.is_file() else None
    assert answers is None or set(answers) == {case.name for case in suite.spec.cases}, f"{file} answers other cases"
    for unused in set(Path("recordings").glob("*")) - {suite.recording(case) for case in suite.spec.cases}:
        unused.unlink()
    for case in suite.spec.cases:
        anyio.run(record_case, suite, case, answers and answers[case.name], every)


def load(file: str, tools: tuple[Tool, ...]) -> Squad:
    return Squad.from_file(file, routing=ROUTING if ROUTING.is_file() else None, tools=tools)


async def record_case(suite: Suite, case: SuiteCase, answers: dict[str, list[Any]] | None, every: bool) -> None:
    options = RunOptions(environ={}, trust=lambda _: True)
    if not every and (await CaseRunner(suite, options).offline(case)).verdict == "passed":
        return
    if answers is None:
        result = await CaseRunner(suite, replace(options, offline=True)).live(case, record=True)
    else:
        async with scripted({agent: [*map(answer, said)] for agent, said in answers.items()}) as manager:
            result = await CaseRunner(suite, replace(options, manager=manager)).live(case, record=True)
    assert result.verdict == "passed", (case.name, result.attempts)
    print(f"recorded {suite.squad.outline().name}: {case.name}")


if __name__ == "__main__":
    for one in recipes().values():
        record(one, every="--all" in sys.argv)
