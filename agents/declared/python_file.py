"""Functions of a Python file as tools: the file is run when a run starts, from the very text that was allowed.

`sys.path` stays as it is. The modules have private names, so two squads may each have a `mytools.py`; an `import` in
them looks beside the tool's file first, but for names of the standard library, and then where every other import does.
"""

from __future__ import annotations

import builtins
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import anyio

from agents.declared.python_text import CodeText, CodeUnreadable, absolute, package_of
from agents.threads import in_thread

LOAD_S = 30.0
"""So long a file may take to be run."""


async def load_module(code: CodeText, folder: Path, timeout_s: float = LOAD_S) -> ModuleType:
    """Run a file and return its module. Raise `CodeUnreadable` with the file and line of whatever goes wrong.

    It runs in a thread; one that takes longer than `timeout_s` is left alone there.
    """
    loading = _Loading(code, folder)
    with anyio.move_on_after(timeout_s):
        module: ModuleType = await in_thread(loading.main)
        return module
    raise CodeUnreadable(
        code.main, 0, f"it was not loaded within {timeout_s:g} s: what takes long belongs in functions"
    )


@dataclass(slots=True)
class _Loading:
    """The modules of one tool's files. They know each other by the names that their imports have."""

    code: CodeText
    folder: Path
    modules: dict[str, ModuleType] = field(default_factory=dict)

    def main(self) -> ModuleType:
        try:
            return self._run(PurePosixPath(self.code.main).stem, self.code.main)
        except BaseException as error:  # in a thread of its own: Ctrl-C is raised in another
            raise self._told(error) from error

    @property
    def _prefix(self) -> str:
        return f"_tools_{self.code.sha256[:16]}"

    def _run(self, name: str, path: str) -> ModuleType:
        package = package_of(path, self.code.main)
        module = ModuleType(f"{self._prefix}.{name}")
        module.__file__ = str(self.folder / path)
        if path.endswith("__init__.py"):
            module.__path__ = []
        inner = {**vars(builtins), "__import__": self._importing(package), "print": _print}
        vars(module)["__builtins__"] = inner
        self.modules[name] = module  # before it runs, as modules may import each other
        sys.modules[module.__name__] = module  # where dataclasses and type hints look for their own
        try:
            # The text was allowed by the user: orchestrator/trust.py.
            exec(compile(self.code.texts[path], module.__file__, "exec", dont_inherit=True), vars(module))  # noqa: S102
        except BaseException:
            del self.modules[name]
            sys.modules.pop(module.__name__, None)
            raise
        return module

    def _loaded(self, name: str) -> ModuleType | None:
        """Return a module that stands beside the tool's file, with the packages around it; None where none does."""
        found: ModuleType | None = None
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            full, around = ".".join(parts[:end]), found
            found = self.modules.get(full)
            if found is None:
                if (path := self.code.path_of(full)) is None:
                    return None
                found = self._run(full, path)
            if around is not None:
                setattr(around, parts[end - 1], found)
        return found

    def _importing(self, package: str) -> Callable[..., Any]:
        def import_here(
            name: str,
            globals: Mapping[str, Any] | None = None,  # noqa: A002  # the names that `__import__` has
            locals: Mapping[str, Any] | None = None,  # noqa: A002
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> Any:
            full = absolute(name, level, package)
            top = full.partition(".")[0]
            if self.code.path_of(top) is None and level == 0:
                return builtins.__import__(name, globals, locals, fromlist or (), level)
            module = self._loaded(full) if full else ModuleType("")
            if module is None:
                raise ModuleNotFoundError(f"No module named '{full}' beside {self.code.main}", name=full)
            for item in fromlist or ():
                if (
                    not hasattr(module, item)
                    and (inner := self._loaded(f"{full}.{item}" if full else item)) is not None
                ):
                    setattr(module, item, inner)
            return module if fromlist else self.modules[top]

        return import_here

    def _told(self, error: BaseException) -> CodeUnreadable:
        """Return the failure with the line of the tool's own files at which it happened."""
        own = {str(self.folder / path): path for path in self.code.texts}
        frames = traceback.extract_tb(error.__traceback__)
        place = next(((own[f.filename], f.lineno or 0) for f in reversed(frames) if f.filename in own), None)
        file, line = place or (self.code.main, 0)
        if isinstance(error, SyntaxError):
            return CodeUnreadable(
                own.get(error.filename or "", file), error.lineno or line, f"SyntaxError: {error.msg}"
            )
        return CodeUnreadable(file, line, in_words(error))


def in_words(error: BaseException) -> str:
    """Return what happened, and what to do where that is known."""
    told = traceback.format_exception_only(error)[-1].strip()[:500]
    if isinstance(error, ModuleNotFoundError):
        return f"{told}: install it in this environment, or put it beside the file"
    if not isinstance(error, Exception):
        return f"it ends the program when it is loaded ({type(error).__name__})"
    return told


def _print(*values: Any, file: Any = None, **more: Any) -> None:
    """Print to stderr where no file is named: stdout has a run's results."""
    print(*values, file=sys.stderr if file is None else file, **more)
