"""The one door for text: what comes in from files, models and people is made safe here, and cut here.

Out go NUL and the other C0 and C1 controls, the byte order mark, and halves of surrogate pairs; valid pairs are joined.
Everything else passes unharmed: emoji and their joiners, right-to-left marks, combining marks, every script. CRLF stays
CRLF: whether a line end matters is for the reader to say (a patch or a file must come back as it went in). Nothing is
normalised.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

REPLACEMENT = "\ufffd"

# Class contents for `re`. A lone surrogate is in here too: the encoder of every socket and file refuses it.
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_SURROGATES = "\ud800-\udfff"
_BOM = "\ufeff"
_unsafe = re.compile(f"[{_CONTROLS}{_SURROGATES}{_BOM}]").search
_has_surrogate = re.compile(f"[{_SURROGATES}]").search
_without = re.compile(f"[{_CONTROLS}{_BOM}]").sub
# How JSON spells them, behind a backslash that is not escaped itself.
_escaped_unsafe = re.compile(
    r"(?<!\\)(?:\\\\)*\\(?:[bf]|u(?:[dD][89a-fA-F]|00(?:0[0-8bBcCeEfF]|1|7[fF]|[89])|[fF][eE][fF][fF]))"
).search

# What a terminal would act on instead of showing: CSI and string sequences (OSC, DCS, SOS, PM, APC) with their bodies,
# then any two-character escape. ECMA-48, 5th edition, and xterm's control sequences. An unfinished string sequence
# ends at the line's end, so that one stray introducer cannot swallow the rest of a text.
_escape = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\r\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Directional embeddings, overrides and isolates reorder what stands around them ("Trojan Source", CVE-2021-42574).
# The plain marks (LRM, RLM, ALM) stay: right-to-left texts need them. Line and paragraph separators go, carriage
# returns too: they overwrite the line on some terminals.
_unprintable = re.compile(f"[{_CONTROLS}\r{_BOM}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]").sub

# What is not seen at all where it stands: the former, and marks, joiners of words and tags ("ASCII smuggling"). The
# joiners of letters and of emoji stay: their effect is seen.
_unseen = re.compile(
    f"[{_CONTROLS}\r{_BOM}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
).sub


def clean(text: str) -> str:
    """Return `text` fit for every encoder, file and wire; the same object where it already is.

    Idempotent. Tab, line feed and carriage return stay. Text that is clean costs one scan.
    """
    if text.isprintable() or not _unsafe(text):
        return text
    return _without("", _joined(text))


def clean_counted(text: str) -> tuple[str, int]:
    """Return `clean(text)` and how many lone surrogates became U+FFFD."""
    cleaned = clean(text)
    return cleaned, 0 if cleaned is text else cleaned.count(REPLACEMENT) - text.count(REPLACEMENT)


def _joined(text: str) -> str:
    if not _has_surrogate(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def clean_json(value: Any) -> Any:
    """Return `value` (what `json.loads` makes) with every string in it clean, keys too."""
    match value:
        case str():
            return clean(value)
        case Mapping():
            return {clean(key) if isinstance(key, str) else key: clean_json(item) for key, item in value.items()}
        case list() | tuple():
            return [clean_json(item) for item in value]
    return value


def clean_json_text(text: str) -> str:
    r"""Return `text`, which should be JSON, clean in itself and in what it spells: `"\ud83d"` is a lone surrogate too.

    Vendors parse the arguments of tool calls and answer 400 to an unpaired escape, and tools get what `"\u0000"` says.
    Text that is not JSON stays as it is once cleaned.
    """
    text = clean(text)
    if not _escaped_unsafe(text):
        return text
    try:
        return json.dumps(clean_json(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return text


class CleanStream:
    """Cleans a text that comes in pieces: the joined output is `clean` of the joined input, however it was cut."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what is certain by now. The first half of a surrogate pair waits for the second."""
        if self._held:
            piece, self._held = self._held + piece, ""
        if "\ud800" <= piece[-1:] <= "\udbff":
            piece, self._held = piece[:-1], piece[-1]
        return clean(piece)

    def finish(self) -> str:
        """Return what was held back at the end."""
        held, self._held = self._held, ""
        return clean(held)


def utf8_decoder() -> codecs.IncrementalDecoder:
    """Return a decoder for bytes that come in pieces: characters may be split anywhere, broken ones become U+FFFD."""
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


def cut(text: str, limit: int) -> str:
    """Return the first `limit` characters as a reader counts them: no emoji, flag or accented letter is split.

    A character is an extended grapheme cluster (UAX 29). One cluster may be many code points; what must bound
    memory bounds its bytes first.
    """
    if limit <= 0:
        return ""
    if len(text) <= limit:
        return text
    import regex

    last = next(islice(regex.finditer(r"\X", text), limit - 1, None), None)
    return text if last is None else text[: last.end()]


def printable(text: str) -> str:
    """Return `text` with nothing in it that a terminal obeys: a model's words are data on a console.

    Escape sequences go with their bodies, then controls other than tab and line feed, bidirectional embeddings,
    overrides and isolates, and interlinear annotations. Lone surrogates become U+FFFD.
    """
    if text.isprintable():
        return text
    return _unprintable("", _escape.sub("", _joined(text)))


def visible(text: str) -> str:
    """Return `text` with nothing in it that a terminal obeys, and what cannot be seen by its name: `<U+202E>`.

    For what a person is to decide on: nothing of it is left out.
    """
    if text.isprintable():
        return text
    return _unseen(lambda found: f"<U+{ord(found[0]):04X}>", _joined(text.replace("\r\n", "\n")))
