"""The folder that a run writes into: made, guarded, and free of what others wrote, before anything is spent."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from agents.errors import AgentError
from agents.file_origins import FileOrigins
from agents.paths import Parts, Protected, folded, parts_of
from agents.run_folder import FileTaken, RunFolder
from agents.tools import Tool
from orchestrator.environment import Environment
from orchestrator.errors import CannotWrite, FilesProtected, FilesTaken, OutBusy
from orchestrator.journal.sqlite.lock import is_at, try_lock
from orchestrator.options import RunOptions
from orchestrator.squad.elements import whole
from orchestrator.squad.foreseen import foreseen_files
from orchestrator.squad.load import Squad
from orchestrator.squad.parts import works_of
from orchestrator.squad.plan import AgentWork, Plan, TaskPlan
from orchestrator.squad.squad_tools import SquadTools
from orchestrator.squad.who import FOLDER

WRITES = frozenset({"write_file", "edit_file"})
"""The built-in tools that write into the folder."""
NOTHING: Mapping[str, str] = {}
BESIDE = {".yaml": "a YAML file", ".yml": "a YAML file", ".py": "a Python file"}
"""What is not written over beside a run's configuration: another squad, the program that runs this one, its tools."""


def run_folder(
    folder: Path | None, squad: Squad, options: RunOptions, *, overwrite: bool, own: Collection[str] = ()
) -> RunFolder | None:
    """Return the run's folder, in which nothing that configures this run or a later one can be written.

    `own` are files that the run wrote before. None: the run keeps no files.
    """
    if folder is None:
        return None
    return RunFolder(folder, configuration_of(squad, options, {folder / path for path in own}), overwrite)


def builtin_tools(
    squad: Squad, files: RunFolder | None, options: RunOptions, origins: FileOrigins | None = None
) -> SquadTools:
    """Return the built-in tools of a run. In workspaces, too, nothing that configures a run can be written.

    `origins` is what the run knows of whose words the files there hold.
    """
    protected = None if files is None else files.protected
    if protected is None and any(one.can_write for one in squad.workspaces().values()):
        protected = configuration_of(squad, options)
    return squad.builtin(files, protected, origins)


def configuration_of(squad: Squad, options: RunOptions, own: Collection[Path] = ()) -> Protected:
    """Return the files that this run is configured by, its state folder, and the folders in which those stand."""
    read = [*squad.files(), *([options.environ.file] if isinstance(options.environ, Environment) else [])]
    files: dict[Parts, str] = {}
    homes = {os.path.realpath(Path.cwd())}
    for file in read:
        for spelled in _spellings(file):
            files[parts_of(spelled)] = "a file that this run's configuration was read from"
            homes.add(os.path.realpath(Path(spelled).parent))
    code = [*(one.code for one in squad.declared), *(server.code for server in squad.mcp.values())]
    for path in (path for paths in code for path in paths):
        files.setdefault(parts_of(path), "code of a tool of this run")
    mine = {parts_of(os.path.realpath(path)) for path in own}
    for home in homes:
        for name in _names_in(home):
            for ending, what in BESIDE.items():
                if name.lower().endswith(ending) and (parts := parts_of(f"{home}/{name}")) not in mine:
                    files.setdefault(parts, f"{what} beside this run's configuration")
    personas = {
        parts_of(f"{home}/{FOLDER}"): "the folder of personas beside this run's configuration" for home in homes
    }
    state = [] if options.state is None else _spellings(options.state)
    folders = {parts_of(spelled): "the folder of recorded runs" for spelled in state} | personas
    installed = frozenset(
        folded(name.partition(".")[0])
        for place in sys.path
        if os.path.realpath(place) not in homes
        for name in _names_in(place)
    )
    return Protected(files, folders, frozenset(parts_of(home) for home in homes), installed)


def _spellings(path: Path) -> set[str]:
    """Return an absolute path, and where it leads."""
    return {str(path.absolute()), os.path.realpath(path)}


