"""What happens to the files of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ArtifactWritten:
    """The `output_file` of a task was written."""

    path: str
    sha256: str
    size: int
    text: str = field(default="", repr=False)
    """For the journal alone: a file that is lost can be written again."""


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A tool wrote a file in the run's folder: what is there is the run's own."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class FileKept:
    """A file of the run was changed from outside."""

    path: str
    aside: str | None = None
    """Its new name; None: it was left in its place."""


@dataclass(frozen=True, slots=True)
class FileUnwritten:
    """A recorded file of a task that has ended is gone, and cannot be written again now: the run pauses."""

    task: str
    path: str
    reason: str
