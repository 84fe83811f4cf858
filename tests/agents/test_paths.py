"""What tools and artifacts may not write, whichever way it is spelled."""

from __future__ import annotations

import pytest

from agents.paths import Protected, is_secret, parts_of

ROOT = parts_of("/work/squad")
OURS = Protected(
    files={parts_of("/work/squad/sprint.yaml"): "the squad", parts_of("/etc/keys"): "a file"},
    folders={parts_of("/work/squad/state"): "the folder of runs"},
    homes=frozenset({ROOT}),
    modules=frozenset({"yaml", "click"}),
)
NAMES_ANYWHERE = [
    *(".git/config", "deep/.git/hooks/pre-commit", ".orchestrator/journal.db", ".env", "a/.env.local", ".envrc"),
    *("agent_routing.yaml", "sub/agent_routing.yml", ".hg/hgrc"),
]
SPELLINGS = [
    *(".GIT/config", ".Git/config", ".git./config", ".git /config", ".git::$INDEX_ALLOCATION/config", "GIT~1/config"),
    *(".g\u200cit/config", "a/../.git/config", "./.git/config", "a\\..\\.git\\config", ".ENV", ".env::$DATA", ".env ."),
    *("\uff0eenv", "Agent_Routing.YAML", "agent_routing.yaml.", "agent_routing.yaml::$DATA", "AGENT_~1.YAM", "ENV~1"),
    *("\uff41gent_routing.yaml", "agent_routing.yaml:x", "agent_routing.yaml. .", "ag\u00adent_routing.yaml"),
]


@pytest.mark.parametrize("path", NAMES_ANYWHERE + SPELLINGS)
def test_configuration_is_written_in_no_folder_and_in_no_spelling(path: str) -> None:
    assert "only people write" in Protected().fault(parts_of("/elsewhere/out"), path)


@pytest.mark.parametrize(
    "path",
    [
        *("sprint.yaml", "SPRINT.yaml", "x/../sprint.yaml", "sprint.yaml ", "sprint.yaml::$DATA", "state/journal.db"),
        *("personas/dev.yaml", ".github/workflows/ci.yml", ".vscode/tasks.json", "sitecustomize.py", "agents/x.py"),
        *("conftest.py", "providers.py", "../../etc/keys"),
        *("yaml.py", "YAML.py", "yaml/__init__.py", "click.pyc", "yaml.cpython-311-x86_64-linux-gnu.so", "json.py"),
        *("typing.pyd", "json/__init__.pyc", "x/../yaml.py"),
    ],
)
def test_what_a_run_is_configured_by_is_protected_where_it_stands(path: str) -> None:
    assert "only people write" in OURS.fault(ROOT, path)


@pytest.mark.parametrize(
    "path",
    [
        *("report.md", "docs/sprint.yaml", "src/conftest.py", "environment.md", "git/config", "my.env", "x/.gitignore"),
        *("main.py", "src/main.py", "src/yaml.py", "yaml.md", "site/index.html", "code/main.py", "yaml/notes.py"),
        *("test/x/__init__.py", "app/__init__.py", "json", "package.json", "docs/index.md"),
    ],
)
def test_all_else_may_be_written_there(path: str) -> None:
    assert OURS.fault(ROOT, path) == ""


@pytest.mark.parametrize("path", ["sprint.yaml", ".gitignore", ".github/workflows/ci.yml", "personas/dev.yaml"])
def test_a_folder_below_or_beside_the_configuration_is_free(path: str) -> None:
    for out in ("/work/squad/out/run-1", "/work/other", "/work/squad/.artifacts"):
        assert OURS.fault(parts_of(out), path) == ""


def test_a_folder_above_the_configuration_protects_it_too() -> None:
    above = parts_of("/work")
    assert OURS.fault(above, "squad/sprint.yaml")
    assert OURS.fault(above, "squad/.npmrc")
    assert OURS.fault(above, "squad/state/x")
    assert not OURS.fault(above, "squad/report.md")
    assert Protected().fault(parts_of("/work/.git/hooks"), "pre-commit")


def test_keys_are_not_read_either() -> None:
    assert all(map(is_secret, [".env", "a/.ENV.local", ".envrc", "ENV~1", ".env::$DATA"]))
    assert not any(map(is_secret, ["report.md", ".git/config", "my.env"]))
