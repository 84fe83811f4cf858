"""Markdown on a terminal: headings, tables and code in colours, at its width. Brings rich."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markdown import Markdown
from rich.theme import Theme

_THEME = Theme({"markdown.code": "bold cyan", "markdown.h1": "bold underline", "markdown.block_quote": ""})
"""Inline code has no black box: a terminal may be light."""


def print_markdown(text: str, color: bool | None) -> None:
    """Write a page to stdout as a terminal shows it. With `color` False it has no colours; NO_COLOR counts, too."""
    console = Console(file=sys.stdout, no_color=True if color is False else None, highlight=False, theme=_THEME)
    console.print(Markdown(text, hyperlinks=False, code_theme="ansi_dark"))
