"""Requests as tools: what an argument can change of one, what is told of a reply, and where redirects may lead."""

from __future__ import annotations

import json

import pytest

from agents.declared.arguments import Argument, Arguments
from agents.declared.http_call import HttpSpec, http_tool, web_tool
from providers.adapters import HttpRequest
from providers.messages import ToolCall, ToolResult
from providers.transport import Fetched

pytestmark = pytest.mark.anyio
BASE = "https://api.example.com"
TEXT = {"content-type": "text/plain"}


class Web:
    """What answers requests: `replies` in their order, the last one again and again."""

    def __init__(self, *replies: Fetched) -> None:
        self.replies, self.asked = list(replies) or [Fetched(200, TEXT, b"ok")], list[HttpRequest]()

    async def __call__(self, request: HttpRequest, **limits: object) -> Fetched:
        self.asked.append(request)
        return self.replies[min(len(self.asked), len(self.replies)) - 1]


def spec(url: str, *names: str, **more: object) -> HttpSpec:
    arguments = Arguments.made_of([Argument(name, default=None) for name in names])
    return HttpSpec(f"{BASE}{url}", arguments=arguments, **more)  # type: ignore[arg-type]


async def call(given: HttpSpec, web: Web, environ: dict[str, str] | None = None, **arguments: object) -> ToolResult:
    made = http_tool("it", "It.", given, environ or {}, web)
    return await made.call(ToolCall("c", "it", json.dumps(arguments)))


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("EUR", "/rates/EUR?to=EUR"),
        ("a b?c#d&e=f%", "/rates/a%20b%3Fc%23d%26e%3Df%25?to=a%20b%3Fc%23d%26e%3Df%25"),
        ("é\n", "/rates/%C3%A9%0A?to=%C3%A9%0A"),
        ("@evil.com:80", "/rates/%40evil.com%3A80?to=%40evil.com%3A80"),
        ("{x}${HOME}", "/rates/%7Bx%7D%24%7BHOME%7D?to=%7Bx%7D%24%7BHOME%7D"),
    ],
)
async def test_an_argument_stays_where_it_is_put(text, sent):
    web = Web()
    assert not (await call(spec("/rates/{x}?to={x}", "x"), web, x=text)).is_error
    assert web.asked[0].url == BASE + sent


@pytest.mark.parametrize("text", ["", "..", ".", "a/b", "../admin", "a\\b", "//evil.com"])
async def test_an_argument_changes_no_path(text):
    web = Web()
    assert (await call(spec("/rates/{x}", "x"), web, x=text)).is_error
    assert not web.asked


@pytest.mark.parametrize(
    "url",
    ["https://{host}/x", "https://a{x}.com/", "https://user@a.com/", "ftp://a.com/", "https:/a", "https://a.com:{p}/x",
     "https://a.com\\@b.com/", "https://a.com/#x", "https://é.com/", "https://a.com/${KEY}"],
)  # fmt: skip
def test_an_address_without_a_fixed_host_is_refused(url):
    assert HttpSpec(url).fault()
    assert not HttpSpec("http://a.com").fault()


async def test_headers_query_and_body_are_filled_and_what_is_not_given_is_left_out():
    given = spec(
        "/orders",
        "note",
        method="POST",
        headers={"Authorization": "Bearer ${TOKEN}", "X-Note": "{note}"},
        query={"key": "${TOKEN}", "n": "{note}"},
        body={"count": "{count}", "text": "n={note}!", "more": ["{note}"], "fixed": None},
    )
    arguments = Arguments.made_of([Argument("count", "integer", default=2), Argument("note", default="x&y")])
    web = Web(Fetched(201, {}, b"your token is sk-12345678"))
    told = await call(HttpSpec(given.url, **{**{n: getattr(given, n) for n in ("method", "headers", "query", "body")},
                                            "arguments": arguments}), web, {"TOKEN": "sk-12345678"})  # fmt: skip
    request = web.asked[0]
    assert (request.method, request.url) == ("POST", f"{BASE}/orders?key=sk-12345678&n=x%26y")
    assert request.headers == {
        "content-type": "application/json",
        "Authorization": "Bearer sk-12345678",
        "X-Note": "x&y",
    }
    assert json.loads(request.body) == {"count": 2, "text": "n=x&y!", "more": ["x&y"], "fixed": None}
    assert told.content == "your token is ***"
    assert "the variable TOKEN is not set" in (await call(given, web, note="a")).content
    assert "several lines" in (await call(given, web, {"TOKEN": "t"}, note="a\r\nX-Evil: 1")).content


async def test_what_is_optional_is_left_out_where_it_is_not_given():
    arguments = Arguments.made_of([Argument("q", optional=True), Argument("n", "integer", optional=True)])
    given = HttpSpec(f"{BASE}/x", "POST", {"A": "{q}"}, {"q": "{q}"}, {"n": "{n}", "q": "{q}"}, arguments)
    web = Web()
    await call(given, web)
    assert (web.asked[0].url, web.asked[0].body) == (f"{BASE}/x", b"{}")
    assert "A" not in web.asked[0].headers
    await call(given, web, q="a", n=1)
    assert (web.asked[1].url, web.asked[1].body) == (f"{BASE}/x?q=a", b'{"n": 1, "q": "a"}')


