"""How many mistakes are told at the end: those that stopped the command."""

from __future__ import annotations

SQUAD = """\
name: counted
inputs: {diff: {type: file}, unused: {default: x}}
agents: {ann: {role: Reads.}}
tasks: {read: {agent: ann, description: "${{ inputs.diff }}"}}
"""


def test_a_warning_among_them_is_no_mistake(call, folder):
    (folder / "squad.yaml").write_text(SQUAD)
    ended = call("run", "squad.yaml", "--offline", "-i", "diff=nowhere.txt")
    assert "warning[unused-input]" in ended.err
    assert "error: 1 mistake; nothing was spent" in ended.err
