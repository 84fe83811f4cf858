"""The templates of the pages: what a model said is text in them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.runtime import Macro

from orchestrator.server.pages import words
from orchestrator.server.pages.static_files import address_of

PART = "part_"
"""How the blocks of a template are called that are kept up to date; what follows is the id of the block's element."""
MACROS = ("parts.html", "questions.html")
"""Templates of macros, which all others can use."""


@lru_cache(maxsize=1)
def templates() -> Environment:
    """Return the templates. Each is compiled when it is first asked for, once for all servers of a process."""
    made = Environment(
        loader=PackageLoader("orchestrator.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    told = {"states": words.STATES, "usd": words.usd, "cost": words.cost, "seconds": words.seconds}
    made.globals.update(told, moment=words.moment, moment_near=words.moment_near, iso=words.iso, static=address_of)
    made.filters["spoken"] = words.spoken
    for macros in MACROS:
        there = vars(made.get_template(macros).module)
        made.globals.update({name: one for name, one in there.items() if isinstance(one, Macro)})
    return made


def compile_all() -> None:
    """Compile all templates: without it the first look at a page takes up to 50 ms longer."""
    for name in templates().list_templates():
        templates().get_template(name)


class Pages:
    """Renders pages, and the parts of them that are kept up to date."""

    def __init__(self) -> None:
        self._environment = templates()

    def page(self, name: str, values: Mapping[str, Any]) -> str:
        """Return a whole page."""
        return self._environment.get_template(f"{name}.html").render(values)

    def parts(self, name: str, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the parts of a page by the ids of their elements."""
        template = self._environment.get_template(f"{name}.html")
        blocks = {block: made for block, made in template.blocks.items() if block.startswith(PART)}
        context = template.new_context(dict(values))
        return {block.removeprefix(PART): "".join(made(context)).strip() for block, made in blocks.items()}
