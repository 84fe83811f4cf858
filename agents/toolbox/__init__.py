"""The tools that are built in."""

from __future__ import annotations

from pathlib import Path

from agents.run_folder import RunFolder
from agents.toolbox.clock import clock_tools
from agents.toolbox.data import data_tools
from agents.toolbox.files import file_tools
from agents.toolbox.texts import reading_tools, search_tools, writing_tools
from agents.toolbox.workspace import RunFiles, Workspace
from agents.tools import Registry


def builtin(root: Path | RunFolder | None, workspace: Workspace | None = None) -> Registry:
    """Return the built-in tools, bound to the folder `root`. Without one they say that there is none.

    With a `workspace` those for files work on that instead.
    """
    folder = RunFolder(root) if isinstance(root, Path) else root
    if workspace is None:
        files = RunFiles(folder)
        return Registry((*file_tools(folder), *search_tools(files), *data_tools(files), *clock_tools()))
    own = (*reading_tools(workspace), *writing_tools(workspace))
    return Registry((*own, *search_tools(workspace), *data_tools(workspace), *clock_tools()))
