"""What a Python file says that it holds, read without running any of it, and the files beside it that it imports.

Pure but for `read`, which is given.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from agents.errors import AgentError

TERMS = frozenset({"approval", "risk", "idempotent", "untrusted"})
MOST_FILES = 200
"""Files that one tool may be made of."""

ReadBeside = Callable[[str], bytes]
"""Returns a file below the folder that the tool is of, by its path. Raises `OSError`, `ValueError`, `AgentError`."""


class CodeUnreadable(AgentError):
    """A file of Python cannot be used. `file` and `line` (0: no line) are where."""

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(f"{file}{f':{line}' if line else ''}: {message}")
        self.file, self.line, self.message = file, line, message


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a file defines under a name, as its text says: `signature` is empty where that is no `def`."""

    name: str
    line: int
    docs: str = ""
    signature: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)
    """What `@tool(...)` says of when a person is asked, as far as it is written there as a value."""


@dataclass(frozen=True, slots=True)
class CodeText:
    """The file `main` and those beside it that it imports, by their paths: all that may run, and nothing else may."""

    main: str
    texts: Mapping[str, bytes]

    def path_of(self, module: str) -> str | None:
        """Return the file of a module that is imported; None where it is not one of these."""
        if module.partition(".")[0] in sys.stdlib_module_names:
            return None
        return next((path for path in places_of(module, self.main) if path in self.texts), None)

    @property
    def sha256(self) -> str:
        """Of all the files with their names: another byte in any of them makes another digest."""
        whole = [(path, hashlib.sha256(self.texts[path]).hexdigest()) for path in sorted(self.texts)]
        return hashlib.sha256(json.dumps([self.main, whole]).encode()).hexdigest()

    def declared(self) -> dict[str, Declaration]:
        """Return what stands at the top of the main file, by name. Raise `CodeUnreadable`."""
        return {one.name: one for one in _declarations(_parsed(self.main, self.texts[self.main]))}


def code_of(main: str, read: ReadBeside) -> CodeText:
    """Return a file with the files beside it that it imports, and that these import.

    `main` is a path below the folder. Raise what `read` raises for `main`, and `CodeUnreadable`.
    """
    texts: dict[str, bytes] = {main: read(main)}
    todo = [main]
    while todo:
        path = todo.pop()
        for module in sorted(_imported(_parsed(path, texts[path]), package_of(path, main))):
            for found in _files(module, main, read, texts):
                todo.append(found)
                if len(texts) > MOST_FILES:
                    raise CodeUnreadable(main, 0, f"it imports more than {MOST_FILES} files beside it")
    return CodeText(main, texts)


def package_of(path: str, main: str) -> str:
    """Return the package that a file is in, as modules name it; empty beside the file `main`."""
    return ".".join(PurePosixPath(path).relative_to(PurePosixPath(main).parent).parts[:-1])


def places_of(module: str, main: str) -> tuple[str, str]:
    """Return the paths at which a module may stand that is imported beside `main`: a package's, then a file's."""
    path = PurePosixPath(main).parent.joinpath(*module.split("."))
    return f"{path}/__init__.py", f"{path}.py"


def absolute(name: str, level: int, package: str) -> str:
    """Return the name of a module that is imported from a package. Raise `ImportError` where that is above the top."""
    if level == 0:
        return name
    parts = package.split(".") if package else []
    if level - 1 > len(parts):
        raise ImportError("attempted relative import beyond the folder of the tools")
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


def _files(module: str, main: str, read: ReadBeside, texts: dict[str, bytes]) -> Iterator[str]:
    """Read the files of a module and of the packages around it that stand beside `main`, and yield the new ones."""
    parts = module.split(".")
    if parts[0] in sys.stdlib_module_names or not all(parts):
        return
    for end in range(1, len(parts) + 1):
        places = places_of(".".join(parts[:end]), main)
        if any(path in texts for path in places):
            continue
        found = next((path for path in places if _is_read(path, read, texts)), None)
        if found is None:
            return
        yield found


def _is_read(path: str, read: ReadBeside, texts: dict[str, bytes]) -> bool:
    try:
        texts[path] = read(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _parsed(path: str, text: bytes) -> ast.Module:
    try:
        return ast.parse(text, path)
    except SyntaxError as error:
        raise CodeUnreadable(path, error.lineno or 0, f"it is not Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise CodeUnreadable(path, 0, f"it is not Python: {error}") from error


def _imported(tree: ast.Module, package: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            try:
                module = absolute(node.module or "", node.level, package)
            except ImportError:
                continue  # it is reported when it is run
            # What is imported from a package may be a module in it.
            found |= {f"{module}.{alias.name}" if module else alias.name for alias in node.names}
    return found


def _declarations(tree: ast.Module) -> Iterator[Declaration]:
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
                signature = f"({ast.unparse(node.args)}){returned}"
                yield Declaration(node.name, node.lineno, ast.get_docstring(node) or "", signature, _terms(node))
            case ast.ClassDef():
                yield Declaration(node.name, node.lineno, ast.get_docstring(node) or "")
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    yield Declaration((alias.asname or alias.name).partition(".")[0], node.lineno)
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from (
                        Declaration(name.id, node.lineno) for name in ast.walk(target) if isinstance(name, ast.Name)
                    )
            case ast.AnnAssign(target=ast.Name(id=name)) if node.value is not None:
                yield Declaration(name, node.lineno)
            case ast.If() | ast.Try() | ast.With():
                yield from _declarations(ast.Module([*_inside(node)], []))
            case _:
                pass


def _inside(node: ast.If | ast.Try | ast.With) -> Iterator[ast.stmt]:
    yield from node.body
    if isinstance(node, ast.If | ast.Try):
        yield from node.orelse
    if isinstance(node, ast.Try):
        for handler in node.handlers:
            yield from handler.body
        yield from node.finalbody


def _terms(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Any]:
    calls = [one for one in node.decorator_list if isinstance(one, ast.Call)]
    said = [word for call in calls if ast.unparse(call.func).split(".")[-1] == "tool" for word in call.keywords]
    return {one.arg: one.value.value for one in said if one.arg in TERMS and isinstance(one.value, ast.Constant)}
