"""The recipes: whole squads that are part of the package, for `init --template`.

A recipe is a folder of `orchestrator/recipes/`. Its README.md begins with a title, a line that says what it does, and a
table of facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "recipes"
README = "README.md"
_ROW = re.compile(r"^\| ([A-Z][a-z ]+) \| (.+) \|$", re.MULTILINE)
_RUN = re.compile(r"^orchestrator (?:run|chat|simulate) .+$", re.MULTILINE)
BEFORE = "Before you run"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A folder with a squad, its tests, and whatever else it needs."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def readme(self) -> str:
        return (self.folder / README).read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        return self.readme.partition("\n")[0].removeprefix("# ")

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""
        return self.readme.split("\n\n")[1]

    @property
    def facts(self) -> Mapping[str, str]:
        """The rows of the table at the beginning, as Markdown: For, Pattern, Needs, Costs at most, Before you run."""
        return dict(_ROW.findall(self.readme))

    @property
    def first_command(self) -> str:
        """What is to be typed first in a folder that has the recipe's files."""
        found = _RUN.search(self.readme)
        assert found is not None, f"{self.folder / README} gives no command"
        return found[0]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield each file's path below the folder, with slashes, and what is in it."""
        for path in sorted(self.folder.rglob("*")):
            parts = path.relative_to(self.folder).parts
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
                yield "/".join(parts), path.read_bytes()


def recipes() -> dict[str, Recipe]:
    """Return all recipes by name, in the order of their names."""
    return {path.name: Recipe(path) for path in sorted(FOLDER.iterdir()) if (path / README).is_file()}
