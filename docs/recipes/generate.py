"""The pages of the recipes, from their README.md and their files: `python docs/recipes/generate.py`."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.recipes import BEFORE, README, Recipe, recipes

HERE = Path(__file__).resolve().parent
LANGUAGES = {".yaml": "yaml", ".py": "python", ".md": "markdown", ".csv": "csv", ".diff": "diff", ".txt": "text"}
FIRST = {"squad.yaml": 0, "language.yaml": 1, "agent_routing.yaml": 2, "tools.py": 3}
"""The order of the files that a reader wants to see first."""
INDEX = """# Recipes

Whole squads for work that people have. `orchestrator init --template NAME DIR` writes one into a folder: the squad with
its tests, sample inputs, a routing file, and a README that says what to change first. `orchestrator init --list` lists
them in a terminal.

Each runs without a key as it stands: the offline stub answers, and says so. The tests of this project do that with all.

| recipe | what it does | pattern | needs |
|---|---|---|---|
{rows}

Squads that show one feature each are among the [examples](../guides/examples.md).

```{{toctree}}
:hidden:
:glob:

*
```
"""


def page(name: str) -> str:
    """Return the page of a recipe: what its README says, and each of its files but recordings and pictures."""
    recipe = recipes()[name]
    parts = [recipe.readme, "## The files\n"]
    for path, content in sorted(recipe.files(), key=lambda file: (FIRST.get(file[0], len(FIRST)), file)):
        if path == README or path.startswith("recordings/"):
            continue
        if (language := LANGUAGES.get(Path(path).suffix)) is None:
            parts.append(f"`{path}`: {len(content):,} bytes.\n")
        else:
            parts.append(f"`{path}`:\n\n{_fenced(content.decode(), language)}\n")
    return "\n".join(parts)


def _fenced(text: str, language: str) -> str:
    fence = "````" if "```" in text else "```"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def index() -> str:
    """Return the page that lists all recipes."""
    return INDEX.format(rows="\n".join(map(_row, recipes().values())))


def _row(recipe: Recipe) -> str:
    needs = recipe.facts["Needs"] + ("; `--trust`" if "--trust" in recipe.facts.get(BEFORE, "") else "")
    return f"| [`{recipe.name}`]({recipe.name}.md) | {recipe.summary} | {recipe.facts['Pattern']} | {needs} |"


def pages() -> dict[str, str]:
    """Return the text of each page by its file's name."""
    return {"index.md": index(), **{f"{name}.md": page(name) for name in recipes()}}


def write() -> None:
    """Write all pages; one of a recipe that is gone is removed."""
    texts = pages()
    for unused in {file.name for file in HERE.glob("*.md")} - set(texts):
        (HERE / unused).unlink()
    for name, text in texts.items():
        (HERE / name).write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    write()
