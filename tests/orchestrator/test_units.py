"""Places in a run as fields and as text: whatever a program writes is read back as the same fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.run_context import StepKey
from orchestrator.units import Unit, key_of, names_of, path_of, place_of, text_of, unit_of

NAMES = st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True)
KEYS = st.lists(st.sampled_from([*"aS1-/[]#🦊 ", "]/try-1", "]/try-2/b"]), max_size=6).map("".join)
UNITS = st.builds(Unit, NAMES, st.none() | KEYS, st.integers(1, 12))
BELOW = st.lists(NAMES | st.sampled_from(["repeat-2", "round-1", "human"]), max_size=3)


@given(UNITS, st.integers(1, 3), BELOW)
def test_a_place_is_read_back_whatever_characters_its_key_holds(unit: Unit, number: int, below: list[str]) -> None:
    assert unit_of(unit.path) == unit
    step = (f"try-{number}", *below)
    assert place_of(path_of(unit, step)) == (unit, step)


@given(UNITS, BELOW, st.integers(0, 3), st.sampled_from(["model", "tool-2", "said"]))
def test_a_call_is_read_back(unit: Unit, below: list[str], turn: int, call: str) -> None:
    key = StepKey(("try-1", *below), turn, call)
    assert key_of(unit, text_of(unit, key)) == key


@pytest.mark.parametrize(
    ("path", "unit", "step"),
    [
        ("", None, ()),
        ("build", Unit("build"), ()),
        ("build#2/try-1", Unit("build", None, 2), ("try-1",)),
        ("build[S-1]#3/try-1/repeat-2/code", Unit("build", "S-1", 3), ("try-1", "repeat-2", "code")),
        ("build[S[2]#2]/try-1", Unit("build", "S[2]#2"), ("try-1",)),
        ("build[S[2]#2]", Unit("build", "S[2]#2"), ()),
        ("build[S]/try-1]", Unit("build", "S]/try-1"), ()),
        ("build[S]/try-1/a]/try-2/x", Unit("build", "S]/try-1/a"), ("try-2", "x")),
        ("build[S]/try-1/a]", Unit("build", "S"), ("try-1", "a]")),  # or the element's own; an agent may be named `a]`
        ("talk/try-1/round-1/qa/dev", Unit("talk"), ("try-1", "round-1", "qa", "dev")),
    ],
)
def test_what_earlier_releases_wrote_is_read(path: str, unit: Unit | None, step: tuple[str, ...]) -> None:
    assert place_of(path) == (unit, step)
    assert path_of(unit, step) == path


def test_people_may_mean_a_place_by_its_task_its_element_or_any_part_of_it() -> None:
    names = set(names_of(Unit("build", "S-1", 2), ("try-1", "code")))
    assert names == {"build", "build[S-1]", "build[S-1]#2", "build[S-1]#2/try-1", "build[S-1]#2/try-1/code"}
