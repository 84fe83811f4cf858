"""The drawing says what the plan says: it is read back and compared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.ui.drawing import (
    ASCII,
    UNICODE,
    encodes,
    to_ascii,
    to_document,
    to_dot,
    to_mermaid,
)
from orchestrator.squad.drawn import DrawnTask, direct_needs

UP = set("│├┤┼┴└┘")


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 9))
    nodes = []
    for i in range(size):
        needs = draw(st.sets(st.integers(0, i - 1), max_size=4)) if i else set()
        nodes.append(DrawnTask(f"t{i}", "x", tuple(f"t{n}" for n in sorted(needs)), gate=draw(st.booleans())))
    return nodes


def read_back(drawing):
    """Return the needs that a drawing in Unicode shows: rails are followed from line to line."""
    rails, needs, joined = {}, {}, None
    for line in drawing.splitlines():
        label = line.split()[-2] if line.endswith("(x)") else None
        rail_part = line.rsplit("  ", 2)[0] if label else line
        cells = dict(enumerate(rail_part[::2]))
        rails = {i: rail for i, rail in rails.items() if cells.get(i, " ") in UP | {"●", "◆"}}
        if label is None:
            joined = {rails[i] for i, c in cells.items() if c not in "│─ " and c in UP}
            continue
        own = next(i for i, c in cells.items() if c in "●◆")
        needs[label] = joined if joined is not None else {rails[own]} if own in rails else set()
        rails[own], joined = label, None
    return needs


@given(graphs())
def test_rails_lead_from_each_task_to_those_that_need_it(nodes):
    shown = read_back(to_ascii(nodes, UNICODE))
    assert list(shown) == [node.id for node in nodes]
    assert shown == {name: set(needed) for name, needed in direct_needs(nodes).items()}


@given(graphs())
def test_a_need_that_follows_from_another_is_not_drawn_and_none_is_lost(nodes):
    direct = direct_needs(nodes)
    above: dict[str, set[str]] = {}
    for node in nodes:
        above[node.id] = set().union(*({need} | above[need] for need in direct[node.id]))
        assert set(node.needs) <= above[node.id]
        for need in direct[node.id]:
            assert not any(need in above[other] for other in direct[node.id])


@given(graphs())
def test_the_ascii_pen_draws_the_same_in_ascii(nodes):
    drawn = to_ascii(nodes, ASCII)
    assert drawn.isascii()
    assert len(drawn.splitlines()) == len(to_ascii(nodes, UNICODE).splitlines())


def test_a_diamond():
    nodes = [
        DrawnTask("a", "m"),
        DrawnTask("b", "m", ("a",)),
        DrawnTask("c", "m", ("a",), ("if",)),
        DrawnTask("d", "a person", ("a", "b", "c"), gate=True),
    ]
    assert to_ascii(nodes, UNICODE).splitlines() == [
        "●    a  (m)",
        "├─┐",
        "│ ●  b  (m)",
        "● │  c  (m)  [if]",
        "├─┘",
        "◆    d  (a person)",
    ]


def test_a_passing_rail_is_not_joined():
    nodes = [
        DrawnTask("a", "m"),
        DrawnTask("b", "m"),
        DrawnTask("c", "m"),
        DrawnTask("d", "m", ("a", "c")),
        DrawnTask("e", "m", ("b", "d")),
    ]
    assert "├─│─┘" in to_ascii(nodes, UNICODE)


def test_the_pen_follows_the_encoding():
    assert encodes("utf-8", UNICODE)
    assert not encodes("cp1252", UNICODE)
    assert not encodes("no-such-encoding", UNICODE)
    assert encodes("ascii", ASCII)


def test_names_are_quoted_for_pages():
    nodes = [DrawnTask('a"<b>', "m"), DrawnTask("end", "m", ('a"<b>',))]
    assert to_mermaid(nodes).splitlines()[1:] == [
        '    t0["a&quot;&lt;b>  (m)"]',
        '    t1["end  (m)"]',
        "    t0 --> t1",
    ]
    assert '  "a\\"<b>" -> "end";' in to_dot(nodes)
    assert to_document("s", nodes)["tasks"][1]["needs"] == ['a"<b>']


def test_a_sub_squad_is_drawn_as_a_cluster() -> None:
    nodes = [
        DrawnTask("a", "ann"),
        DrawnTask("b.inputs", "inputs", ("a",)),
        DrawnTask("b.c.x", "cid", ("b.inputs",)),
        DrawnTask("b", "b.yaml", ("b.c.x",)),
    ]
    assert [line.strip() for line in to_mermaid(nodes).splitlines()[1:-3]] == [
        *('t0["a  (ann)"]', 't3["b  (b.yaml)"]', 'subgraph s0["b"]', 't1["b.inputs  (inputs)"]'),
        *('subgraph s1["b.c"]', 't2["b.c.x  (cid)"]', "end", "end"),
    ]
    assert '  subgraph "cluster_b" { label="b";' in to_dot(nodes)
    assert to_dot(nodes).count("{") == to_dot(nodes).count("}") == 3
