"""Pages as text: what people read is kept, what they do not see is not, and no page takes long."""

from __future__ import annotations

import time

import pytest

from agents.declared.html_text import text_of_html

PAGE = """<!DOCTYPE html><html><head><title>A &amp; B</title><style>p{}</style><script>if (a < b) {}</script></head>
<body><!-- <p>hidden</p> --><h1>Head</h1><p>One <b>two</b>,
 three.<ul><li><a class=x href="/doc?a=1&amp;b=2">The docs</a><li><a href='#top'>Up</a></ul>
<SCRIPT>evil()</Script >2 < 3 &lt;tag&gt;<svg><text>no</text></svg><p></p><p></p>end"""


def test_a_page_is_told_as_people_read_it():
    told = text_of_html(PAGE, "https://a.com/x/y")
    assert told.split("\n") == [
        "A & B",
        "",
        "Head",
        "",
        "One two, three.",
        "",
        "The docs (https://a.com/doc?a=1&b=2)",
        "Up",
        "2 < 3 <tag>",
        "",
        "end",
    ]
    assert text_of_html("no markup at all") == "no markup at all"
    assert text_of_html("") == ""


HOSTILE = ["<script", "<!--", "<a href=", "<", "<a href='x'>", "</", "<!", "<?x", "&", "&#", "<p>", "<svg>", "\n \n"]


@pytest.mark.few(4)
@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_page_takes_no_longer_than_its_size(part):
    def spent(times: int) -> float:
        began = time.process_time()
        text_of_html(part * times)
        return time.process_time() - began

    small = max(spent(2_000), 0.001)
    assert spent(40_000) < 200 * small  # twenty times as much: four hundred, were it quadratic
