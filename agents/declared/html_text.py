"""What a web page says, as text: without markup, scripts and styles, with the addresses of its links. Pure, and linear:
the parser of the standard library takes quadratic time on some pages (CVE-2025-6069)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import urljoin

_DROPPED = re.compile(r"<(script|style|noscript|template|svg|iframe)\b", re.IGNORECASE)
_NAME = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
_HREF = re.compile(r"""\bhref\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_is_block = re.compile(
    r"address|article|aside|blockquote|br|d[dlt]|div|fieldset|figure|footer|form|h[1-6r]|header|li|main|nav|ol|option|p"
    r"|pre|section|table|t[dhr]|title|ul"
).fullmatch


def text_of_html(html: str, url: str = "") -> str:
    """Return the text of a page; `url` is its address, of which links may be parts."""
    lines = [" ".join(line.split()) for line in unescape("".join(_pieces(html, url))).split("\n")]
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip()


def _pieces(html: str, url: str) -> Iterator[str]:
    at, link = 0, ""
    while (begin := html.find("<", at)) >= 0:
        yield re.sub(r"\s", " ", html[at:begin])
        if html.startswith("<!--", begin):
            at = _after(html, "-->", begin)
            continue
        if dropped := _DROPPED.match(html, begin):
            close = re.compile(f"</{dropped[1]}", re.IGNORECASE).search(html, begin)
            at = len(html) if close is None else _after(html, ">", close.start())
            continue
        name = _NAME.match(html, begin)
        if name is None and not html.startswith(("<!", "<?"), begin):
            yield "<"
            at = begin + 1
            continue
        at = _after(html, ">", begin)
        word = "" if name is None else name[1].lower()
        if word == "a":
            yield f" ({link})" if link and html.startswith("</", begin) else ""
            href = _HREF.search(html, begin, at)
            link = urljoin(url, unescape(href[1])) if href is not None and not href[1].startswith("#") else ""
        elif _is_block(word):
            yield "\n"
    yield re.sub(r"\s", " ", html[at:])


def _after(html: str, end: str, at: int) -> int:
    """Return the place behind the next `end`; that of the page's own end where there is none."""
    found = html.find(end, at)
    return len(html) if found < 0 else found + len(end)
