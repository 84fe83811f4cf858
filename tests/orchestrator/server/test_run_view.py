"""What pages show of a run is a fold of its events: the stored journals, the graph, the layout, the timeline."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import open_journal
from orchestrator.events import Event, TaskStarted
from orchestrator.server.pages.graph_svg import fitted, graph_svg
from orchestrator.server.pages.layout import BOX_W, laid_out
from orchestrator.server.pages.timeline_svg import GAP, scale_of
from orchestrator.server.run_view import RunView, view_of
from orchestrator.server.views.graph import GraphNode, collapsed, graph_of, layers_of, reduced
from orchestrator.server.views.tasks import TaskView
from orchestrator.server.views.timeline import Span, TimelineView
from orchestrator.server.watching import RunViews
from orchestrator.squad.drawn import DrawnTask
from orchestrator.units import Unit
from providers.events import AttemptEnded, AttemptStarted

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.mark.anyio
async def test_stored_runs_are_shown_and_read_on_from_where_they_were(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "whole-2.db", tmp_path / "whole.db")
    views = RunViews(most=2)
    async with open_journal(tmp_path / "whole.db") as journal:
        for line in await journal.runs(None):
            events = await journal.events(line.run)
            whole, grown = view_of(line.run, events), RunView(line.run)
            for event in events[: len(events) // 2]:
                grown.apply(event)
            for event in events[len(events) // 2 :]:
                grown.apply(event)
            watched = await views.of(journal, line.run)
            again = await views.of(journal, line.run)
            assert watched is again
            for view in (grown, watched.view):
                assert (view.tasks, view.money.by_model, view.spent) == (whole.tasks, whole.money.by_model, whole.spent)
                assert (view.last, view.timeline.lanes) == (len(events), whole.timeline.lanes)
            assert (await watched.planned({})).tasks, "a recorded squad is read without its files"
            if whole.finished is not None and whole.finished.status == "done":
                assert {name: task.status for name, task in whole.tasks.items()} == dict(whole.finished.tasks)
                assert whole.spent.cost == whole.finished.cost
                assert sum(one.cost for one in whole.money.by_agent.values()) == whole.spent.cost
                assert all(talk.said and talk.ended for talk in whole.talks.all.values())


@st.composite
def graphs(draw: st.DrawFn) -> list[GraphNode]:
    size = draw(st.integers(1, 14))
    statuses = st.sampled_from(["ok", "waiting", "running", "failed", "gate", "skipped"])
    return [
        GraphNode(
            f"t{i}",
            f"t{i}",
            "ann",
            draw(statuses),
            tuple(f"t{n}" for n in sorted(draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else ())),
            of=(f"t{i}",),
        )
        for i in range(size)
    ]


@given(graphs(), st.integers(1, 14))
def test_boxes_do_not_overlap_and_nothing_is_lost_where_many_are_one(nodes: list[GraphNode], most: int) -> None:
    shown = collapsed(nodes, most)
    assert sorted(task for node in shown for task in node.of) == sorted(node.id for node in nodes)
    telling = [node.id for node in nodes if node.status == "gate"]
    assert set(telling[: most // 2]) <= {task for node in shown if not node.many for task in node.of}
    layers = [[node.id for node in layer] for layer in layers_of(shown)]
    layout = laid_out(layers, {node.id: node.needs for node in shown})
    for layer in layers:
        left = sorted(layout.places[name].x for name in layer)
        assert all(right - one >= BOX_W for one, right in pairwise(left))
        assert left[0] >= 0
        assert left[-1] + BOX_W <= layout.width
    for (upper, lower), points in layout.lines.items():
        assert layout.places[upper].y < layout.places[lower].y
        assert [y for _, y in points] == sorted(y for _, y in points)


def test_names_are_text_and_elements_of_a_list_are_one_box() -> None:
    evil = '"><script>alert(1)</script>'
    plan = reduced(
        [
            DrawnTask("a", "ann"),
            DrawnTask("b@*.x", evil, ("a",)),
            DrawnTask("b", "b.yaml", ("b@*.x", "a"), ("for each",)),
        ]
    )
    tasks = {
        "a": TaskView("a", "ok", who=evil),
        "b@1.x": TaskView("b@1.x", "ok"),
        "b@2.x": TaskView("b@2.x", "running"),
        "b": TaskView("b"),
    }
    nodes = graph_of(plan, tasks)
    assert [(node.id, node.status, node.done, node.elements, node.needs) for node in nodes] == [
        ("a", "ok", 0, 0, ()),
        ("b@*.x", "running", 1, 2, ("a",)),
        ("b", "waiting", 0, 0, ("b@*.x",)),
    ]
    drawn = graph_svg(nodes, lambda node: f"?task={node.id}{evil}")
    assert "<script" not in drawn
    assert "running · 1 of 2" in drawn
    assert fitted("شرکت 🚀 語語語語語語語語", 12) == "شرکت 🚀 語…"


def test_what_took_no_work_is_drawn_short_and_a_change_of_provider_is_told() -> None:
    spans = [Span("work", 0, "", 10), Span("work", 20_000, "", 30_000 - 9_990), Span("person", 10, "", 20_000)]
    scale = scale_of(spans, 40_000)
    assert [round(scale.at(time)) for time in (0, 10, 20_000, 20_010)] == [0, 48, 52, 100]
    assert [gap.took for gap in scale.gaps] == [19_990]
    assert scale.at(20_000) - scale.at(10) == pytest.approx(GAP)
    timeline, unit = TimelineView(), Unit("a")

    def told(at: float, data: object) -> None:
        event = Event("r", unit, ("try-1",), 1, 1, at, data)
        getattr(timeline, timeline.TAKES[type(data)])(event)

    told(0, TaskStarted("a", 1, "ann"))
    told(1, AttemptStarted(1, "p", "m"))
    told(3, AttemptEnded(1, "p", "m", "failed", "RateLimited", "slow down", 2000))
    told(3, AttemptStarted(2, "q", "n"))
    assert [(one.before, one.after, one.why) for one in timeline.switches] == [("p", "q", "RateLimited: slow down")]
    assert [(span.kind, span.outcome, span.ended) for span in timeline.lanes["a"].spans] == [
        ("work", "", None),
        ("call", "failed", 3),
        ("call", "", None),
    ]
