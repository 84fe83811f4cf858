"""Control lines in whatever dress: what they say, and what is left for the others to hear."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.run.conversations.control import control_of
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import AnyOf, MaxTurns, PhraseSaid

NAMES = {"bob": "Bob Smith", "dev": "Amelia Stone", "tech-writer": "Paige O'Neil", "qa_bot": "Quinn Smith"}
PLAN = ConversationPlan(
    "m", "party", ("bob", "dev", "tech-writer", "qa_bot"), MaxTurns(9), "boss", names={**NAMES, "boss": "Boss"}
)


def read(text: str, names: int = 3, plan: ConversationPlan = PLAN) -> tuple[str, tuple[str, ...]]:
    control = control_of(text, "boss", plan, names)
    assert control.unread is None, control.unread
    return control.text, control.next


@pytest.mark.parametrize(
    "line",
    [
        *("NEXT: bob", "**NEXT:** bob", "**NEXT: bob**", "> NEXT: @bob.", "`NEXT: Bob`", "### Next: Bob Smith"),
        *(
            "- next: bob",
            "* **Next**: bob",
            "1. NEXT: bob",
            "ＮＥＸＴ： bob",
            "NEXT：bob",
            "next:bob",
            "*NEXT* : 'bob'",
        ),
        *(
            "__NEXT:__ bob!",
            "👉 NEXT: bob 👈",
            "NEXT 👉: **Bob**",
            "[NEXT: bob]",
            "NEXT: “Bob Smith”,",
            "| NEXT: | bob |",
        ),
        *("<b>NEXT:</b> bob", "Next speaker: Bob", "NEXT SPEAKERS: bob", "Next up: bob", "NEXT: speaker bob, please"),
        *(
            '{"next": "bob"}',
            "NEXT:\tbob\u200b",
            "NEXT: bob (PM)",
            "NEXT: bob — to answer Amelia's question",
            "NEXT = bob",
        ),
        *("```\nNEXT: bob\n```", "~~~text\n**NEXT:** bob\n~~~", "---\nNEXT: bob", "NEXT: bob\n\n---", "NEXT:\n- bob"),
        *("NEXT:\n\n1. **Bob Smith**", "\u202aNEXT: bob\u202c", "NEXT: BOB", "NEXT: bob, bob", "NEXT: bob (Bob Smith)"),
    ],
)
@pytest.mark.parametrize("frame", ["The plan stands.\n\n{}", "{}\n\nThe plan stands.", "The plan stands.\r\n{}\n\n\n"])
def test_a_line_in_any_dress_names_who_speaks_next_and_is_heard_by_nobody(line: str, frame: str) -> None:
    assert read(frame.format(line)) == ("The plan stands.", ("bob",))


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        ("amelia", ("dev",)),
        ("Stone and Bob", ("dev", "bob")),
        ("@tech-writer, dev & qa bot", ("tech-writer", "dev", "qa_bot")),
        ("Tech Writer; Dev", ("tech-writer",)),
        ("Paige O’Neil / Quinn", ("tech-writer", "qa_bot")),
        ("dev + bob", ("dev", "bob")),
        ("Bob Smith, then Quinn Smith", ("bob", "qa_bot")),
        ("dev → bob", ("dev", "bob")),
        ("1) dev 2) bob", ("dev",)),
    ],
)
def test_people_are_named_by_id_or_by_what_their_personas_are_called(names: str, meant: tuple[str, ...]) -> None:
    assert read(f"So far.\nNEXT: {names}") == ("So far.", meant)


def test_a_line_in_the_end_of_a_sentence_counts_too() -> None:
    assert read("That is settled. **NEXT:** bob, dev") == ("That is settled.", ("bob", "dev"))
    assert read("```markdown\n# Plan\nAll of it.\n\nNEXT: dev\n```") == (
        "```markdown\n# Plan\nAll of it.\n\n```",
        ("dev",),
    )


@pytest.mark.parametrize(
    "text",
    [
        "The next: a plan of what each of us should do until Monday.\n\nMore of it.",
        "First.\nNext: we agree on the budget and then we all go home.\nLast.",
        "Nextcloud: bob runs it.\nIt works.",
        "```yaml\nsteps:\n  next: bob\n  last: dev\n```\nis the file.",
        "What comes next is bob's.",
        "nothing",
        "",
    ],
)
def test_what_only_looks_like_a_control_line_stays(text: str) -> None:
    assert read(text) == (text, ())


@pytest.mark.parametrize(
    ("text", "fault", "named", "left"),
    [
        ("So.\nNEXT: zoe", "nobody", (), "So."),
        ("So.\nNEXT:", "nobody", (), "So."),
        ("So.\n**Next:** nobody", "nobody", (), "So."),
        ("So.\nNEXT: boss", "nobody", (), "So."),
        ("So.\nNEXT: Smith", "ambiguous", (), "So."),
        ("So.\nNEXT: dev, Smith", "ambiguous", ("dev",), "So."),
        ("NEXT: bob\nSo.\nNEXT: dev", "several", ("dev",), "So."),
        ("So.\nNEXT: bob, dev, qa_bot, tech-writer", "several", ("bob", "dev", "qa_bot"), "So."),
    ],
)
def test_a_line_that_cannot_be_followed_says_why(text: str, fault: str, named: tuple[str, ...], left: str) -> None:
    control = control_of(text, "boss", PLAN, 3)
    assert control.unread is not None
    assert (control.unread.fault, control.next, control.text) == (fault, named, left)
    assert control.unread.line == [line for line in text.splitlines() if "next" in line.casefold()][-1]


def test_neighbouring_lines_are_one_and_the_same_names_twice_are_no_conflict() -> None:
    assert read("So.\nNEXT: bob\nNEXT: dev") == ("So.", ("bob", "dev"))
    assert read("NEXT: bob\nSo.\nNEXT: Bob Smith") == ("So.", ("bob",))


def test_nobody_else_hears_a_line_of_one_who_is_not_asked_for_it() -> None:
    control = control_of("I am done.\nNEXT: dev", "bob", PLAN, 0)
    assert (control.text, control.next, control.unread) == ("I am done.", (), None)
    assert control_of("I am done.\nNEXT: dev", "bob", PLAN, None).text == "I am done.\nNEXT: dev"


@pytest.mark.parametrize(
    "line", ["DONE", "**Done.**", "> `DONE`", "### done", "ＤＯＮＥ！", '"DONE"', "- DONE 🎉", "```\nDONE\n```"]
)
@pytest.mark.parametrize("behind", ["", "\n", "\n\nNEXT: bob", "\n---"])
def test_a_closing_phrase_in_a_line_of_its_own_is_heard_by_nobody(line: str, behind: str) -> None:
    plan = replace(PLAN, terminate=AnyOf((MaxTurns(9), PhraseSaid("DONE"))))
    control = control_of(f"All is done.\n{line}{behind}", "boss", plan, 3)
    assert (control.text, control.closing) == ("All is done.", ("DONE",))


def test_a_closing_phrase_of_another_closes_nothing() -> None:
    plan = replace(PLAN, terminate=AnyOf((MaxTurns(9), PhraseSaid("DONE", by="bob"))))
    assert control_of("So.\nDONE", "boss", plan, 3).closing == ()
    assert control_of("Not done yet, I say.", "bob", plan, 0).closing == ()
    assert control_of("Done.\nOr is it?", "bob", plan, 0).text == "Done.\nOr is it?"


def test_runs_of_edition_1_read_and_hear_lines_as_they_did() -> None:
    control = control_of("So.\nNEXT: dev, Bob Smith", "boss", replace(PLAN, edition=1), 3)
    assert (control.text, control.next) == ("So.\nNEXT: dev, Bob Smith", ("bob", "dev"))
    assert control_of("**NEXT:** dev", "boss", replace(PLAN, edition=1), 3).next == ()


@given(text=st.text(alphabet=st.sampled_from([*"NEXTnext:： \n>*`~-_#@.,'\"bobdev12()|[]{}"]), max_size=80))
def test_whatever_is_said_nothing_but_control_lines_is_lost(text: str) -> None:
    control = control_of(text, "boss", PLAN, 2)
    assert len(control.next) <= 2
    assert set(control.text) <= set(text)
    if "next" not in text.casefold():
        assert control.text == text
