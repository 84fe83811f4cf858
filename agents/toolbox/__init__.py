"""The tools that are built in."""

from __future__ import annotations

from pathlib import Path

from agents.run_folder import RunFolder
from agents.toolbox.files import file_tools
from agents.tools import Registry


def builtin(root: Path | RunFolder | None) -> Registry:
    """Return the built-in tools, bound to the folder `root`. Without one they say that there is none."""
    return Registry(file_tools(RunFolder(root) if isinstance(root, Path) else root))
