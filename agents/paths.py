"""What paths below a run's folder may be. Pure: no disk is asked."""

from __future__ import annotations

from collections.abc import Sequence

MOST_PARTS = 32
"""Folders in one another, the file among them: who walks through the files of a run needs no deeper stack."""
PART_BYTES = 255
PATH_BYTES = 1024
"""Of a path below its folder, in UTF-8: macOS takes no longer one, other systems at most four times that."""


def length_fault(parts: Sequence[str]) -> str:
    """Return why a path of these parts is too long or too deep, empty where it is neither. Pure."""
    sizes = [len(part.encode("utf-8", "replace")) for part in parts]
    if len(parts) > MOST_PARTS:
        return f"it has {len(parts)} parts; at most {MOST_PARTS} can be in one another"
    if max(sizes, default=0) > PART_BYTES:
        return f"a part of it has {max(sizes)} bytes; at most {PART_BYTES} fit into a name"
    if (size := sum(sizes) + len(sizes) - 1) > PATH_BYTES:
        return f"it has {size} bytes; at most {PATH_BYTES} can be stored everywhere"
    return ""
