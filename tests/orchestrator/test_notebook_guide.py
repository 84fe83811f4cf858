"""The cells of docs/guides/notebook.md, one after the other in one namespace and in a loop that runs already."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from orchestrator import Squad, run_sync

PAGE = (Path(__file__).parents[2] / "docs/guides/notebook.md").read_text("utf-8")
CELLS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.anyio
@pytest.mark.filterwarnings("default::orchestrator.StubAnswers")  # of which the page tells
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # what Jupyter runs
async def test_the_cells_run_in_a_running_loop(monkeypatch, tmp_path, anyio_backend):
    monkeypatch.chdir(tmp_path)
    for name in ("GROQ_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(CELLS, 1):
        code = compile(cell, f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, names)  # our own page
        if inspect.iscoroutine(done):
            await done
    assert len(CELLS) == 4
    assert names["result"].status == "done"
    assert isinstance(names["work"].output, names["Verdict"])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_run_sync_says_what_the_page_quotes(anyio_backend):
    squad = Squad.from_mapping(
        {"name": "x", "agents": {"a": {"role": "r"}}, "tasks": {"t": {"agent": "a", "description": "d"}}}
    )
    with pytest.raises(RuntimeError, match="an event loop is running here"):
        run_sync(squad, offline=True)
    assert "an event loop is running here (a notebook, an async function): say await run_squad(...)" in PAGE
