"""`workspace: .` of a squad: the folder beside its file that the tools for files work on."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag

from agents.toolbox.workspace import Workspace
from orchestrator.squad.shared_spec import NonEmpty
from providers.documents.findings import Findings
from providers.documents.models import StrictModel


class WorkspaceFolder(StrictModel):
    """The folder beside the squad's file that the tools for files work on, and whether agents may write there."""

    noun: ClassVar[str] = "a workspace"
    path: NonEmpty = Field(default=".", description="The folder of this file, or one below it.", examples=["docs"])
    write: bool = Field(
        default=False,
        description="Whether agents may write there; a person is asked for each call unless the tool says otherwise.",
        examples=[True],
    )


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | WorkspaceFolder) else "text"


WorkspaceSpec = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[WorkspaceFolder, Tag("mapping")], Discriminator(_kind)
]


def workspace_of(
    spec: str | WorkspaceFolder | None, file: str, findings: Findings, *, on_disk: bool = True
) -> Workspace | None:
    """Return the workspace of a squad file, None where it names none. What is wrong with it goes to the findings.

    Not `on_disk`: the folder is not looked at, as a replay needs none.
    """
    if spec is None:
        return None
    said = WorkspaceFolder(path=spec) if isinstance(spec, str) else spec
    place = ("workspace",) if isinstance(spec, str) else ("workspace", "path")
    below, home = PurePath(said.path), Path(file).parent.resolve()
    root = (home / below).resolve()
    if not on_disk:
        return Workspace(root, said.write)
    if below.anchor or ".." in below.parts or not root.is_relative_to(home):
        hint = "a workspace is the squad's folder (.) or one below it, and no link leads out of it"
        findings.error(place, "unsafe-path", f"the workspace '{said.path}' is not below the squad's file", hint)
    elif not root.is_dir():
        findings.error(place, "invalid-value", f"there is no folder '{said.path}' beside the squad's file")
    return Workspace(root, said.write)
