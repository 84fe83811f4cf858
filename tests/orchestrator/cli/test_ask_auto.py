"""`ask --auto`: a persona, or a squad of this folder, by the question's own words."""

from __future__ import annotations

import pytest


def test_a_persona_is_chosen_and_told(call):
    done = call("ask", "--auto", "--offline", "Translate this into French: tea")
    assert done.code == 0
    assert "auto: translator (words: it says Translate, French)" in done.err
    assert "Translate this into French" in done.out


def test_what_is_for_nobody_in_particular_is_told_too(call):
    done = call("ask", "--auto", "--offline", "hello")
    assert (done.code, "auto: researcher (default: its words say nothing clear)" in done.err) == (0, True)


def test_a_squad_of_the_folder_is_run_with_the_question_as_its_input(call, folder):
    squad = folder / "squad.yaml"
    squad.write_text("description: Plan a garden with beds and hedges.\n" + squad.read_text().replace("pair", "garden"))
    done = call("ask", "--auto", "--offline", "Please lay out a garden with hedges and beds")
    assert done.code == 0, done.err
    assert "auto: squad garden (words: it says" in done.err
    assert "research: ok" in done.err


def test_a_question_that_looks_like_a_file_is_a_text(call, folder):
    squad = folder / "squad.yaml"
    squad.write_text("description: Plan a garden with beds and hedges.\n" + squad.read_text().replace("pair", "garden"))
    (folder / "secret").write_text("hidden words")
    done = call("ask", "--auto", "--offline", "@secret garden hedges beds")
    assert done.code == 0, done.err
    assert "hidden words" not in done.out + done.err


def test_a_squad_with_mistakes_is_left_out_and_told(call, folder):
    (folder / "bad.yaml").write_text("name: bad\ntasks: {a: {agnt: b}}\n")
    done = call("ask", "--auto", "--offline", "Translate this")
    assert (done.code, "bad.yaml has mistakes" in done.err) == (0, True)


def test_a_model_is_asked_where_the_words_do_not_say(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("ok"))
    done = call("ask", "--auto", "hello")
    assert (done.code, "auto: researcher (default: no model named one of them" in done.err) == (0, True), done.err


@pytest.mark.parametrize("arguments", [("--auto", "--agent", "dev", "x"), ("--auto", "")])
def test_what_cannot_be_says_why(call, arguments):
    assert call("ask", *arguments).code == 2
