"""Which tool a call's name means."""

from __future__ import annotations

import pytest

from agents.tool_names import meant

TOOLS = ("now", "read_file", "time.zone", "functions.odd", "Deploy", "deploy", "天気")


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("now", "now"),
        ("functions.now", "now"),
        ("default_api.now", "now"),
        ("default_api:now", "now"),
        ("tool.now", "now"),
        ("tools/now", "now"),
        ("functions.tool.now", "now"),
        ("Functions.Now", "now"),
        ("now<|channel|>commentary", "now"),
        ("now<|channel|>", "now"),
        ("now<|channel", "now"),
        ("now<|constrain|>json", "now"),
        ("functions.now<|channel|>commentary", "now"),
        ("<|start|>functions.now<|end|>", "now"),
        ("commentary to=functions.now", "now"),
        ("<|channel|>analysis to=functions.now <|constrain|>json", "now"),
        ("now<｜tool▁sep｜>", "now"),
        ("functions.now:0", "now"),
        ("NOW", "now"),
        (" now \n", "now"),
        ("`now`", "now"),
        ('"now"', "now"),
        ("**now**", "now"),
        ("now()", "now"),
        ("now({})", "now"),
        ("`functions.now()`", "now"),
        ("ReadFile", "read_file"),
        ("read-file", "read_file"),
        ("functions.read_file", "read_file"),
        ("time_zone", "time.zone"),
        ("time.zone", "time.zone"),
        ("functions.time.zone", "time.zone"),
        ("functions.odd", "functions.odd"),
        ("odd", None),
        ("deploy", "deploy"),
        ("functions.Deploy", "Deploy"),
        ("DEPLOY", None),
        ("functions.DEPLOY", None),
        ("天気", "天気"),
        ("functions.天気", "天気"),
        ("later", None),
        ("now_", "now"),
        ("no", None),
        ("nowhere", None),
        ("calendar.now", None),
        ("now.later", None),
        ("functions.", None),
        ("functions", None),
        ("", None),
        ("``", None),
        ("()", None),
        ("<||>", None),
        ("\ud83d", None),
    ],
)
def test_a_name_means_one_tool_or_none(name: str, tool: str | None) -> None:
    assert meant(name, TOOLS) == tool
    assert meant(name, tuple(reversed(TOOLS))) == tool


def test_the_very_name_wins_over_all_others() -> None:
    tools = ("now", "NOW", "functions.now", "now()", "n.o.w")
    assert [meant(name, tools) for name in tools] == list(tools)
