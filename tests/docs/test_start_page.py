"""The Start page is done as it says, in a folder of its own: each file is written, each command is run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Squad
from providers.stub.candidates import rank
from tests.docs.pages import DOCS, ROOT
from tests.patience import PATIENCE_S

START = (DOCS / "start" / "ten-minutes.md").read_text("utf-8")
TOOLBOX = re.split(r"^## (?=\d\. )", START, flags=re.MULTILINE)[1:]
"""The sections of the page, one for each pattern."""
WAITS = {"approve.yaml": 7}


def said(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder), "ORCHESTRATOR_LOCAL_SERVERS": "off"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE_S)


def test_the_value_that_the_stub_takes_is_the_one_that_the_page_says() -> None:
    (told,) = re.findall(r"\(The stub takes the\s+first; (.*?)\)", START, re.DOTALL)
    good, bad = re.findall(r"`(\w+)`", told)
    assert sorted([bad, "billing", "tech"], key=rank) == ["billing", "tech", bad]
    assert sorted(["billing", bad, good], key=rank) == [good, "billing", bad]


@pytest.mark.long
@pytest.mark.parametrize("section", TOOLBOX, ids=lambda section: section.partition(":")[0].partition(",")[0])
def test_a_pattern_of_the_start_page_does_what_it_says(section: str, tmp_path: Path) -> None:
    for language, code in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL):
        name = "people.csv" if language == "csv" else next(iter(re.findall(r"\A# ([\w.]+)\n", code)), "")
        if name:
            (tmp_path / name).write_text(code, "utf-8")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    assert commands
    for line in commands:
        program, *arguments = shlex.split(line.partition(" > ")[0])
        run = [sys.executable, *(["-m", "orchestrator"] if program == "orchestrator" else []), *arguments]
        ended = said(run, tmp_path)
        expected = WAITS.get(arguments[1], 0) if arguments[0] == "run" else 0
        assert ended.returncode == expected, f"{line}: {ended.stderr}"
    if "embedded_squad.py" in section:
        assert "Offline stub" in said([sys.executable, "embedded_squad.py"], tmp_path).stdout


@pytest.mark.long
def test_the_first_five_minutes_of_the_start_page_go_as_it_says(tmp_path: Path) -> None:
    orchestrator = [sys.executable, "-m", "orchestrator"]
    assert said([*orchestrator, "init", "my-squad"], tmp_path).returncode == 0
    file = tmp_path / "my-squad" / "squad.yaml"
    written = file.read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", START.partition("# Toolbox")[0], re.DOTALL)
    shown, agent, tasks = blocks
    assert Squad.from_text(shown).spec.tasks.keys() == Squad.from_text(written).spec.tasks.keys()
    changed = written.replace("agents:\n", f"agents:\n{agent}").replace("\ntasks:\n", f"\ntasks:\n{tasks}")
    assert "brief: ${{ tasks.final.output }}" in START
    file.write_text(changed.replace("${{ tasks.brief.output }}", "${{ tasks.final.output }}"), "utf-8")
    assert said([*orchestrator, "validate", "squad.yaml"], file.parent).returncode == 0
    made = said([*orchestrator, "run", "squad.yaml", "-i", "idea=A diary"], file.parent)
    assert made.returncode == 0, made.stderr
    assert "final.md" in made.stderr
    file.with_name("bad.yaml").write_text(file.read_text("utf-8").replace("agent: vera", "agnet: vera"), "utf-8")
    mistake = said([*orchestrator, "validate", "bad.yaml"], file.parent).stdout.splitlines()
    assert [line.replace("bad.yaml", "squad.yaml") for line in mistake[:3]] == re.findall(
        r"^squad.yaml:23.*\n.*\n.*$", START, re.MULTILINE
    )[0].splitlines()
    (program,) = re.findall(r"```python\n(.*?)```", START.partition("# Toolbox")[0], re.DOTALL)
    assert said([sys.executable, "-c", program], file.parent).stdout.startswith("done\n[offline stub")
