"""What a run is made of, as its record holds it before anything else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import IsAChat
from orchestrator.journal.protocols import RunManifest, Runs
from orchestrator.rerun.fingerprint import dependency_digests, parts_of
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Plan


def manifest_of(
    squad: Squad, plan: Plan, options: Mapping[str, Any], created_at: float, *, lasting: bool = True
) -> RunManifest:
    """Return what a run is made of. Only a `lasting` record has sources and digests, which take time."""
    parts, digests = (parts_of(plan), dependency_digests(plan)) if lasting else ({}, {})
    place = _place_of(squad.file)
    sources = squad.sources() if lasting else {}
    return RunManifest(
        plan.name,
        place,
        squad.text,
        plan.inputs,
        parts,
        options,
        created_at,
        digests,
        sources,
        edition=plan.edition,
    )


def refuse_chat(run: str, manifest: RunManifest) -> None:
    """Raise `IsAChat` for a chat: there is no task in it that could run."""
    if manifest.options.get("chat"):
        raise IsAChat(run)


def names_our_folder(journal: Runs, run: str, manifest: RunManifest) -> bool:
    """Return whether the folder that the run's record names may be written to by its word alone.

    Of a record without marks, of an earlier release, that is so for the folder that commands choose by themselves.
    """
    out = manifest.options.get("out")
    if out is None or journal.is_at_home(manifest):
        return True
    return not manifest.home and out == str((Path("out") / run).absolute())


def moved_folder(run: str, manifest: RunManifest) -> str | None:
    """Return the folder here that commands choose for the run, if it is there and the record's had the same name."""
    usual, out = Path("out") / run, Path(str(manifest.options.get("out")))
    return str(usual) if out.parts[-2:] == usual.parts and usual.is_dir() else None


def inputs_for(squad: Squad, manifest: RunManifest) -> dict[str, Any]:
    """Return the run's inputs, as far as the squad still takes them."""
    return {name: value for name, value in manifest.inputs.items() if name in squad.spec.inputs}


def _place_of(file: str) -> str:
    """Return the squad's file as an absolute path; the name of a text that was no file stays as it is."""
    return str(Path(file).absolute()) if Path(file).is_file() else file