async def test_what_only_reads_asks_nobody_and_all_else_is_risky():
    reads, writes = (http_tool("it", "", spec("/x", method=m), {}, Web()) for m in ("GET", "DELETE"))
    assert (reads.risk, reads.approval, reads.idempotent, reads.untrusted) == ("read_only", "never", True, True)
    assert (writes.risk, writes.approval, writes.idempotent, writes.untrusted) == ("risky", "ask", False, True)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Fetched(404, TEXT, b"no"), "[HTTP 404]\nno"),
        (Fetched(200, {"content-type": "text/plain; charset=latin-1"}, b"\xe9"), "é"),
        (Fetched(200, {"content-type": "image/png"}, b"\x89PNG\xff"), "[5 bytes of image/png, which are no text]"),
        (Fetched(200, {"content-type": "text/plain; charset=nonsense"}, b"x"), "[1 bytes of text/plain"),
        (Fetched(200, TEXT, "aé".encode()[:2], is_cut=True), "a\ufffd\n[cut: only the first 1,048,576 bytes"),
        (Fetched(200, {}, b""), "(empty)"),
    ],
)
async def test_a_reply_is_told_as_text_with_its_status(reply, says):
    assert (await call(spec("/x"), Web(reply))).content.startswith(says)


async def test_redirects_stay_with_the_host_and_end():
    def to(where: str) -> Fetched:
        return Fetched(302, {"location": where}, b"")

    web = Web(to("/y"), Fetched(200, TEXT, b"there"))
    assert (await call(spec("/x"), web)).content == "there"
    assert web.asked[1].url == f"{BASE}/y"
    for where in ("https://evil.com/", "http://api.example.com/", "//evil.com", "http://169.254.169.254/"):
        told = await call(spec("/x", headers={"A": "${T}"}), Web(to(where)), {"T": "sk-12345678"})
        assert told.is_error, where
    assert "more than 3 redirects" in (await call(spec("/x"), Web(to("/x")))).content
    posted = await call(spec("/x", method="POST", body={}), Web(to("/y")))
    assert posted.content == "[HTTP 302]\n"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://docs.python.org/3/", "ok"),
        ("https://en.wikipedia.org/wiki/A", "ok"),
        ("https://DOCS.python.org./3/", "ok"),
        ("https://python.org/", "not among"),
        ("https://evilwikipedia.org/", "not among"),
        ("https://docs.python.org@evil.com/", "no address of a page"),
        ("https://evil.com#docs.python.org", "not among"),
        ("file:///etc/passwd", "no address of a page"),
        ("https://docs.pythоn.org/", "no address of a page"),
        ("nonsense", "no address of a page"),
    ],
)
async def test_only_pages_of_the_named_hosts_are_read(url, says):
    web = Web()
    made = web_tool("http_get", "", ("docs.python.org", "*.wikipedia.org"), web)
    assert says in (await made.call(ToolCall("c", "http_get", json.dumps({"url": url})))).content
    assert len(web.asked) == (says == "ok")


async def test_a_redirect_of_a_page_leads_to_named_hosts_only():
    web = Web(Fetched(301, {"location": "https://evil.com/"}, b""))
    made = web_tool("http_get", "", ("docs.python.org",), web)
    told = await made.call(ToolCall("c", "http_get", '{"url": "https://docs.python.org/"}'))
    assert "evil.com is not among" in told.content


async def test_a_page_is_told_without_its_markup():
    page = Fetched(200, {"content-type": "text/html; charset=utf-8"}, b"<h1>Hi</h1><script>x</script><a href=/b>b</a>")
    made = web_tool("http_get", "", ("*",), Web(page))
    told = await made.call(ToolCall("c", "http_get", '{"url": "https://a.com/x"}'))
    assert told.content == "Hi\nb (https://a.com/b)"


@pytest.mark.few(3)
@pytest.mark.parametrize("charset", ["punycode", "IDNA", "unicode_escape", "undefined", "hex", "a\0b"])
async def test_a_reply_is_read_by_no_codec_that_is_no_character_set(charset):
    async def reply(*_: object, **__: object) -> Fetched:
        return Fetched(200, {"content-type": f"text/plain; charset={charset}"}, b"a" * 20_000 + b"-" + b"9" * 200_000)

    told = await http_tool("it", "It.", HttpSpec("https://x.example/"), {}, reply).call(ToolCall("c", "it", "{}"))
    assert (told.is_error, told.content) == (False, "[220001 bytes of text/plain, which are no text]")


@pytest.mark.parametrize("kind", ["text/plain; Charset=ISO-8859-1", 'text/plain; charset="latin1"; format=flowed'])
async def test_the_charset_of_a_reply_is_found_however_it_is_written(kind):
    async def reply(*_: object, **__: object) -> Fetched:
        return Fetched(200, {"content-type": kind}, "é".encode("latin-1"))

    told = await http_tool("it", "It.", HttpSpec("https://x.example/"), {}, reply).call(ToolCall("c", "it", "{}"))
    assert told.content == "é"


@pytest.mark.parametrize("headers", [{"Host": "x"}, {"content-length": "0"}, {"a b": "x"}, {"X-A": "1", "x-a": "2"}])
def test_a_header_that_no_request_can_set_is_told_before_one_is_made(headers):
    fault = HttpSpec("https://x.example/", headers=headers).header_fault()
    assert fault is not None
    assert fault[0] in headers
