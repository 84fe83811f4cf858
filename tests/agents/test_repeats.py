from __future__ import annotations

from agents.repeats import READS, WRITES, Repeats, key_of
from providers.messages import ToolCall, ToolResult


def key(tool: str, arguments: str = "{}"):
    return key_of(ToolCall("c", tool, arguments), tool)


def call(repeats: Repeats, tool: str, result: str = "same", *, changes: bool = False) -> int:
    """Make a call unless it is stopped; return how often it was made before, where it is."""
    times = repeats.times(key(tool), harmless=not changes)
    if not times:
        repeats.heard(key(tool), ToolResult("c", tool, result), changes=changes)
    return times


def test_arguments_are_compared_as_what_they_mean() -> None:
    assert key("a", '{"x": 1, "y": [2]}') == key("a", '{"y":[2],"x":1}') != key("a", '{"x": 1}')
    assert key("a", "") == key("a", "null") == key("a")
    assert key("a", "{broken") == key("a", "{broken") != key("a", "{other")


def test_the_third_equal_read_is_not_made_and_neither_is_one_in_a_circle() -> None:
    alone, circle = Repeats(), Repeats()
    assert [call(alone, "read") for _ in range(4)] == [0, 0, READS, READS]
    assert [call(circle, tool) for tool in "abababa"] == [0, 0, 0, 0, 2, 2, 2]


def test_a_poll_whose_results_differ_goes_on() -> None:
    repeats = Repeats()
    assert [call(repeats, "status", f"{n} %") for n in range(50)] == [0] * 50
    assert [call(repeats, "status", "done") for n in range(3)] == [0, 0, 2]


def test_what_may_have_changed_is_read_again_but_not_for_ever() -> None:
    repeats = Repeats()
    for n in range(20):
        assert call(repeats, "read") == 0
        assert call(repeats, f"write {n}", changes=True) == 0
    made = [call(repeats, tool, changes=tool != "read") for _ in range(10) for tool in ("read", "x", "y")]
    assert made[-3:] == [READS, WRITES, WRITES]


def test_the_work_is_over_where_the_model_goes_on_after_it_was_told() -> None:
    repeats = Repeats()
    assert [repeats.stopped(turn) for turn in (4, 4, 5)] == [False, False, True]
    assert repeats.is_over
