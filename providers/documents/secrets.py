"""What looks like a secret in a text that people will see. Pure.

Keys that are known are taken out by their value elsewhere (`ProviderError.hide`, `cli/ui/masking.py`). This is for the
others: what stands in a file where no key belongs, or comes back in a message of somebody else's.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"

# `first_token` and `per_token` are times, in files of ours: a run that is replayed reads them.
_NAME = (
    r"(?:[\w-]*(?:api[-_ ]?keys?|access[-_ ]?keys?|private[-_ ]?keys?|secret[-_ ]?keys?|secrets?"
    r"|(?<!first_)(?<!per_)token|passw(?:or)?ds?|passphrase|credentials?|authori[sz]ation|cookies?)"
    r"|x-[\w-]*(?:key|auth)|auth|bearer|apikeys?)"
)
# Texts, not compiled patterns: `re` compiles each when it is first used, and most programs that start use none of them.
_NAMED = rf"(?i)(?<![\w-]){_NAME}[\"']?\s*[:=]"
_PREFIXES = (
    *("sk", "gsk", "csk", "xai", "pk", "hf", "r8", "nvapi", "pplx", "glpat", "github_pat", "rk", "ya29"),
    *(f"xox{one}" for one in "abeprs"),
    *(f"gh{one}" for one in "opsur"),
)
"""With what vendors' keys begin, before a dash, a dot or an underscore."""
_IN_QUERY = ("key", "sig", "token", "api_key", "api-key", "apikey", "access_token", "auth", "password", "secret")
_KINDS = (
    (
        rf"(?i:\b(?:{'|'.join(_PREFIXES)})[-_.][\w.-]{{12,}})",
        r"[-_.](?=[\w.-]{12})(?:" + "|".join(rf"(?<=\b{prefix}.)" for prefix in _PREFIXES) + ")",
    ),
    (r"\bAIza[\w-]{20,}", "aiza"),
    (r"\bAKIA[0-9A-Z]{12,}", "akia"),
    (r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?", "eyj"),
    (r"(?i:(?<=\bbearer )|(?<=\bbasic ))[\w+/=.~:-]{8,}", "bearer |basic "),
    (r"(?<=://)[^\s/@'\"]+(?=@)", "://"),
    (rf"(?i:{'|'.join(f'(?<=[?&]{name}=)' for name in _IN_QUERY)})[^&\s\"'#]+", rf"[?&](?:{'|'.join(_IN_QUERY)})="),
)
"""Keys as vendors hand them out, JSON Web Tokens, what follows Bearer, a user in an address, a key in a query. Behind
each what is found sooner: it stands in every text that has one, once that is in small letters."""
_SHAPES = "|".join(shape for shape, _ in _KINDS)
_PAIR = rf"(?i)((?<![\w-]){_NAME}[\"']?\s*[:=]\s*[\"']?)(?=[^\s\"',}}]*[0-9])[^\s\"',}}]{{8,}}"
_MAY_PAIR = (
    r"(?:keys?|secrets?|token|passw(?:or)?ds?|passphrase|credentials?|authori[sz]ation|cookies?|auth|bearer)"
    r"[\"']?\s*[:=]\s*[\"']?(?=[^\s\"',}]*[0-9])[^\s\"',}]{8}"
)
"""How each `_PAIR` ends, in small letters: a text without it has none."""
_GUESS = r"\b(?=[A-Za-z]*\d)(?=\w*[a-z])(?=\w*[A-Z])(?=(?:[A-Za-z]*\d){3})[A-Za-z0-9]{16,}\b"
_WRITTEN = (
    rf"(?im)((?<![\w-]){_NAME}[\"']?[ \t]*:[ \t]+)"
    r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'{\[|>][^,}\n#]*)"
)
_HEADERS = (
    r"(?m)(^([ \t]*)[\"']?extra_headers[\"']?:[ \t]*(?:#.*)?\n)((?:\2[ \t]+.*(?:\n|\Z)|[ \t]*\n)+)"
    r"|(extra_headers[\"']?:[ \t]*)(\{[^{}]*\})"
)
_VALUE = r"([\w-]+[\"']?[ \t]*:[ \t]+)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'{\[|>][^,}\n#]*)"
_WORD = r"[^\s'\",:{}\[\]]{6,}"
_GAP = r"(?:\s|\\[nr])+"
_PRIVATE_KEY = (
    rf"(-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----)"
    rf"((?:{_GAP}(?:[\w-]+: [^\n]*|[A-Za-z0-9+/=]{{16,}}))+(?:{_GAP}[A-Za-z0-9+/=]{{1,15}}(?={_GAP}-----END))?)"
)
"""A private key in PEM, also as one line of JSON has it."""


def secret_named_in(text: str) -> re.Match[str] | None:
    """Return where a text, a line of a file, has the name of a secret with what stands before its value."""
    return re.search(_NAMED, text)


def without_private_keys(text: str) -> str:
    """Return `text` without the private keys in it, in as many lines as it has."""
    return re.sub(_PRIVATE_KEY, lambda found: f"{found[1]}{MASK}" + "\n" * found[2].count("\n"), text)


def hidden(text: str, *, guess: bool = True) -> str:
    """Return `text` without what looks like a secret. `guess`: by its letters alone, too, where no name or shape says
    so; for texts that quote files, not for those that name them."""
    text = without_private_keys(text)
    # Most texts hold none, and to look for all kinds at each letter takes far longer than to find that out.
    small = _in_small_letters(text)
    if shapes := "|".join(shape for shape, sooner in _KINDS if re.search(sooner, small)):
        text = re.sub(shapes, MASK, text)
        small = _in_small_letters(text)
    if re.search(_MAY_PAIR, small):
        text = re.sub(_PAIR, rf"\1{MASK}", text)
    return re.sub(_GUESS, MASK, text) if guess else text


def _in_small_letters(text: str) -> str:
    """Return a text, as long as it was, with one letter for all that `re` takes for it where case is ignored."""
    if not text.isascii():
        text = text.replace("İ", "i").replace("ı", "i").replace("ſ", "s")
    return text.lower()


def recordable(text: str) -> str:
    """Return the YAML of a routing file as a record keeps it: without what is written under the name of a secret, or
    looks like one. It is still the same file but for these values, which no replay sends."""
    text = re.sub(_WRITTEN, r"\1hidden", re.sub(_SHAPES, "hidden", text))
    return re.sub(_HEADERS, _without_values, text)


def _without_values(found: re.Match[str]) -> str:
    """Return headers without their values, whoever may read them: written below their name, or behind it."""
    return (found[1] or found[4]) + re.sub(_VALUE, r"\1hidden", found[3] or found[5])


def may_hold_a_secret(line: str) -> bool:
    """Whether a line of a file should not be repeated."""
    return secret_named_in(line) is not None or hidden(line) != line


SHORTEST = 6
"""Characters of a value that is taken out: a shorter one stands in texts by chance."""


def without_values(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without these values, however whoever repeats them writes them: as they are, in a string of JSON or
    of Python, percent-encoded, in HTML, in base64."""
    for secret in sorted({one for one in secrets if len(one) >= SHORTEST}, key=len, reverse=True):
        for spelled in _spellings(secret):
            text = text.replace(spelled, MASK)
    return text


def _spellings(secret: str) -> list[str]:
    import html  # on use: it brings a table of all entities

    quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="!$&'()*+,;=:@/?~")}
    found = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    found |= {secret.replace("/", r"\/"), json.dumps(secret)[1:-1].replace("/", r"\/")}
    found |= quoted | {re.sub("%..", lambda code: code[0].lower(), one) for one in quoted}
    found |= {html.escape(secret), html.escape(secret, quote=False), html.escape(secret).replace("&#x27;", "&#39;")}
    packed = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    return sorted(found | {packed, packed.rstrip("=")}, key=len, reverse=True)


def without_words_of(line: str, text: str, kept: tuple[str, ...]) -> str:
    """Return `text` without the longer words of a line; those in `kept` are names that may be said."""
    for word in sorted(set(re.findall(_WORD, line)), key=len, reverse=True):
        if word.lower() not in kept:
            text = text.replace(word, MASK)
    return text
