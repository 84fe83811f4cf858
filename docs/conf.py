"""The site: `python -m sphinx -W -n -b html docs OUT` (`pip install -e ".[docs]"`).

Pages are GitHub's Markdown; only the `toctree` blocks of index pages are Sphinx's. What is built asks no other host:
no font, script or picture comes from elsewhere (`tests/docs/test_site.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from orchestrator._version import __version__  # noqa: E402  # the checkout's, wherever the build is started

project = "squad-orchestrator"
version = release = __version__
language = "en"
extensions = ["myst_parser"]
myst_heading_anchors = 4  # as GitHub makes them
exclude_patterns = ["**/_*", "_build"]

html_theme = "furo"
html_title = f"squad-orchestrator {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(ROOT / "docs" / "_static" / "scorer.js")  # what explains a word stands before what lists it
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style, pygments_dark_style = "friendly", "github-dark"


class LinksOutOfTheSite(SphinxTransform):
    """Makes a download of a link to Markdown of the checkout outside `docs/`, and plain words of one to a folder there.

    Links to its other files are downloads already. Where nothing is at a target, Sphinx reports it.
    """

    default_priority = 5

    def apply(self, **_: Any) -> None:
        """Change the links of one page."""
        for link in list(self.document.findall(pending_xref)):
            target = Path(self.env.doc2path(self.env.docname)).parent / link["reftarget"].partition("#")[0]
            if link["refdomain"] == "doc" and Path(link["reftarget"]).is_absolute():
                file = f"/../{target.with_suffix('.md').relative_to(ROOT)}"  # from the folder of this file
                download = download_reference("", *link.children, reftarget=file, refdoc=self.env.docname)
                link.replace_self(download)
            elif link["refdomain"] is None and target.is_dir():
                link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    for language in ("csv", "jsonl"):
        app.add_lexer(language, TextLexer)
    app.add_transform(LinksOutOfTheSite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
