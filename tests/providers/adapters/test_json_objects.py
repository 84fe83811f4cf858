"""Objects cut out of bytes in any pieces."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from providers.adapters.json_objects import ObjectParser

# Keys and strings of what confuses a scanner: quotes, escapes, brackets.
texts = st.text(st.sampled_from('"\\{}[],é'), max_size=6)
objects = st.dictionaries(
    texts, texts | st.dictionaries(texts, texts, max_size=2) | st.lists(texts, max_size=2), max_size=3
)


@given(st.lists(objects, max_size=4), st.booleans(), st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_every_object_comes_out_as_it_went_in(given_objects, as_lines, cuts, indented):
    written = [json.dumps(each, indent=1 if indented else None, ensure_ascii=False).encode() for each in given_objects]
    body = b"\n".join(written) if as_lines else b"[" + b"\r\n,".join(written) + b"]\n"
    parser = ObjectParser()
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert [found for a, b in pairwise(edges) for found in parser.feed(body[a:b])] == written
    assert not parser.inside


def test_an_unfinished_object_is_known_to_be_one():
    parser = ObjectParser()
    assert parser.feed(b'[{"a":{}},{"a":"}') == [b'{"a":{}}']
    assert parser.inside
