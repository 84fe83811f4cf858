"""The site as Sphinx builds it: without a warning, all of it, and without a request to any other host."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.components import installed
from tests.docs.pages import DOCS, ROOT
from tests.patience import PATIENCE_S

FETCHES = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object|link)\b[^>]*?\b(?:src|href|data)=["'](?P<address>[^"']*)"""
    r"""|(?:@import\s+["']|url\(\s*["']?)(?P<styled>[^"')]*)"""
)
CALLS = re.compile(r"""(?:fetch|importScripts|new Worker|\.open)\(\s*["'](?:GET["'],\s*["'])?(https?:)?//""")


def elsewhere(text: str) -> Iterator[str]:
    """Yield the addresses of other hosts that a page, a style sheet or a script would ask by itself: links are not."""
    for found in FETCHES.finditer(text):
        address = found["address"] or found["styled"] or ""
        if re.match(r"(?:[a-z]+:)?//", address, re.IGNORECASE):
            yield address
    yield from (found[0] for found in CALLS.finditer(text))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('<script async src="https://cdn.example/x.js"></script>', 1),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', 1),
        ("@import 'https://fonts.example/x'; a{background:url(http://x.example/y.png)}", 2),
        ('fetch("https://x.example/y")', 1),
        ('<a href="https://x.example">x</a> <script src="_static/x.js"></script> url(data:image/png;base64,x)', 0),
    ],
)
def test_requests_to_other_hosts_are_found(text, count):
    assert len(list(elsewhere(text))) == count


@pytest.mark.long
def test_the_site_is_built_without_a_warning_and_needs_nothing_else(tmp_path):
    """One test, so that the site is built once: ten seconds of a processor."""
    installed("sphinx", "docs")
    site = tmp_path / "site"
    options = ["-W", "--keep-going", "-q", "-n", "-b", "html"]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(site)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file(), page
    files = [file for kind in ("html", "css", "js") for file in site.rglob(f"*.{kind}")]
    asked = {file.name: found for file in files if (found := list(elsewhere(file.read_text("utf-8"))))}
    assert asked == {}
    index = (site / "searchindex.js").read_text("utf-8")  # a script, so a page from the disk can search
    assert index.startswith("Search.setIndex(")
    assert '"guides/limits"' in index
    link = re.search(
        r'href="\.\./(_downloads/\w+/debate\.yaml)"', (site / "guides" / "examples.html").read_text("utf-8")
    )
    assert link is not None
    assert (site / link[1]).read_text("utf-8") == (ROOT / "examples" / "debate.yaml").read_text("utf-8")
