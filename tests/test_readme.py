"""Every block of README does what the text around it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.loopback import Loopback
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without a provider's key."""
    kept = {name: v for name, v in os.environ.items() if not re.search(r"_API_KEY$|_API_TOKEN$|_BASE_URL$", name)}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost", **more}


def run_here(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a README line with this interpreter for its `.venv`, in a folder that holds the examples."""
    line = command.replace(".venv/bin/python", f"'{sys.executable}'")
    return subprocess.run(
        ["bash", "-euc", line],
        cwd=folder,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def test_there_are_exactly_two_set_up_commands() -> None:
    set_up = [line for block in blocks("sh") for line in block.splitlines() if "pip install" in line]
    assert len(set_up) == 2
    assert "pytest" in set_up[1]


def test_the_first_command_runs_the_example_to_its_end(checkout: Path) -> None:
    command = blocks("sh")[0].strip().rpartition("&&")[2]  # the set-up before it is what .ci/run does
    done = run_here(command, checkout)
    assert done.returncode == 0, done.stderr
    assert "OFFLINE STUB" in done.stderr
    (run,) = (checkout / "out").iterdir()
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {"docs/brief.md", "docs/prd.md", "docs/architecture.md", "docs/ux.md", "docs/planning.md"} <= written
    assert {"docs/test-design.md", "docs/guide.md"} <= written
    assert all((run / path).read_text("utf-8").strip() for path in written)


def test_the_squad_in_20_lines_is_that_short_and_runs(checkout: Path) -> None:
    (text,) = blocks("yaml")
    assert len(text.splitlines()) <= 20
    (checkout / "squad.yaml").write_text(text, "utf-8")
    done = run_here(".venv/bin/python -m orchestrator run squad.yaml --out made", checkout)
    assert done.returncode == 0, done.stderr
    assert (checkout / "made/review.md").read_text("utf-8")


def test_one_variable_makes_a_real_provider(checkout: Path, loopback: Loopback) -> None:
    command = next(line for block in blocks("sh") for line in block.splitlines() if "GROQ_API_KEY" in line)
    done = run_here(command, checkout, GROQ_BASE_URL=loopback.url("ok"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert loopback.requests[-1].headers["authorization"] == "Bearer gsk_your_key"


CLAIMS = re.findall(r"^\| (.+?) \| `(\.venv/.+)` \|$", README, re.MULTILINE)


def test_each_claim_has_a_command() -> None:
    table = README.partition("## Why it differs")[2].partition("\n## ")[0]
    assert len(CLAIMS) == len(re.findall(r"^\| ", table, re.MULTILINE)) - 1  # its head is no claim
    assert len(CLAIMS) >= 7


@pytest.mark.long
@pytest.mark.parametrize("command", [command for _, command in CLAIMS], ids=[claim[:40] for claim, _ in CLAIMS])
def test_the_command_of_a_claim_shows_it(checkout: Path, command: str) -> None:
    done = run_here(command.replace(".venv/bin/orchestrator", ".venv/bin/python -m orchestrator"), checkout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_recording_is_a_picture_that_needs_nothing_from_elsewhere() -> None:
    picture = (ROOT / "docs/images/run.svg").read_text("utf-8")
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert re.findall(r"https?://(?!www\.w3\.org/)|@import|url\(|<script|<foreignObject", picture) == []
    assert "all answers are canned" in picture
    assert len(root.findall(".//{http://www.w3.org/2000/svg}g[@class='f']")) > 10
    assert {use.get("href", "")[1:] for use in root.iter("{http://www.w3.org/2000/svg}use")} == {
        text.get("id") for text in root.iter("{http://www.w3.org/2000/svg}text") if text.get("id")
    }


def test_embedding_is_short_and_runs(checkout: Path) -> None:
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 12
    (checkout / "app.py").write_text(code, "utf-8")
    done = run_here(".venv/bin/python app.py", checkout)
    assert done.returncode == 0, done.stderr
    assert "done [offline stub" in done.stdout
    assert not (checkout / "out").exists()


def test_the_embedding_example_is_under_20_lines_and_runs(checkout: Path) -> None:
    assert len((ROOT / "examples/embed.py").read_text("utf-8").splitlines()) < 20
    done = run_here(".venv/bin/python examples/embed.py", checkout)
    assert done.returncode == 0, done.stderr
    assert "[offline stub" in done.stdout


@pytest.mark.long
def test_every_command_that_the_text_names_exists() -> None:
    named = set(re.findall(r"`orchestrator ([a-z]+)", README))
    assert {"validate", "schema", "graph", "init", "providers", "doctor"} <= named
    for command in named:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", command, "--help"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
