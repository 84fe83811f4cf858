"""The inputs that a command line gives: texts, files (`@notes.md`), standard input (`-`), and a file of JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.cli.ui.arguments import json_object, split_inputs
from orchestrator.squad.given import InputType
from orchestrator.squad.given_files import cap_of, read_given, read_named, too_large
from orchestrator.squad.given_values import RawInput, UnreadInput
from orchestrator.squad.inputs import coerce_inputs
from orchestrator.squad.load import Squad
from orchestrator.squad.spec import InputSpec
from providers.documents.unicode import printable

PIPED = frozenset({"-", "@-"})
_DATA_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".txt")
"""Of files that hold lists and objects."""


@dataclass(slots=True)
class PipedInput:
    """Standard input, which one input may be read from. It is read when that input asks for it."""

    _taken_by: str | None = field(default=None)
    _read: RawInput | UnreadInput = field(default_factory=lambda: UnreadInput("nothing was read"))

    def read(self, name: str, kind: InputType) -> RawInput | UnreadInput:
        """Return what stands in it for this input: the same when it asks again, as for a second squad."""
        if self._taken_by is None:
            self._taken_by, self._read = name, _piped(cap_of(kind))
        if self._taken_by != name:
            why = f"standard input is read once, and '{self._taken_by}' has it"
            return UnreadInput(why, "write it to a file, and give @FILE")
        return self._read


def _piped(cap: int) -> RawInput | UnreadInput:
    if sys.stdin is None or sys.stdin.closed:
        return UnreadInput("there is no standard input to read", "give @FILE")
    if sys.stdin.isatty():
        return UnreadInput("standard input is a terminal", "pipe something into it: cat notes.md | orchestrator ...")
    try:
        data = sys.stdin.buffer.read(cap + 1)
    except OSError as error:
        return UnreadInput(f"standard input cannot be read: {error.strerror or error}")
    return too_large("standard input", cap) if len(data) > cap else RawInput("stdin", data)


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """What `-i` and `--inputs` say, before it is known what a squad declares."""

    pairs: Sequence[tuple[str, str]]
    document: Mapping[str, Any]
    folder: Path = Path()
    """What files in the document are named from: the folder that it lies in."""
    piped: PipedInput = field(default_factory=PipedInput)

    def __bool__(self) -> bool:
        return bool(self.pairs or self.document)

    def of(self, squad: Squad) -> dict[str, Any]:
        """Return each input as its declared type. What cannot be read is told by `Squad.plan`."""
        return self.typed(squad.spec.inputs)

    def typed(self, declared: Mapping[str, InputSpec]) -> dict[str, Any]:
        """Return each input as it is declared; what cannot be read is an `UnreadInput`."""
        held = {name: text for name, text in self.pairs if name in declared}
        unknown = {name: text for name, text in self.pairs if name not in held}
        document = read_named(declared, self.document, self.folder)
        read = {name: self._meant(name, text, declared[name].type) for name, text in held.items()}
        return {**document, **unknown, **coerce_inputs(declared, read.items())}

    def _meant(self, name: str, text: str, kind: InputType) -> str | RawInput | UnreadInput:
        """Return what a text stands for. Of a file and an image a bare text is a path, as is what follows an `@`."""
        if text in PIPED:
            return self.piped.read(name, kind)
        is_literal = text.startswith("@@")
        path = text.removeprefix("@")
        if kind in ("file", "image") and not text.startswith("data:"):
            return _file(path, kind)
        if text.startswith("@") and not is_literal:
            return _file(path, kind)
        if kind in ("list", "object") and _names_a_file(text):
            why = f"'{printable(text)}' is a text, and a file has this name"
            return UnreadInput(why, f"-i {name}=@{printable(text)} reads the file; '[{printable(text)}]' is the text")
        return path if is_literal else text


def _names_a_file(text: str) -> bool:
    """Return whether a value is a file's name, so that its `@` is likely forgotten."""
    try:
        return text.lower().endswith(_DATA_ENDINGS) and Path(text).is_file()
    except (OSError, ValueError):
        return False


def _file(path: str, kind: InputType) -> RawInput | UnreadInput:
    if not path:
        return UnreadInput("no file is named", "@notes.md reads a file, @@ is a plain @")
    return read_given(path, kind)


def given_inputs(pairs: Sequence[str], inputs_file: str | None = None) -> GivenInputs:
    """Return what `-i KEY=VALUE` and `--inputs FILE.json` say. Raise `Unusable` for what cannot be read as that."""
    document = json_object(inputs_file) if inputs_file else {}
    return GivenInputs(split_inputs(pairs), document, Path(inputs_file or "").parent)
