"""Values that are known to be secret are taken out of a text however whoever repeats them writes them."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

from providers.documents.secrets import without_values

SECRET = "a+b/c=d&e\"f'é g"


def test_a_secret_is_taken_out_in_every_common_spelling():
    spelled = [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps({"deep": [SECRET]}).replace("/", r"\/"),
        repr(SECRET),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote_plus(SECRET).lower(),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
    ]
    assert [one for one in spelled if "***" not in without_values(f"x {one} y", [SECRET])] == []


def test_what_is_too_short_or_part_of_another_secret_spoils_nothing():
    assert without_values("a dev in abcdef", ["", "dev", "abcdef"]) == "a dev in ***"
    assert without_values("abcdefgh", ["abcdef", "abcdefgh"]) == "***"
