"""YAML as Python programs read it by PyYAML: version 1.1, with merge keys, and the last of two equal keys counts. Pure.

Our own reader is strict, and what other frameworks read need not pass it.
"""

from __future__ import annotations

from typing import Any

import yaml

from providers.documents.nodes import MAX_DEPTH, Mark, source_of
from providers.documents.problems import SpecError
from providers.documents.syntax import syntax_problem
from providers.documents.yaml import MAX_BYTES, MAX_NODES

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_START = Mark(1, 1, 0, 0, 0)


class LooseFile:
    """A mapping of a file. `twice`: keys that stand there more than once, by the path of their mapping.

    `lines` has the line of each key of the first two levels.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file, self.source = file, source_of(text, file)
        self.twice: list[str] = []
        self.lines: dict[tuple[str, ...], Mark] = {}
        self.values = self._read()

    def _read(self) -> dict[str, Any]:
        loader: Any = None
        try:
            self._measure()
            loader = _Loader(self.source.text)
            root = loader.get_single_node()
            if root is None:
                raise self.error((), "empty-file", "the file is empty")
            if not isinstance(root, yaml.MappingNode):
                raise self.error((), "wrong-type", "the file must be a mapping: `name:` with fields below")
            self._look(root, ())
            values = loader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            raise SpecError([syntax_problem(self.source, error)]) from None
        except yaml.YAMLError as error:
            raise self.error((), "bad-yaml", str(error).splitlines()[0]) from None
        except (RecursionError, ValueError, TypeError) as error:
            told = "nests too deeply" if isinstance(error, RecursionError) else f"holds a value that is none: {error}"
            raise self.error((), "bad-yaml", f"the file {told}") from None
        finally:
            if loader is not None:
                loader.dispose()
        return {str(key): value for key, value in values.items()}

    def _measure(self) -> None:
        """Raise `SpecError` where the file nests so deep that reading it whole would take the stack."""
        if len(self.source.text.encode()) > MAX_BYTES:
            raise self.error((), "too-large", f"the file has more than {MAX_BYTES} bytes")
        depth = 0
        for event in yaml.parse(self.source.text, Loader=_BASE):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise self.error((), "too-large", f"the file has more than {MAX_DEPTH} levels")

    def _look(self, node: yaml.MappingNode, path: tuple[str, ...]) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            name, at = str(key.value), (*path, str(key.value))
            start = key.start_mark
            self.lines[at] = Mark(start.line + 1, start.column + 1, len(name), start.index, start.index + len(name))
            if name in seen:
                self.twice.append(".".join(at))
            seen.add(name)
            if isinstance(value, yaml.MappingNode) and len(path) < 1:
                self._look(value, at)

    def error(self, path: tuple[str, ...], code: str, message: str, hint: str = "") -> SpecError:
        """Return what is wrong with what stands at a path."""
        mark = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), _START)
        return SpecError([self.source.problem(mark, code, message, hint, path=path)])


class _Loader(_BASE):  # type: ignore[misc]  # one of two classes
    """Reads dates as the text that they are: no field takes one.

    What merge keys come to is bounded: before PyYAML 6.0.4 each could double what the last came to.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MAX_NODES:
            raise yaml.constructor.ConstructorError(None, None, "merge keys make too many values", node.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
