"""With `--log-format json` each line on stderr is a JSON document, whatever is said; with `--json` each on stdout."""

from __future__ import annotations

import json

import pytest

BROKEN = "name: b\nagents: {a: {persona: nobody}}\ntasks: {t: {agent: a, description: Hi.}}\n"
UNUSED = (
    "name: u\noffline: auto\nagents: {a: {persona: analyst}, b: {persona: dev}}\n"
    "tasks: {t: {agent: a, description: Hi.}}\n"
)

TALK = (
    "name: talk\noffline: auto\nagents: {a: {persona: analyst}, b: {persona: dev}}\n"
    "conversations: {c: {pattern: round_robin, participants: [a, b], terminate: {max_turns: 2}}}\n"
    "tasks: {t: {conversation: c, description: Hi.}}\n"
)


def test_a_run_begins_and_ends_at_the_level_at_which_a_server_logs_it(call):
    done = call("run", "squad.yaml", "--log-format", "json", "--log-level", "info")
    told = [(document["event"], document["level"]) for document in map(json.loads, done.err.splitlines())]
    assert ("run.started", "info") in told
    assert ("run.finished", "info") in told
    assert "route.chosen" not in dict(told)
    quiet = call("run", "squad.yaml", "--log-format", "json", "--log-level", "warning")
    assert (quiet.code, quiet.err) == (0, ""), "what it came to is said at `info`, too"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "squad.yaml"), 0),
        (("run", "gated.yaml", "--json"), 7),
        (("run", "unused.yaml"), 0),
        (("run", "talk.yaml"), 0),
        (("run", "broken.yaml"), 1),
        (("run", "none.yaml"), 2),
        (("run", "squad.yaml", "--nothing"), 2),
        (("ask", "hi", "--offline"), 0),
        (("ask", "hi"), 4),
        (("ask", "hi", "--tier", "wrker"), 2),
        (("runs", "resume", "r-0"), 7),
        (("runs", "resume", "none"), 5),
        (("runs", "fork", "r-0", "--from", "approve"), 7),
        (("simulate", "squad.yaml", "--all-providers"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("before", [True, pytest.param(False, marks=pytest.mark.long)])
def test_each_line_is_a_document(call, folder, arguments, code, before):
    (folder / "broken.yaml").write_text(BROKEN)
    (folder / "unused.yaml").write_text(UNUSED)
    (folder / "talk.yaml").write_text(TALK)
    if arguments[0] == "runs":
        call("run", "gated.yaml", "--run-id", "r-0")
    options = ("--log-format", "json") if before else ("--log-format=json",)
    done = call(*options, *arguments) if before else call(*arguments, *options)
    assert done.code == code, done.err
    documents = [json.loads(line) for line in done.err.splitlines()]
    assert documents or arguments[0] == "simulate", "which has nothing to say beside its result"
    assert all({"event", "level", "timestamp"} <= document.keys() for document in documents)
    assert ("error" in {document["level"] for document in documents}) >= (code in (2, 5))
    if "--json" in arguments:
        assert [json.loads(line) for line in done.out.splitlines()]
