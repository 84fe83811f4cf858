"""Writes all pages that are made from the code: `python docs/generate.py`; `--check` only tells which are stale.

A generator is a file `generate*.py` below this folder. It has `PAGE`, the path of its page, and `page()`, the text; or
`pages()`, the texts of several by path, or by name beside it. One whose `page` takes something simulates for minutes,
and is run by itself.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parent


def generators(folder: Path) -> Sequence[Path]:
    """Return the generators below a folder, sorted."""
    return sorted(path for path in folder.rglob("generate*.py") if path.resolve() != Path(__file__).resolve())


def made_by(generator: Path) -> Mapping[Path, str]:
    """Return what a generator makes: each page's path with its text. Empty for one that is run by itself.

    Raise `AttributeError` for a file that is no generator.
    """
    module = _loaded(generator)
    if hasattr(module, "pages"):
        return {generator.parent / name: text for name, text in module.pages().items()}
    if inspect.signature(module.page).parameters:
        return {}
    return {module.PAGE: module.page()}


def _loaded(generator: Path) -> ModuleType:
    if str(DOCS.parent) not in sys.path:
        sys.path.insert(0, str(DOCS.parent))  # the checkout's packages, and `docs.reference.tables`
    spec = spec_from_file_location(f"docs_{generator.stem}", generator)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def stale(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the pages that are not what their generators make, each with the text that it should have."""
    for generator in generators(folder):
        for page, text in made_by(generator).items():
            if not page.is_file() or page.read_text("utf-8") != text:
                yield page, text


def main(arguments: Sequence[str], folder: Path = DOCS) -> int:
    """Write the stale pages, or with `--check` only name them. Return the exit code: 1 where `--check` found any."""
    if set(arguments) - {"--check"}:
        print("usage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    found = dict(stale(folder))
    for page, text in found.items():
        if not arguments:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, "utf-8")
        print(f"{'stale' if arguments else 'wrote'}  {page.relative_to(folder.parent)}")
    print(f"{len(generators(folder))} generators, {len(found)} pages {'are stale' if arguments else 'written'}")
    return 1 if arguments and found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
