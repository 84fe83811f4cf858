"""Personas as Markdown files: what is read of them, and where each mistake is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas import PersonaError, Personas, in_memory
from personas.errors import PersonaAmbiguous
from personas.markdown import persona_in
from personas.sources import PersonaFolder, persona_name
from providers.documents.problems import Problem, SpecError

LIBRARY = Personas(in_memory({"base": {"role": "Finds out.", "principles": ["One."], "instructions": "As base says."}}))
FRONT = "---\nname: Rae\nrole: Reviews.\n---\n"


def made(text, file="rae.md"):
    found: list[Problem] = []
    return LIBRARY.build(persona_in(text, file, found), read=found)


def mistakes(text, file="rae.md"):
    with pytest.raises(SpecError) as failed:
        made(text, file)
    return [(p.line, p.column, p.code) for p in failed.value.problems]


def test_the_body_is_the_instructions_word_for_word() -> None:
    persona = made(FRONT + "\n\n## Style\n\n  Short.\n---\nMore.\n\n")
    assert (persona.display_name, persona.role) == ("Rae", "Reviews.")
    assert persona.prompt == "## Style\n\n  Short.\n---\nMore."
    assert persona.instructions().endswith("## Your instructions\n\n## Style\n\n  Short.\n---\nMore.\n")


@pytest.mark.parametrize("file", ["rae.md", "rae.markdown", "RAE.MD"])
def test_without_front_matter_the_body_is_all_there_is(file) -> None:
    assert made("You are brief.\n", file).instructions() == "You are brief."


@pytest.mark.parametrize("front", ["---\n---\n", "---\n# nothing yet\n\n---\n", "\n \n---\n---\n"])
def test_front_matter_may_be_empty(front) -> None:
    assert made(front + "Be brief.").prompt == "Be brief."


def test_byte_order_marks_and_line_ends_of_windows_are_read() -> None:
    text = "\ufeff" + (FRONT + "One.\n\nTwo.\n").replace("\n", "\r\n")
    assert made(text).prompt == "One.\n\nTwo."
    assert made(text).role == "Reviews."


def test_emoji_right_to_left_text_and_braces_stay_text() -> None:
    body = "שלום 👩‍💻 {{ persona.name }} {% if x %} ${{ x }}"
    assert made(FRONT + body).instructions().count(body) == 1


def test_an_agents_own_instructions_come_after_the_body() -> None:
    assert made("Be brief.").instructions(own="Be kind.") == "Be brief.\n\nBe kind."


def test_a_template_places_the_body() -> None:
    text = '---\nrole: R.\ntemplate: "{{ instructions }} You are a {{ persona.role }}"\n---\nBody.'
    assert made(text).instructions() == "Body. You are a R."


def test_the_body_replaces_that_of_the_persona_it_extends() -> None:
    assert made("---\nextends: base\n---\n").prompt == "As base says."
    assert made("---\nextends: base\nprinciples: [Two.]\n---\nMine.").prompt == "Mine."
    assert made("---\nextends: base\nprinciples: [Two.]\n---\nMine.").principles == ("One.", "Two.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(1, 1, "empty-file")]),
        ("\n \n", [(1, 1, "empty-file")]),
        ("---\nname: x\n", [(1, 1, "bad-front-matter")]),
        ("+++\nname = 'x'\n+++\nx", [(1, 1, "bad-front-matter")]),
        ("---\n- a\n---\nx", [(2, 1, "wrong-type")]),
        ("---\njust words\n---\nx", [(2, 1, "wrong-type")]),
        ("---\nname: Rae\n---\n\n", [(2, 1, "missing-field")]),
        ("---\nname: 5\nrle: x\n---\nx", [(2, 7, "wrong-type"), (3, 1, "unknown-field")]),
        ("---\nrole: r\nrole: s\n---\nx", [(3, 1, "duplicate-key")]),
        ("---\nrole: r\ninstructions: s\n---\nx", [(3, 1, "duplicate-key")]),
        (FRONT + "fine\n\tbad \x01 one", [(6, 6, "control-character")]),
        ("---\nrole: [\n---\nx", [(3, 1, "bad-yaml")]),
        ("---\nname: a\x01\n---\nx", [(2, 8, "control-character")]),
    ],
)
def test_mistakes_have_their_place_in_the_file(text, expected) -> None:
    assert mistakes(text) == expected


def test_a_file_that_is_too_large_is_refused() -> None:
    assert mistakes("x" * (1 << 20) + "y") == [(1, 1, "too-large")]
    assert mistakes("x" * 100_001) == [(1, 1, "out-of-range")]


def test_fields_of_other_programs_are_told_what_to_write() -> None:
    text = "---\nname: rev\ndescription: When code changed\ntools: Read, Grep, Bash\nmodel: sonnet\ncolor: red\n---\nx"
    with pytest.raises(PersonaError) as failed:
        made(text)
    told = {p.path[0]: f"{p.message} {p.hint}" for p in failed.value.problems}
    assert "write role:" in told["description"]
    assert "write tools: [read_file, search_files, run_command]" in told["tools"]
    assert "model: PROVIDER/MODEL" in told["model"]
    assert "leave it out" in told["color"]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_place(text) -> None:
    places: list[int] = []
    try:
        persona_in(text, "x.md")
    except SpecError as failed:
        places = [problem.line for problem in failed.problems]
    assert all(places)


def test_a_folder_holds_personas_by_the_names_of_their_files() -> None:
    texts = {
        "ann.md": "Be Ann.",
        "bob.yaml": "role: B.",
        "bob.md": "Be Bob.",
        "README.md": "About",
        "x.txt": "",
        ".h.md": "",
    }
    folder = PersonaFolder(lambda: texts, texts.__getitem__, lambda file: f"personas/{file}")
    assert sorted(folder.names()) == ["ann", "bob"]
    assert Personas(folder).get("ann").prompt == "Be Ann."
    assert folder("nobody") is None
    with pytest.raises(PersonaAmbiguous, match=r"personas/bob.md and personas/bob.yaml"):
        folder("bob")


@pytest.mark.parametrize(
    ("file", "name"), [("a/b.md", "b"), ("b.c.yaml", "b.c"), ("B.MARKDOWN", "B"), ("b.txt", ""), ("b", "")]
)
def test_a_persona_is_named_by_its_file(file, name) -> None:
    assert persona_name(file) == name
