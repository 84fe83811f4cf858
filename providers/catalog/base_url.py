"""Base URLs as people write them: what is meant, what is wrong with one, what is asked below it. Pure.

Sources: docs/sources.md#addresses.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlsplit

_PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_WRAPPING = " \t\r\n\"'`<>,;"
_SCHEME = re.compile(r"(https?):/*", re.IGNORECASE)
_NO_SCHEME = re.compile(r"(?://)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d*)?(?=[/?]|$)")
_PORT_ALONE = re.compile(r":?\d{2,5}(?=/|$)")
_SLASHES = re.compile(r"(?<!:)/{2,}")  # a proxy may take a whole address as its path
_TWICE = re.compile(r"(/v\d+[a-z0-9]*)\1+$")
_VERSION = re.compile(r"/v\d+[a-z0-9]*$", re.IGNORECASE)

OF_DIALECT = {"openai-chat": "/v1", "anthropic-messages": "/v1", "gemini": "/v1beta"}
"""The path below which a dialect is spoken where an address names a host alone."""
WITHOUT_VERSION = frozenset({"api.deepseek.com", "api.perplexity.ai", "models.inference.ai.azure.com"})
"""Hosts that speak Chat Completions below no path at all."""
AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
AZURE_PATH = "/openai/v1"
AZURE_PATHS = {"": AZURE_PATH, "/v1": AZURE_PATH, "/openai": AZURE_PATH, "/models": "/models"}
"""What is meant there by a path that names no API; `/models` has one of its own, of all vendors' models."""
DEPLOYMENTS = "/openai/deployments/"
HARMLESS = re.compile(r"(?:api[-_]version|version|beta)=[A-Za-z0-9.-]{1,24}", re.IGNORECASE)
"""A parameter that is sent with every call. Any other could be a secret, and addresses are printed."""
_BRACKETS = "an IPv6 address is written in brackets, as http://[::1]:11434"
LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
WHOLE = {
    "openai-chat": re.compile(r"/(?:chat/)?completions$|/(?:responses|embeddings|models|chat)$"),
    "anthropic-messages": re.compile(r"/messages(?:/count_tokens|/batches)?$|/(?:complete|models)$"),
    "gemini": re.compile(r"(?:/openai)?(?:/chat/completions|/(?:models|tunedModels)(?:/[^/]*)?)$|/openai$"),
}
"""What stands below a base URL, where the whole endpoint was written."""
EXACT = ("/chat/completions", "/models/", "/tunedModels/")
"""Endpoints below which nothing is left out: what stands before them is the base URL, with a version or without."""
OLLAMA_NATIVE = re.compile(r"/api/(?:chat|generate|tags|ps|show|version|embed|embeddings)$")


def tidied(written: str, dialect: str, known: str = "") -> str:
    """Return the base URL that is meant by `written`. What is no address comes back for `url_problem` to say so.

    `known` is the address that the row had before: one of the same host tells the path, one of an own server the port.
    """
    url = _with_scheme(written.strip(_WRAPPING).replace("\\", "/"), known)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return url
    if parts.scheme.lower() not in ("http", "https") or not host or parts.username is not None:
        return url
    netloc = _netloc(parts, port)
    path = _path(parts, host, dialect, known)
    tail = "".join(f"{mark}{rest}" for mark, rest in (("?", _query(parts.query)), ("#", parts.fragment)) if rest)
    scheme = "https" if known.startswith("https:") and urlsplit(known).hostname == host else parts.scheme.lower()
    return f"{scheme}://{netloc}{path}{tail}"


def _with_scheme(url: str, known: str) -> str:
    """Return the URL with its scheme in lower case; http where it has none and the host is here, else https."""
    if found := _SCHEME.match(url):
        after = url[found.end() :]
        # `http:8080` would be a host called http with a port.
        return url if after[:1].isdigit() and "/" not in found[0] else f"{found[1].lower()}://{after}"
    if _is_ipv6(url):
        url = f"[{url}]"
    elif _PORT_ALONE.match(url):
        url = f"127.0.0.1:{url.removeprefix(':')}"
    bare = _NO_SCHEME.match(url)
    if bare is None or "://" in url:
        return url
    host, port, rest = bare[1], bare[2] or "", url[bare.end() :]
    if not (port or "." in host or host.startswith("[") or host.lower() == "localhost"):
        return url  # a word
    if not is_local(host):
        return f"https://{host}{port}{rest}"
    usual = urlsplit(known).port if not port and known and "{" not in known else None
    return f"http://{host}{port or (f':{usual}' if usual else '')}{rest}"


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _netloc(parts: SplitResult, port: int | None) -> str:
    """Return host and port. A host's letters are small but for placeholders; an address to listen on is no target."""
    host = parts.netloc.removesuffix(":") if port is None else parts.netloc.rpartition(":")[0]
    if "{" not in host:
        host = host.lower()
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  # it is replaced
    return host if port is None else f"{host}:{port}"


