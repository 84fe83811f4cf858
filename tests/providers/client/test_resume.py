"""An answer that is gone on with reads as if it had not broken, whoever goes on and however it comes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from providers.client.resume import ResumedStream
from providers.messages import FinishReason, Reasoning, Response, Text, TextDelta, assistant

WORDS = st.text(st.sampled_from("ab \n"), min_size=1, max_size=12)


@given(
    said=WORDS.filter(str.strip),
    rest=WORDS,
    echoes=st.booleans(),
    cuts=st.lists(st.integers(0, 24), max_size=5),
    before=st.sampled_from([(), (Reasoning("so"),)]),
)
def test_what_was_said_stands_there_once_and_the_deltas_agree_with_the_answer(said, rest, echoes, cuts, before):
    told = said.rstrip() + rest if echoes else rest
    ends = sorted({min(cut, len(told)) for cut in cuts} | {0, len(told)})
    seam = ResumedStream(said)
    passed = [d for a, b in pairwise(ends) for d in seam.passed([TextDelta(told[a:b])])]
    passed += seam.held()
    whole = seam.joined(Response(assistant(*before, Text(told)), FinishReason.STOP)).text
    assert said + "".join(delta.text for delta in passed) == whole
    if echoes or not told.startswith(said.rstrip()):
        assert whole == said + (rest.lstrip() if said != said.rstrip() else rest)
