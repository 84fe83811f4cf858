"""The container file, the GitHub Action, the pre-commit hook and the page about them: sound; their commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli.app import load_command
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
PAGE = (ROOT / "docs/guides/ci.md").read_text("utf-8")
WORKFLOW, GITLAB, PRE_COMMIT = re.findall(r"```yaml other\n(.*?)```", PAGE, re.DOTALL)


def tool(name: str) -> str:
    """Return a program of the extra `release`."""
    found = shutil.which(name, path=str(BIN))
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing: pip install squad-orchestrator[release]")
        pytest.skip(f"needs {name}: pip install squad-orchestrator[release]")
    return found


def parsed(words: list[str]) -> None:
    """Read `orchestrator WORDS` as the command line does. Raise what it would."""
    load_command(words[0]).make_context(words[0], words[1:])


@pytest.mark.long
def test_the_container_file_has_no_fault() -> None:
    done = subprocess.run([tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_all_that_the_container_file_copies_is_there_and_sent_to_the_builder() -> None:
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    copied = [source for line in lines for source in line.split()[:-1]]
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert sorted(copied) == sorted(sent)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert {"orchestrator", "agents", "personas", "providers", "docs"} <= {*copied}  # what a wheel is made of


def test_the_container_has_its_command_its_port_and_no_root() -> None:
    assert 'ENTRYPOINT ["orchestrator"]' in DOCKERFILE
    parsed(["serve", "squad.yaml", "--host", "0.0.0.0", "--allowed-host", "localhost"])
    port = load_command("serve").make_context("serve", ["squad.yaml"]).params["port"] or 8700
    assert f"EXPOSE {port}\n" in DOCKERFILE
    assert f"http://127.0.0.1:{port}/login" in DOCKERFILE
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["1000"]


def test_commands_of_the_page_are_read_by_the_command_line() -> None:
    joined = PAGE.replace("\\\n", " ")
    run = re.findall(r"^docker run .*? squad-orchestrator (.+)$", joined, re.MULTILINE)
    assert len(run) == 3
    for line in (*run, *re.findall(r"- orchestrator (.+)$", GITLAB, re.MULTILINE)):
        parsed(shlex.split(line))


@pytest.mark.long
@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("vendor.github-actions", (ROOT / "action.yml").read_text("utf-8")),
        ("vendor.github-workflows", WORKFLOW),
        ("vendor.gitlab-ci", GITLAB),
        ("vendor.compose-spec", (ROOT / "examples/cluster/compose.yaml").read_text("utf-8")),
    ],
    ids=["action", "workflow", "gitlab", "compose"],
)
def test_a_file_keeps_to_its_schema(schema: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "file.yml").write_text(text, "utf-8")
    command = [tool("check-jsonschema"), "--builtin-schema", schema, str(tmp_path / "file.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_the_hook_and_its_configuration_are_as_pre_commit_wants_them(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(PRE_COMMIT, "utf-8")
    for words in (
        ["validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")],
        ["validate-config", str(tmp_path / "config.yaml")],
    ):
        done = subprocess.run([tool("pre-commit"), *words], capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout


def test_the_page_names_the_inputs_and_the_hook() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+?) \|", PAGE, re.MULTILINE))
    assert {*rows} == {*ACTION["inputs"]}
    assert {*yaml.safe_load(WORKFLOW)["jobs"]["check"]["steps"][1]["with"]} <= {*ACTION["inputs"]}
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert yaml.safe_load(PRE_COMMIT)["repos"][0]["hooks"] == [{"id": hook["id"]}]


def step(name: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the action as a runner does: its shell, its `env`, `orchestrator` in PATH."""
    (found,) = [one for one in ACTION["runs"]["steps"] if one.get("name") == name]
    given = {key: str(spec["default"]) for key, spec in ACTION["inputs"].items()} | inputs

    def value(text: str) -> str:
        return re.sub(
            r"\$\{\{ inputs\.([\w-]+)(?: \|\| github\.action_path)? \}\}", lambda m: given[m[1]] or str(ROOT), text
        )

    environ = {name: value(text) for name, text in found["env"].items()}
    assert not any("${{" in text for text in (*environ.values(), found["run"]))
    path = f"{folder / 'runner' / 'squads/bin'}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
    runner = {"RUNNER_TEMP": str(folder / "runner"), "GITHUB_PATH": str(folder / "path"), "PATH": path}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environ, **runner}, capture_output=True, text=True, timeout=PATIENCE_S
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with a sound squad that has tests, and a file of another program."""
    for file in (ROOT / "examples").glob("support-triage*.yaml"):
        shutil.copy(file, tmp_path)
    shutil.copytree(ROOT / "examples/recordings", tmp_path / "recordings")
    (tmp_path / "compose.yaml").write_text("services: {}\n", "utf-8")
    return tmp_path


@pytest.mark.long
def test_the_action_passes_what_is_sound(repository: Path) -> None:
    assert step("Validate", repository).returncode == 0
    tested = step("Test", repository, tests="support-triage.test.yaml", junit="tests.xml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert (repository / "tests.xml").read_text("utf-8").count("<testcase") > 0


@pytest.mark.long
def test_the_action_tells_mistakes_at_their_lines_and_fails(repository: Path) -> None:
    (repository / "squad.yaml").write_text(
        "version: 1\nname: s\nagents: {a: {persona: pmm}}\ntasks: {t: {agent: a}}\n", "utf-8"
    )
    done = step("Validate", repository)
    assert done.returncode == 1
    assert "::error file=squad.yaml,line=3" in done.stdout
    assert step("Write SARIF", repository, sarif="found.sarif").returncode == 0
    assert '"unknown-persona"' in (repository / "found.sarif").read_text("utf-8")


@pytest.mark.long
def test_the_action_runs_each_test_file_and_tells_that_one_failed(repository: Path) -> None:
    sound = repository / "support-triage.test.yaml"
    text = sound.read_text("utf-8")
    (repository / "bad.test.yaml").write_text("squad: support-triage.yaml\ncases: {}\n", "utf-8")
    done = step("Test", repository, tests=f"bad.test.yaml {sound.name}", junit="reports")
    assert done.returncode not in (0, None)
    assert [fnmatch(path.name, "*support-triage.test.yaml.xml") for path in (repository / "reports").iterdir()] == [
        True
    ]
    assert text == sound.read_text("utf-8")


@pytest.mark.long
def test_the_action_installs_its_own_checkout(tmp_path: Path) -> None:
    (tmp_path / "runner").mkdir()
    done = step("Install", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "path").read_text("utf-8").strip() == str(tmp_path / "runner/squads/bin")
    assert step("Validate", tmp_path, files=str(ROOT / "examples/sprint.yaml")).returncode == 0
