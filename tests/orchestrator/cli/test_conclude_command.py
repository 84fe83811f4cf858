"""`runs conclude`: a conversation of a recorded run is told to end."""

from __future__ import annotations

import json

import pytest

SQUAD = """\
name: meeting
offline: auto
agents:
  ann: {{persona: analyst}}
conversations:
  talk:
    participants: [human, ann]
    terminate: {terminate}
tasks:
  meet: {{conversation: talk, description: Talk.}}
"""


def waits(call, folder, terminate: str) -> str:
    """Begin a run that waits for a person, and return its id."""
    (folder / "squad.yaml").write_text(SQUAD.format(terminate=terminate))
    assert call("run", "squad.yaml", "--offline", "--quiet").code == 7
    [run] = json.loads(call("runs", "ls", "--json").out)
    return run["run"]


def test_a_run_that_lies_is_told_and_ends_once_it_goes_on(call, folder):
    run = waits(call, folder, "{any: [{external: true}, {max_turns: 8}]}")
    done = call("runs", "conclude", run, "talk")
    assert (done.code, done.err.strip()) == (
        0,
        f"{run}: talk ends after the utterance at work, once the run goes on",
    )
    assert call("approvals", "say", run, "Hello.").code == 0
    assert call("runs", "resume", run, "--quiet").code == 0
    shown = call("explain", run, "meet").out
    assert "the program ended it" in shown, shown
    assert call("runs", "conclude", run, "talk").code == 5


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        (
            "talk",
            "the conversation 'talk' cannot be ended from outside: its terminate has no external: true",
            "external",
        ),
        ("tlak", "the squad of the run has no conversation 'tlak'", "its conversations: talk"),
    ],
)
def test_what_would_not_listen_is_refused(call, folder, name, error, hint):
    run = waits(call, folder, "{max_turns: 2}")
    done = call("runs", "conclude", run, name)
    assert done.code == 5
    assert error in done.err
    assert hint in done.err
