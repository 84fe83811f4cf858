"""The Python code of pages that needs no key is run as it stands: blocks that are whole, or whole with earlier ones."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.ui.starter import SQUAD
from tests.docs.blocks import EXCERPT, SIGNATURE, shown_files
from tests.docs.pages import ROOT, all_pages, page
from tests.docs.python_blocks import parsed, runnable
from tests.patience import PATIENCE_S

AWAITED = """\
import ast, asyncio, pathlib, sys
code = compile(pathlib.Path(sys.argv[1]).read_text("utf-8"), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
made = eval(code, {"__name__": "__main__", "__file__": sys.argv[1]})
if made is not None:
    asyncio.run(made)
"""
"""Runs a file in which `await` stands outside of functions, as a notebook does."""


def _runs() -> list[pytest.param]:
    found = []
    for path in all_pages():
        blocks = [one for one in page(path).blocks if one.language == "python" and not one.marks & {EXCERPT, SIGNATURE}]
        for index, code in runnable([block.text for block in blocks]):
            found.append(pytest.param(path, code, id=f"{page(path).name}:{blocks[index].line}"))
    return found


RUNS = _runs()


@pytest.mark.long
@pytest.mark.parametrize(("path", "code"), RUNS)
def test_the_code_of_a_page_runs(path: Path, code: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    started = {"squad.yaml": SQUAD} if "orchestrator init" in page(path).text else {}
    for name, text in {**started, **dict(shown_files(page(path)))}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    script = tmp_path / "test_page.py"
    script.write_text(code, "utf-8")
    if any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in parsed(code).body):
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]
    else:
        runner = tmp_path / "run.py"
        runner.write_text(AWAITED, "utf-8")
        # A page that runs without a key is told that the stub answers: `StubAnswers`, a UserWarning.
        command = ["-W", "error", "-W", "default::UserWarning", str(runner), str(script)]
    environ = {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path))),
        "PATH": "",
        "HOME": str(tmp_path),
        "ORCHESTRATOR_LOCAL_SERVERS": "off",
    }
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout


def test_blocks_that_run_are_found() -> None:
    first, second = "import anyio\n\n\nasync def main() -> None: ...\n", "anyio.run(main)\n"
    assert list(runnable([first, second])) == [(1, f"{first}\n{second}")]
    assert list(runnable(["from openai import OpenAI\nOpenAI()", "print(squad)", "x = 1"])) == []
    assert list(runnable(["result = await f()", "def f(): ...\nresult = await f()"])) == [
        (1, "def f(): ...\nresult = await f()")
    ]


def test_many_blocks_are_run() -> None:
    assert len(RUNS) > 15
