"""Whether a reply says that the path does not exist at all: then the base URL is wrong, and no model is gone.

Routers say so in their own words, in no vendor's shape of error. Sources: docs/sources.md#addresses.
"""

from __future__ import annotations

import re

from providers.adapters import HttpReply
from providers.adapters.error_report import ErrorReport, excerpt, report_of
from providers.catalog.model import Provider
from providers.documents.unicode import clean, cut
from providers.errors import WrongAddress

BARE = frozenset(
    {
        *("not found", "404", "404 not found", "404: not found", "404 page not found", "page not found"),
        *("method not allowed", "405 method not allowed", "resource not found", "file not found", "not_found"),
        *("route not found", "endpoint not found", "path not found", "http 404", "http 404 not found"),
    }
)
"""All that a router says; who speaks of a model says more."""
TITLE = re.compile(r"<(title|h1)[^>]*>\s*([^<]{1,80})", re.IGNORECASE)
VERSION = re.compile(r"/v\d+\w*(?=/|$)")
_no_path = re.compile(
    r"unknown request url|invalid url \(|unexpected endpoint or method|no route (?:matched|for|found)|could not route"
    r"|cannot (?:post|get) /|requested url .{0,200}was not found|no (?:handler|endpoint) (?:found )?for (?:post|get) ",
    re.IGNORECASE,
).search


def wrong_address(reply: HttpReply, url: str, row: Provider) -> WrongAddress | None:
    """Return the error of a reply to a POST at `url` that no path is there, None where it says anything else.

    Some vendors say `404 page not found` of a model: at an address from the packaged catalog only plain words count.
    """
    if reply.status not in (404, 405):
        return None
    report = report_of(reply.body)
    if not (names_no_path(report.text) if row.packaged else _says_no_path(report, reply.body)):
        return None
    address = url.partition("?")[0]
    message = f"the base URL is wrong: POST {address} was answered with {_what_came(report, reply.body)}"
    base = re.sub(r"/(?:chat/completions|messages|models/[^/]*)$", "", address)
    versioned = VERSION.search(base)
    hint = f"; did you mean {base[: versioned.end()] if versioned else f'{base}/v1'}?"
    if versioned and versioned.end() == len(base):
        hint = ""
    return WrongAddress(message + hint, status=reply.status)


def names_no_path(text: str) -> bool:
    """Whether words, under whatever status they came, are a router's of a path that is not there."""
    return _no_path(text) is not None


def _says_no_path(report: ErrorReport, body: bytes) -> bool:
    if not report.is_json and (not body.strip() or is_page(body)):
        return True
    return report.text.strip(" .!\n").lower() in BARE or names_no_path(report.text)


def is_page(body: bytes) -> bool:
    """Return whether a body is a web page."""
    return body[:1024].lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def _what_came(report: ErrorReport, body: bytes) -> str:
    if report.is_json or not is_page(body):
        return repr(cut(report.text, 80)) if body.strip() else "an empty body"
    title = TITLE.search(clean(body[:4096].decode("utf-8", "replace")))
    return f"a web page, {' '.join(title[2].split())!r}" if title else f"a web page, {cut(excerpt(body), 40)!r}"