def _names_in(folder: str) -> list[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        return [entry.name for entry in entries]
    return []


def refuse_foreign(plan: Plan, files: RunFolder | None, kept: Mapping[str, str] = NOTHING) -> None:
    """Refuse a run that would write over others' files, as far as its inputs tell which it writes.

    `kept` are files that it is known to write, path -> SHA-256. Raises `FilesTaken` and `FilesProtected`.
    """
    if files is None:
        return
    paths = [file.path for file in foreseen_files(plan)]
    if protected := {path: fault for path in paths if (fault := files.fault(path))}:
        raise FilesProtected(str(files.root), protected)
    taken = [path for path in dict.fromkeys((*paths, *kept)) if _is_taken(files, path, kept.get(path, ""))]
    if taken:
        raise FilesTaken(str(files.root), taken)


def make(plan: Plan, files: RunFolder | None) -> None:
    """Make the folder now: one that cannot be written must be reported before anything is paid for."""
    plan = whole(plan)
    if files is None or all(task.output_file is None for task in plan.tasks.values()):
        return
    folder = files.root
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is not a folder" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise CannotWrite(str(folder), reason) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotWrite(str(folder), "permission denied")


def _is_taken(files: RunFolder, path: str, sha256: str) -> bool:
    try:
        files.check(path, sha256)
    except (FileTaken, IsADirectoryError):
        return True
    except (OSError, AgentError):
        return False  # told where the folder is made, or by the task itself
    return False


def _writes(plan: Plan) -> bool:
    """Return whether anything in the plan writes into the run's folder."""
    plan = whole(plan)
    tools = [tool for agent in plan.agents.values() for tool in agent.tools]
    tools += [tool for task in plan.tasks.values() for tool in _tools_of(task)]
    return any(task.output_file is not None for task in plan.tasks.values()) or any(t.name in WRITES for t in tools)


def _tools_of(task: TaskPlan) -> Iterator[Tool]:
    works = works_of(task.work)
    return (tool for work in works if isinstance(work, AgentWork) for tool in work.tools or ())


@contextmanager
def held(plan: Plan, files: RunFolder | None, run: str, *, is_new: bool = False) -> Iterator[None]:
    """Make the folder, and let no other run write into it while the block lasts. Raise `OutBusy` where one does.

    A run that `is_new` is refused as `refuse_foreign` does.

    Nothing is left in the folder: it is itself what is locked, and a note elsewhere names the run that holds it. Both
    locks end with the process, however that ends.
    """
    if files is None or not _writes(plan):
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(_noted(files.root, run))
        if is_new:
            refuse_foreign(plan, files)
        make(plan, files)
        stack.enter_context(_locked(files.root))
        yield


@contextmanager
def _noted(folder: Path, run: str) -> Iterator[None]:
    """Hold the note that says which run writes into the folder. Where no note can be kept, go on without one."""
    fd = None
    notes = _notes()
    if notes is not None:
        note = notes / f"{hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]}.lock"
        fd = _acquired(note, folder)
    if fd is None:
        yield
        return
    try:
        os.truncate(fd, 0)
        os.write(fd, run.encode())
        yield
    finally:
        note.unlink(missing_ok=True)  # while it is still held: who has opened it finds it gone, and tries again
        os.close(fd)


def _notes() -> Path | None:
    """Return this user's own folder for notes, None where there is none that nobody else can write."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"orchestrator-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(found.st_mode) and (os.name == "nt" or (found.st_uid == user and not found.st_mode & 0o022))
    return folder if is_ours else None


def _acquired(note: Path, folder: Path) -> int | None:
    while True:
        try:
            fd = os.open(note, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError:
            return None
        if not try_lock(fd):
            try:
                raise OutBusy(str(folder), os.read(fd, 200).decode("utf-8", "replace"))
            finally:
                os.close(fd)
        if is_at(fd, note):
            return fd
        os.close(fd)


if os.name == "nt":

    @contextmanager
    def _locked(folder: Path) -> Iterator[None]:  # noqa: ARG001  # there the note alone is held
        yield

else:
    import fcntl

    @contextmanager
    def _locked(folder: Path) -> Iterator[None]:
        """Hold the folder itself, however its path is spelled. Where its disk knows no such locks, go on without."""
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            yield  # it is made with its first file
            return
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutBusy(str(folder), "") from None
            except OSError:
                pass  # of some network file systems
            yield
        finally:
            os.close(fd)
