"""Commands and options as other programs call them: what is told with ours."""

from __future__ import annotations

import pytest

from orchestrator.cli import other_names
from orchestrator.cli.exits import Exit


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("resume latest", "There is no command 'resume'. Write `orchestrator runs resume latest`."),
        ("lint squad.yaml", "There is no command 'lint'. Write `orchestrator validate squad.yaml`."),
        ("run squad.yaml --var idea=tea", "There is no option '--var': -i NAME=VALUE gives an input"),
        ("run squad.yaml --output there", "There is no option '--output': write --out DIR"),
        ("run squad.yaml idea=tea", "An input needs -i before it: -i idea=tea"),
        ("validate squad.yaml --output there", "No such option '--output'"),
        ("run .", ". is a folder, not a squad's file"),
    ],
)
def test_words_of_other_programs_are_told_with_ours(call, typed, told):
    done = call(*typed.split())
    assert (done.code, told in done.err) == (Exit.USAGE, True), done.err


def test_what_stands_for_words_of_other_programs_is_there(call):
    for written in {*other_names.COMMANDS.values()}:
        command = [word for word in written.partition("`")[0].split() if word.isalpha() and word.islower()]
        group = ["runs", "personas", "providers", "import"]
        assert call(*command[: 2 if command[:1] and command[0] in group else 1], "--help").code == 0, written
