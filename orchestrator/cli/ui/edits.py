"""What an edit of a squad, or a fork, does to a run's tasks, as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import count
from orchestrator.cli.ui.figures import tokens, usd
from orchestrator.rerun.edit import Edit, Spent


def edit_lines(edit: Edit) -> list[str]:
    """Return the lines that say what a resume of the edited squad does: each task, and what was spent so far."""
    if not edit.parts:
        return ["the squad is the same as recorded: nothing runs again"]
    void = [name for name in edit.stood if name not in edit.kept]
    total, lost = _figures(edit.spent_on(edit.stood)), _figures(edit.spent_on(void))
    return [*_table(edit), f"spent so far, and counted: {total}; of that, on results that no longer count: {lost}"]


def fork_lines(edit: Edit) -> list[str]:
    """Return the lines that say what a fork takes over, and what it runs."""
    kept, spent = count(len(edit.kept), "task"), _figures(edit.spent_on(edit.kept))
    return [*_table(edit), f"{kept} taken over, for which the other run paid {spent}; this run begins at $0.00"]


def _table(edit: Edit) -> list[str]:
    lines = [f"edited: {', '.join(edit.parts)}", ""] if edit.parts else []
    return [*lines, columns([("TASK", "BEFORE", "NOW", "SPENT", "WHY"), *_rows(edit)]), ""]


def _rows(edit: Edit) -> Iterator[tuple[str, ...]]:
    former = {new: old for old, new in edit.kept.items()}
    for task in edit.plan.tasks:
        if task in former:
            stand, was = edit.stood[former[task]], former[task]
            now = "kept" if not stand.at_work else "continues"
            yield task, stand.status, now, _figures(stand.spent), "" if was == task else f"it was called {was}"
        elif task in edit.again:
            stand = edit.stood[task]
            yield task, stand.status, "runs again", _figures(stand.spent), edit.again[task]
        else:
            yield task, "", "runs", "", ""
    for task in edit.gone:
        yield task, edit.stood[task].status, "gone", _figures(edit.stood[task].spent), ""


def _figures(spent: Spent) -> str:
    return "  ".join(filter(None, (tokens(spent.usage.total), usd(None if spent.cost is None else spent.cost / 1e6))))
