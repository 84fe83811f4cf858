"""A request to a fixed host as a tool: the arguments of a call go into its path, query, headers and body alone."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urljoin, urlsplit

from agents.declared.arguments import Arguments
from agents.declared.html_text import text_of_html
from agents.threads import in_thread
from agents.tools import Tool
from providers.adapters import HttpRequest
from providers.documents.secrets import without_values

if TYPE_CHECKING:
    from providers.transport import Fetch, Fetched  # it brings ssl, which only a request needs

HTTP_S = 30.0
MAX_BYTES = 1 << 20
"""Bytes of a reply that are read."""
MOST_REDIRECTS = 3
PLACE = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_URL = re.compile(r"https?://[^/?#{}@\s\\]+(?P<rest>[/?].*)?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OWN_HEADERS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "upgrade",
        "te",
        "expect",
        "trailer",
    }
)
"""What says how a request itself is made: no entry and no argument says that."""
READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """A request. `{name}` is an argument of the call, `${NAME}` in headers and query a variable of the environment.

    `body` becomes JSON; a text in it that is one place alone becomes the argument's own value.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    arguments: Arguments = field(default_factory=Arguments)
    allow_private: bool = False
    timeout_s: float = HTTP_S
    max_bytes: int = MAX_BYTES
    repeated: frozenset[str] = frozenset()
    """Names in the query that are said once for each element of a list; of others the elements are joined by `,`."""

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def variables(self) -> list[str]:
        """The variables that go there."""
        texts = (*self.headers.values(), *self.query.values())
        return list(dict.fromkeys(name for text in texts for name in VARIABLE.findall(text)))

    def fault(self) -> str:
        """Return why it cannot be used, empty where it can."""
        if _URL.fullmatch(self.url) is None or not self.url.isascii() or "#" in self.url:
            return f"'{self.url}' is no address with a fixed host: https://api.example.com/rates/{{base}}"
        if VARIABLE.search(self.url):
            return "a variable of the environment goes into headers or query, not into the address"
        return ""

    def header_fault(self) -> tuple[str, str] | None:
        """Return the header that no request can set, and why; None where all can be."""
        seen = set[str]()
        for name in self.headers:
            if _HEADER.fullmatch(name) is None or name.lower() in OWN_HEADERS:
                return name, "this header cannot be set: it belongs to the request itself"
            if name.lower() in seen:
                return name, "it is said twice, in other letters"
            seen.add(name.lower())
        return None

    def request(self, given: Mapping[str, Any], environ: Mapping[str, str]) -> HttpRequest:
        """Return what is sent for a call. Raise `ValueError` where an argument or a variable cannot be used."""
        listed = self.arguments.texts(given)
        texts = {name: ",".join(found) for name, found in listed.items()}
        head, mark, asked = self.url.partition("?")
        path = PLACE.sub(lambda place: _segment(place[1], texts.get(place[1], "")), head[len(self.origin) :])
        if any(part in (".", "..") for part in path.split("/")):
            raise ValueError("an argument may not be . or .. in the path")
        asked = PLACE.sub(lambda place: quote(texts.get(place[1], ""), safe=""), asked)
        more = [pair for name, text in self.query.items() for pair in self._asked(name, text, texts, listed, environ)]
        asked = "&".join(part for part in (asked, urlencode(more)) if part)
        headers = {name: _filled(text, texts, environ) for name, text in self.headers.items() if _is_given(text, texts)}
        if any("\r" in text or "\n" in text for text in headers.values()):
            raise ValueError("an argument in a header may not have several lines")
        if odd := next((name for name, text in headers.items() if not (text.isascii() and text.isprintable())), None):
            raise ValueError(f"the header {odd} takes printable ASCII alone")
        body = b""
        if self.body is not None:
            values = {name: given.get(name, one.default) for name, one in self.arguments.of.items()}
            body = json.dumps(_body(self.body, values, texts), ensure_ascii=False).encode()
            headers = {"content-type": "application/json", **headers}
        return HttpRequest(self.method, f"{self.origin}{path}{f'?{asked}' if mark or asked else ''}", headers, body)

    def _asked(
        self,
        name: str,
        text: str,
        texts: Mapping[str, str],
        listed: Mapping[str, list[str]],
        environ: Mapping[str, str],
    ) -> list[tuple[str, str]]:
        """Return a part of the query, as often as it is said."""
        if name in self.repeated and (alone := PLACE.fullmatch(text)):
            return [(name, one) for one in listed.get(alone[1], [])]
        return [(name, _filled(text, texts, environ))] if _is_given(text, texts) else []


def http_tool(
    name: str, description: str, spec: HttpSpec, environ: Mapping[str, str], fetch: Fetch, **more: Any
) -> Tool:
    """Return the tool. `more` is as `Tool` takes it; where that says nothing else, a request that only reads is
    read_only and may be made again, any other is risky and asks a person. What comes back is untrusted."""

    async def ask(**given: Any) -> str:
        reply = await spec_reply(spec, given, environ, fetch)
        return without_values(told(reply, spec.max_bytes), [environ.get(variable, "") for variable in spec.variables])

    reads = spec.method in READS
    usual = {"risk": "read_only" if reads else "risky", "approval": "never" if reads else "ask", "idempotent": reads}
    settings = {**usual, "untrusted": True, **more, "timeout_s": spec.timeout_s + 5.0}
    return Tool(name, description, ask, parameters=spec.arguments.schema, **settings)