def _query(query: str) -> str:
    """Return the parameters without Gemini's `alt=sse`, which the dialect says itself."""
    return "&".join(part for part in query.split("&") if part and part != "alt=sse")


def _path(parts: SplitResult, host: str, dialect: str, known: str) -> str:
    """Return the path without a trailing slash and what names the endpoint, and with the version where that is due."""
    path = _SLASHES.sub("/", parts.path).rstrip("/")
    if found := _VERSION.search(path):
        path = _TWICE.sub(r"\1", path[: found.start()] + found[0].lower())
    own = urlsplit(known)
    if dialect == "openai-chat" and _is_native(path, parts, own):
        return path[: path.rindex("/api")].removesuffix("/v1") + "/v1"
    if dialect == "openai-chat" and host.endswith(AZURE) and path in AZURE_PATHS:
        return AZURE_PATHS[path]
    whole = WHOLE[dialect].search(path.partition(":")[0]) if dialect in WHOLE else None
    if whole is not None:
        path, said = path[: whole.start()], path[whole.start() :]
        if said.startswith(EXACT) or (path and dialect != "gemini"):
            return path
    if host and own.hostname == host and (own.path.startswith(f"{path}/") or own.path.endswith(path or "/")):
        return own.path.rstrip("/")
    if path:
        return path if dialect != "gemini" or _VERSION.search(path) else path + OF_DIALECT[dialect]
    return "" if host in WITHOUT_VERSION else OF_DIALECT.get(dialect, "")


def _is_native(path: str, parts: SplitResult, own: SplitResult) -> bool:
    """Whether the path is one of Ollama's own API, below which Chat Completions is not spoken."""
    if OLLAMA_NATIVE.search(path):
        return True
    return path.endswith("/api") and parts.port is not None and "{" not in own.netloc and parts.port == own.port


def is_local(host: str) -> bool:
    """Whether a host's name or address leads to this machine or its network."""
    name = host.strip("[]").lower().rstrip(".")
    try:
        address = ip_address(name)
    except ValueError:
        return name.endswith(LOCAL_ENDINGS) or ("." not in name and ":" not in name)
    return address.is_private or address.is_loopback or address.is_unspecified or address.is_link_local


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to this machine and nowhere else."""
    name = host.strip("[]").lower().rstrip(".")
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def url_problem(url: str) -> str | None:
    """Return why `url` can't be a base URL, or None. A placeholder that could hold a secret is refused."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "is not a URL: it holds spaces, control characters or other letters than ASCII"
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"is not a URL: {_BRACKETS}"
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return "is not a URL: it must begin with http:// or https:// and a host"
    if parts.username is not None or parts.fragment or not _may_be_shown(parts.query):
        return (
            "holds a user name, a query or a fragment: keys go into the environment, never into a URL"
            " (of a query api-version alone is kept)"
        )
    if problem := _place_problem(parts):
        return f"is not a URL: {problem}"
    if (parts.hostname or "").endswith(AZURE) and DEPLOYMENTS in parts.path and not parts.query:
        return "is that of an Azure deployment and lacks its version: add ?api-version=2024-10-21"
    secret = next((name for name in _PLACEHOLDER.findall(url) if re.search("KEY|TOKEN|SECRET|PASS", name)), None)
    return f"would show the secret {secret}: URLs are printed" if secret else None


def _place_problem(parts: SplitResult) -> str | None:
    """Return what is wrong with host and port, or None."""
    if parts.netloc.count(":") > 1 and "[" not in parts.netloc:
        return _BRACKETS
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return "its port is not a number from 1 to 65535"
    return None if parts.hostname else "it names no host"


def _may_be_shown(query: str) -> bool:
    return not query or all(map(HARMLESS.fullmatch, query.split("&")))


def endpoint(base_url: str, path: str) -> str:
    """Return the URL of `path` below a base URL, with the query that stands at the base URL's end."""
    base, _, query = base_url.partition("?")
    url = f"{base.rstrip('/')}{path}"
    return f"{url}{'&' if '?' in path else '?'}{query}" if query else url


def wants_api_key_header(base_url: str) -> bool:
    """Whether the key goes into the header `api-key`: at Azure, and behind addresses that are shaped as Azure's are."""
    parts = urlsplit(base_url)
    versioned = any(name.lower() == "api-version" for name, _ in parse_qsl(parts.query))
    return versioned or DEPLOYMENTS in parts.path or (parts.hostname or "").endswith(AZURE)
