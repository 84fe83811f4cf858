"""The model that every mapping of a file obeys, and how a part of a file becomes one.

`checked` reads a part whole or not at all. `validated` reads a document and puts harmless values in the place of wrong
ones, so that the rest of it can be checked in the same go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem, in_order
from providers.documents.validation import child, complaints_of, in_words


class StrictModel(BaseModel):
    """What every mapping in our files obeys: no unknown fields, and no value is taken for one of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)
    noun: ClassVar[str] = "this mapping"
    """What messages call it: `a task`."""
    other_names: ClassVar[Mapping[str, str]] = {}
    """What other formats call a field, and what it is called here."""
    advice: ClassVar[Mapping[str, str]] = {}
    """What to do about a field of other formats that has no counterpart here."""
    examples: ClassVar[Mapping[str, str]] = {}
    """How a field is written, where what other formats write under their name for it would not do."""
    value_advice: ClassVar[Mapping[str, str]] = {}
    """What to write in place of a value that no field with a choice has, by the value."""
    meant: ClassVar[str] = ""
    """The field that a plain value means which stands in place of the whole mapping."""
    placeholders: ClassVar[Mapping[str, Any]] = {}
    """What a required field of a document, at whatever depth, holds where it is missing, so that the rest is read."""

    def given(self) -> dict[str, Any]:
        """Return the fields that were written, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


M = TypeVar("M", bound=StrictModel)


def checked(model: type[M], root: Node, at: Path = ()) -> tuple[M | None, list[Problem]]:
    """Return what stands at the path `at` of `root` as a `model`; None with every mistake in its fields."""
    part = root.at(at)
    data = {} if part is None or part.value is None else part.plain()
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, in_words(root, model, complaints_of(data, error), at)


def validated(model: type[M], root: Node, read: Sequence[Problem] = (), data: Any = None) -> tuple[M, list[Problem]]:
    """Return a whole document as a `model`, and every mistake in it so far: wrong fields hold harmless values.

    `root` holds a mapping, `read` is what was wrong with its text. `data` is what it holds, with fields that it leaves
    out; it is changed.
    """
    data = root.plain() if data is None else data
    found: list[Problem] = []
    for round_ in range(_MOST_ROUNDS):
        try:
            return model.model_validate(data), in_order([*read, *found])
        except ValidationError as error:
            wrong = complaints_of(data, error)
        if not round_:  # later rounds find only what the substitutes did
            found = in_words(root, model, wrong)
            if read:  # keys were dropped: what is missing may be among them
                found = [problem for problem in found if problem.code != "missing-field"]
        for complaint in wrong:
            kind = "" if complaint.on_key else complaint.kind  # no value makes a key right: the field goes
            _substitute(data, complaint.path, kind, model.placeholders)
    raise AssertionError(f"{root.source.file}: no harmless values fit its mistakes")


_MOST_ROUNDS = 60
"""Each round puts right at least one level of the tree, and the tree has fewer."""
_HARMLESS: Mapping[str, Any] = {
    "string_type": "?",
    "string_too_short": "?",
    "string_pattern_mismatch": "?",
    "list_type": [],
    "dict_type": {},
    "model_type": {},
    "model_attributes_type": {},
}
"""By pydantic's error: what a wrong value is replaced with. Others are left out."""


def _substitute(data: Any, path: Path, kind: str, placeholders: Mapping[str, Any]) -> None:
    """Change what stands at `path`, where it still stands, so that the rest can be validated."""
    parent: Any = None
    here: Any = data
    for part in path:
        parent, here = here, child(here, part)
    last = path[-1] if path else None
    # What stood there is gone already, or is of another kind by now: a union is wrong in each of its cases.
    if parent is None or isinstance(parent, str) or isinstance(parent, list) is isinstance(last, str):
        return
    if kind == "missing" and last in placeholders:
        parent[last] = placeholders[str(last)]
    elif kind == "missing":
        _substitute(data, path[:-1], "", placeholders)
    elif kind in _HARMLESS and here != _HARMLESS[kind]:
        parent[last] = type(_HARMLESS[kind])(_HARMLESS[kind])
    elif isinstance(parent, list):
        _substitute(data, path[:-1], "", placeholders)
    else:
        parent.pop(last, None)
