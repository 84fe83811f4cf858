"""Records from elsewhere, squads and personas that are gone or moved, exports that were killed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from orchestrator.rerun import export

SQUAD = """\
name: own
offline: auto
agents:
  ann: {persona: ./ann.yaml}
tasks:
  write: {agent: ann, description: Write., output_file: note.md}
  approve: {needs: [write], approval: {prompt: Good?, show: [write]}}
  tell: {needs: [approve], agent: ann, description: Tell., output_file: told.md}
outputs:
  file: ${{ tasks.tell.output_file }}
"""
PERSONA = """\
extends: analyst
name: Ann
"""


@pytest.fixture
def waiting(call, folder):
    """A run that awaits an approval, in a folder of its own."""
    (folder / "ann.yaml").write_text(PERSONA)
    (folder / "own.yaml").write_text(SQUAD)
    done = call("run", "own.yaml", "--offline", "--run-id", "r")
    assert done.code == 7, done
    assert call("approvals", "approve", "r").code == 0
    return folder


def test_a_run_goes_on_where_its_personas_and_its_squad_are_gone(call, waiting):
    (waiting / "ann.yaml").unlink()
    assert call("runs", "replay", "r").code == 0
    (waiting / "own.yaml").unlink()
    done = call("runs", "resume", "r")
    assert done.code == 0, done
    assert (waiting / "out" / "r" / "told.md").exists()


def test_a_run_goes_on_where_only_a_persona_is_gone(call, waiting):
    (waiting / "ann.yaml").unlink()
    assert call("runs", "resume", "r").code == 0


def test_a_moved_squad_is_pointed_at(call, waiting):
    (waiting / "new").mkdir()
    for name in ("own.yaml", "ann.yaml"):
        (waiting / name).rename(waiting / "new" / name)
    missing = call("runs", "resume", "r", "--squad", "nowhere.yaml")
    assert "there is no squad file nowhere.yaml" in missing.err
    assert call("runs", "resume", "r", "--squad", "new/own.yaml").code == 0
    assert call("runs", "fork", "r", "--from", "tell", "--squad", "new/own.yaml", "--dry-run").code == 0
    assert call("runs", "show", "r").code == 0


@pytest.mark.parametrize("how", ["copied", "moved", "exported"])
def test_a_record_from_elsewhere_writes_where_it_is_told_to_only(call, waiting, how):
    (waiting / "other").mkdir()
    there = waiting / "other" / "journal.db"
    if how == "exported":
        assert call("runs", "export", "r", str(there)).code == 0
    elif how == "copied":
        shutil.copyfile(waiting / ".orchestrator" / "journal.db", there)
    else:
        (waiting / ".orchestrator").rename(waiting / "other" / "state")
        there = waiting / "other" / "state" / "journal.db"
    url = f"sqlite:///{there}"
    shutil.rmtree(waiting / "out")
    refused = call("runs", "resume", "r", "--db", url)
    assert refused.code == 2
    assert "was made elsewhere, or moved" in refused.err
    assert "--out DIR" in refused.err
    assert not (waiting / "out").exists()
    done = call("runs", "resume", "r", "--db", url, "--out", "mine")
    assert done.code == 0, done
    assert (waiting / "mine" / "told.md").exists()
    assert not (waiting / "out").exists()


def test_a_folder_that_was_moved_with_its_record_is_named(call, waiting, tmp_path_factory, monkeypatch):
    moved = tmp_path_factory.mktemp("moved") / "project"
    waiting.rename(moved)
    monkeypatch.chdir(moved)
    refused = call("runs", "resume", "latest")
    assert (refused.code, "--out out/r, else" in refused.err) == (2, True), refused
    assert not waiting.exists()
    assert call("runs", "resume", "latest", "--out", "out/r").code == 0
    assert (moved / "out" / "r" / "told.md").exists()
    assert not waiting.exists()


def test_what_a_foreign_record_calls_its_files_is_not_deleted(call, waiting):
    assert call("runs", "resume", "r").code == 0
    assert call("runs", "export", "r", "r.db").code == 0
    assert call("runs", "rm", "r", "--artifacts", "--yes", "--db", "sqlite:///r.db").code == 0
    assert (waiting / "out" / "r" / "told.md").exists()
    assert call("runs", "rm", "r", "--artifacts", "--yes").code == 0
    assert not (waiting / "out" / "r" / "told.md").exists()


def test_what_a_killed_export_left_goes_with_the_next_one(call, waiting):
    names = [".r.db-abcdefgh.export", ".r.db-12345678.export", ".other.db-abcdefgh.export", ".r.db-abcdefgh"]
    for name in names:
        (waiting / name).mkdir()
        (waiting / name / export.LOCK).touch()
        (waiting / name / "r.db").touch()
    (waiting / names[1] / "mine.txt").touch()
    assert call("runs", "export", "r", "r.db").code == 0
    assert [name for name in names if (waiting / name).exists()] == names[1:], "only what is an export's alone"
    assert os.name == "nt" or (waiting / "r.db").stat().st_mode & 0o777 == 0o600
    assert json.loads(call("runs", "ls", "--json", "--db", "sqlite:///r.db").out)[0]["run"] == "r"
    assert Path("r.db").exists()
