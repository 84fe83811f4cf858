"""Tools for the files of one folder, and no other."""

from __future__ import annotations

from functools import partial

from agents.confined import list_inside, read_inside
from agents.errors import PathRefused
from agents.paths import holds_keys
from agents.run_folder import RunFolder
from agents.threads import in_thread
from agents.tool_context import ToolContext
from agents.toolbox.workspace import RunFiles, as_whose, note_origin
from agents.tools import Tool, tool
from providers.documents.unicode import clean

WRITE_BYTES = 8 << 20
LISTED = 1000
"""Entries that a listing shows."""


def file_tools(root: RunFolder | None) -> tuple[Tool, ...]:
    """Return `read_file`, `write_file` and `list_files`, bound to `root`. None: they answer that there is no folder."""

    files = RunFiles(root)

    def folder() -> RunFolder:
        if root is None:
            raise ValueError("this run keeps no files")
        return root

    @tool(idempotent=True, risk="read_only")
    def read_file(path: str) -> str:
        """Return the text of the file at `path`, relative to the run's folder."""
        if holds_keys(path):
            raise PathRefused(path, "it may hold keys, which no model reads")
        data = read_inside(folder().root, path)
        try:
            return as_whose(files, [path], data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text; it may be binary") from None

    @tool(idempotent=True, approval="ask")
    async def write_file(context: ToolContext, path: str, content: str) -> str:
        """Write the file at `path`, relative to the run's folder: whole, instead of what was there."""
        data = clean(content).encode()
        if len(data) > WRITE_BYTES:
            raise ValueError(f"{len(data)} bytes are too much; at most {WRITE_BYTES} can be written")
        here = folder()
        here.tell(path, await in_thread(partial(here.write, path, data)), len(data))
        note_origin(files, path, context)
        return f"wrote {len(data)} bytes to {path}"

    @tool(idempotent=True, risk="read_only")
    def list_files(path: str = ".") -> str:
        """List the files and folders in the folder at `path`, relative to the run's folder. Folders end in /."""
        names = list_inside(folder().root, path)
        rest = f"\n[{len(names) - LISTED} more]" if len(names) > LISTED else ""
        return "\n".join(names[:LISTED]) + rest or "(empty)"

    return (read_file, write_file, list_files)