async def spec_reply(spec: HttpSpec, given: Mapping[str, Any], environ: Mapping[str, str], fetch: Fetch) -> Fetched:
    """Return the reply to a call. A redirect is followed within the same origin, and for what only reads."""
    request = spec.request(given, environ)

    def may_go(url: str) -> str:
        same = urlsplit(url)[:2] == urlsplit(spec.origin)[:2]
        return "" if same else f"it answered with a redirect to another address, {urlsplit(url).netloc}"

    return await followed(request, may_go, fetch, spec.timeout_s, spec.max_bytes, allow_private=spec.allow_private)


class MayGo(Protocol):
    def __call__(self, url: str, /) -> str:
        """Return why no request goes to an address, empty where one may."""


async def followed(
    request: HttpRequest, may_go: MayGo, fetch: Fetch, timeout_s: float, max_bytes: int, *, allow_private: bool = False
) -> Fetched:
    """Return the reply, redirects followed where `may_go` allows it. Raise `ValueError` where it does not."""
    for _ in range(MOST_REDIRECTS + 1):
        reply = await fetch(request, timeout_s=timeout_s, max_bytes=max_bytes, allow_private=allow_private)
        where = reply.headers.get("location")
        if not (300 <= reply.status < 400 and where and request.method in READS):
            return reply
        url = urljoin(request.url, where)
        if fault := may_go(url):
            raise ValueError(fault)
        if request.url.startswith("https:") and not url.startswith("https:"):
            raise ValueError("it answered with a redirect from https to http")
        request = HttpRequest(request.method, url, request.headers, b"")
    raise ValueError(f"it answered with more than {MOST_REDIRECTS} redirects")


def told(reply: Fetched, max_bytes: int) -> str:
    """Return what a model reads of a reply: its text, and the status where that is none of success."""
    kind, _, more = reply.headers.get("content-type", "").partition(";")
    charset = more.lower().partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
    head = "" if 200 <= reply.status < 300 else f"[HTTP {reply.status}]\n"
    try:
        text = _decoded(reply.body, charset, "replace" if reply.is_cut else "strict")
    except (ValueError, LookupError):
        return f"{head}[{len(reply.body)} bytes of {kind.strip() or 'an unknown kind'}, which are no text]"
    cut = f"\n[cut: only the first {max_bytes:,} bytes were read]" if reply.is_cut else ""
    return f"{head}{text}{cut}" or "(empty)"


PYTHONS_OWN = frozenset({"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
"""Codecs of Python that are no character set: reading 1 MiB as punycode would take minutes."""


def _decoded(body: bytes, charset: str, errors: str) -> str:
    """Return a body as text. Raise `ValueError` or `LookupError` where it is none."""
    if codecs.lookup(charset).name in PYTHONS_OWN:
        raise LookupError(charset)
    return body.decode(charset, errors)


def _segment(name: str, text: str) -> str:
    """Return an argument as a part of a path, which stays one part however a server reads it."""
    if not text or "/" in text or "\\" in text:
        raise ValueError(f"{name}: {text[:80]!r} cannot stand in a path: it is empty, or has a slash")
    return quote(text, safe="")


def _is_given(template: str, texts: Mapping[str, str]) -> bool:
    """Return whether an optional header or part of the query is sent: where each of its arguments is given."""
    return all(name in texts for name in PLACE.findall(template))


def _filled(template: str, texts: Mapping[str, str], environ: Mapping[str, str]) -> str:
    def value(place: re.Match[str]) -> str:
        if place[1] is None:
            return texts.get(place[2], "")
        if not (found := environ.get(place[1], "")):
            raise ValueError(f"the variable {place[1]} is not set")
        return found

    return re.sub(f"{VARIABLE.pattern}|{PLACE.pattern}", value, template)


def _body(template: Any, values: Mapping[str, Any], texts: Mapping[str, str]) -> Any:
    """Return a body with its places filled; a field whose argument is not given is left out."""
    match template:
        case dict():
            found = {key: _body(value, values, texts) for key, value in template.items()}
            return {key: value for key, value in found.items() if value is not None or template[key] is None}
        case list():
            return [_body(value, values, texts) for value in template]
        case str():
            alone = PLACE.fullmatch(template)
            return values.get(alone[1]) if alone else PLACE.sub(lambda place: texts.get(place[1], ""), template)
    return template


def web_tool(name: str, description: str, hosts: tuple[str, ...], fetch: Fetch, **more: Any) -> Tool:
    """Return a tool that reads pages of these hosts: `docs.python.org`, `*.wikipedia.org`, `*` for any public one."""
    timeout_s = float(more.pop("timeout_s", HTTP_S))

    def may_go(url: str) -> str:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").casefold()
        if parts.scheme not in ("http", "https") or not host or parts.username is not None or not url.isascii():
            return f"{url[:200]!r} is no address of a page"
        return "" if any(_is_host(host, one) for one in hosts) else f"{host} is not among {', '.join(hosts)}"

    async def http_get(url: str) -> str:
        if fault := may_go(url):
            raise ValueError(fault)
        reply = await followed(HttpRequest("GET", url, {}, b""), may_go, fetch, timeout_s, MAX_BYTES)
        text = told(reply, MAX_BYTES)
        is_page = reply.headers.get("content-type", "").startswith(("text/html", "application/xhtml"))
        return await in_thread(partial(text_of_html, text, url)) if is_page else text

    parameters = {
        "type": "object",
        "properties": {"url": {"type": "string", "maxLength": 4000, "description": "https://..."}},
        "required": ["url"],
        "additionalProperties": False,
    }
    settings = {"risk": "read_only", "idempotent": True, "untrusted": True, **more, "timeout_s": timeout_s * 4}
    return Tool(name, description, http_get, parameters=parameters, **settings)


def _is_host(host: str, pattern: str) -> bool:
    pattern = pattern.casefold()
    return pattern == "*" or host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))
