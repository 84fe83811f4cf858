"""How personas are written, merged, refused and spoken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

import personas
from personas import Persona, PersonaError, Personas, TemplateError, first_of, in_memory, packaged
from personas.persona import MAX_ANCESTORS, merge

BASE = {
    "base": {
        "name": "Ada",
        "title": "Analyst",
        "role": "Finds out.",
        "principles": ["One."],
        "tools": ["read_file"],
        "tier": "boss",
    },
    "child": {"extends": "base", "name": "Ben", "principles": ["Two."]},
}
PERSONAS = Personas(in_memory(BASE))


def problems_of(mapping, source=PERSONAS):
    with pytest.raises(PersonaError) as failed:
        source.build(mapping)
    return {problem.path: f"{problem.message} {problem.hint}".strip() for problem in failed.value.problems}


def test_scalars_replace_and_lists_append():
    write = {"name": "write_file", "approval": "never"}
    made = PERSONAS.build({"extends": "child", "principles": ["Three."], "tools": [write], "tier": "worker"})
    assert made == Persona(
        name="child",
        display_name="Ben",
        title="Analyst",
        role="Finds out.",
        principles=("One.", "Two.", "Three."),
        tools=("read_file", write),
        tier="worker",
    )


def test_maps_merge_and_nothing_is_changed():
    base, over = {"a": {"x": 1, "y": [1]}, "b": 1}, {"a": {"y": [2], "z": 3}, "b": [2]}
    assert merge(base, over) == {"a": {"x": 1, "y": [1, 2], "z": 3}, "b": [2]}
    assert base == {"a": {"x": 1, "y": [1]}, "b": 1}
    assert over == {"a": {"y": [2], "z": 3}, "b": [2]}


trees = st.recursive(
    st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)
maps = st.dictionaries(st.sampled_from("abc"), trees)


@given(maps, maps)
def test_merging_with_nothing_changes_nothing(left, right):
    assert merge(left, {}) == left
    assert merge({}, right) == right
    assert merge(left, right).keys() == left.keys() | right.keys()


def test_a_persona_is_made_once():
    assert PERSONAS.get("base") is PERSONAS.get("base")


@pytest.mark.parametrize(
    ("mapping", "name", "expected"),
    [
        ({"role": "r", "name": "Zoë Q."}, None, "zoë-q"),
        ({"role": "r"}, None, "custom"),
        ({"role": "r", "name": "Zoë"}, "critic", "critic"),
        ({"extends": "base", "name": "Zoë"}, None, "base"),
    ],
)
def test_every_persona_has_an_id(mapping, name, expected):
    assert PERSONAS.build(mapping, name).name == expected


def test_cycles_are_named():
    source = in_memory({"a": {"extends": "b"}, "b": {"extends": "c"}, "c": {"extends": "b", "role": "r"}})
    assert problems_of({"extends": "a"}, Personas(source)) == {("extends",): "personas extend each other: b -> c -> b"}


def test_lineage_is_bounded():
    line = {str(n): {"extends": str(n + 1)} for n in range(1000)}
    assert f"more than {MAX_ANCESTORS}" in problems_of({"extends": "0"}, Personas(in_memory(line)))["extends",]


def test_all_problems_come_at_once_with_what_was_meant():
    mapping = {"extends": "bse", "priciples": [], "name": 5, "tools": ["a", 3, {"nme": "x"}], "style": "a\0b"}
    assert problems_of(mapping) == {
        ("extends",): "'bse' is not a persona did you mean 'base'?",
        ("priciples",): "'priciples' is not a field of a persona did you mean 'principles'?",
        ("name",): "'name' takes text, not the number 5 put it in quotes",
        ("tools", 1): "'tools' takes text, not the number 3 put it in quotes",
        ("tools", 2): "'tools' needs a 'name' in each tool that is given as a mapping",
        ("style",): "'style' holds the unreadable character U+0000 at position 1",
    }


def test_a_problem_of_an_ancestor_names_the_ancestor():
    source = in_memory({"a": {"extends": "b"}, "b": {"role": 1}, "c": {"extends": "missing"}})
    assert problems_of({"extends": "a"}, Personas(source)) == {
        ("extends",): "'role' takes text, not the number 1 (in persona 'b') put it in quotes"
    }
    assert problems_of({"extends": "c"}, Personas(source)) == {
        ("extends",): "'missing' is not a persona (in persona 'c') known here: a, b, c"
    }


@pytest.mark.parametrize("written", [[], "dev", None, 3])
def test_what_is_no_mapping_is_refused(written):
    assert problems_of(written) == {(): "a persona is a mapping of fields"}


def test_a_role_is_required():
    assert list(problems_of({"name": "Zoë"})) == [("role",)]


@pytest.mark.parametrize("bad", ["\0", "\x1b[31m", "\ud800", "\x9b", "\x7f"])
def test_unreadable_characters_are_refused(bad):
    mapping = {"role": f"a{bad}", "name": f"b{bad}", "principles": ["fine", bad], "tools": [bad]}
    assert list(problems_of(mapping)) == [("name",), ("role",), ("principles", 1), ("tools", 0)]


@given(st.text(min_size=1, max_size=50))
def test_any_text_is_kept_or_refused(text):
    mapping = {"role": text, "identity": "i", "principles": ["p"]}
    if any(category(letter) in {"Cc", "Cs"} and letter not in "\t\n\r" for letter in text):
        assert list(problems_of(mapping)) == [("role",)]
    else:
        assert text in PERSONAS.build(mapping).instructions()


def test_emoji_and_right_to_left_text_stay():
    text = "שלום 👩‍💻 {{ persona.name }} ${{ x }}"
    made = PERSONAS.build({"role": text, "identity": text, "principles": [text], "style": text, "produces": [text]})
    assert made.instructions().count(text) == 5


def test_instructions_have_no_empty_sections():
    bare = PERSONAS.build({"role": "Finds out."}).instructions()
    assert bare == "You are custom.\n\n## Your role\n\nFinds out.\n"
    full = PERSONAS.get("child").instructions({"squad": "s", "colleagues": [{"name": "Bo", "title": ""}]})
    assert full == (
        'You are Ben, Analyst, in the squad "s".\n\n## Your role\n\nFinds out.\n'
        "\n## What you hold to\n\n- One.\n- Two.\n\n## Who works beside you\n\n- Bo\n"
    )


def test_a_template_may_be_written_in_the_persona():
    made = PERSONAS.build({"extends": "base", "template": "{{ persona.display_name }} for {{ goal }}"})
    assert made.instructions({"goal": "g", "persona": "mine"}) == "Ada for g"
    with pytest.raises(TemplateError, match="'goal' is unknown"):
        made.instructions()


@pytest.mark.parametrize(
    ("template", "words"),
    [("{{ persona", "unexpected"), ("persna", "did you mean 'persona'"), ("{{ ''|attr('x') }}", "not a filter")],
)
def test_a_wrong_template_is_a_problem_of_the_persona(template, words):
    ((path, message),) = problems_of({"extends": "base", "template": template}).items()
    assert path == ("template",)
    assert words in message


def test_sources_compose_in_order():
    source = first_of(in_memory({"dev": {"role": "mine"}}), packaged(), lambda name: {"role": name})
    found = Personas(source)
    assert found.get("dev").role == "mine"
    assert found.get("pm").display_name == "John"
    assert found.get("anyone").role == "anyone"
    assert found.names() == Personas(packaged()).names()


@pytest.mark.parametrize("name", ["../persona", "a/b", "", ".", "dev.yaml", "DEV", "nobody", "\0"])
def test_a_name_never_leaves_the_library(name):
    assert packaged()(name) is None


LIBRARY = {
    "analyst": ("Mary", "boss"),
    "architect": ("Winston", "boss"),
    "code-reviewer": ("Kofi", "worker"),
    "critic": ("Vera", "boss"),
    "data-analyst": ("Mei", "worker"),
    "dev": ("Amelia", "worker"),
    "editor": ("Otto", "creative"),
    "judge": ("Portia", "boss"),
    "planner": ("Elif", "boss"),
    "pm": ("John", "boss"),
    "researcher": ("Ibrahim", "boss"),
    "security-reviewer": ("Ruth", "boss"),
    "sm": ("Bob", "worker"),
    "summariser": ("Noor", "worker"),
    "support-agent": ("Tomas", "worker"),
    "tea": ("Murat", "worker"),
    "tech-writer": ("Paige", "creative"),
    "translator": ("Anouk", "creative"),
    "ux-designer": ("Sally", "creative"),
    "writer": ("Clara", "creative"),
}


def test_the_library_is_complete():
    library = Personas(packaged())
    assert library.names() == tuple(LIBRARY)
    for name, (display_name, tier) in LIBRARY.items():
        made = library.get(name)
        assert (made.name, made.display_name, made.tier, made.tools) == (name, display_name, tier, ())
        assert len(made.principles) >= 6
        assert len(made.produces) >= 2
        text = made.instructions()
        assert text == library.get(name).instructions()
        assert 1_500 < len(text) < 6_000
        assert all(part in text for part in (made.title, made.role, made.identity.strip(), *made.principles))


def test_no_two_personas_are_alike():
    made = [Personas(packaged()).get(name) for name in LIBRARY]
    for told in ("display_name", "title", "role", "identity", "style"):
        assert len({getattr(one, told) for one in made}) == len(made), told
    principles = [principle for one in made for principle in one.principles]
    assert len(set(principles)) == len(principles)


def test_the_page_of_agents_lists_the_library():
    page = (Path(__file__).parents[2] / "docs" / "guides" / "agents.md").read_text("utf-8")
    made = map(Personas(packaged()).get, LIBRARY)
    rows = [f"| `{one.name}` | {one.display_name} | {one.title} | {one.tier} |" for one in made]
    assert [line for line in page.splitlines() if line in rows] == rows


def test_public_names_are_pinned():
    assert personas.__all__ == [
        "Persona",
        "PersonaError",
        "Personas",
        "Sandbox",
        "TemplateError",
        "first_of",
        "in_memory",
        "packaged",
    ]
    assert dir(personas) == personas.__all__
    assert all(getattr(personas, name).__name__ == name for name in personas.__all__)
    with pytest.raises(AttributeError, match="no attribute 'persna'"):
        _ = personas.persna


def test_importing_the_package_loads_none_of_its_parts():
    code = "import sys, personas; sys.exit(len({'jinja2', 'yaml', 'pydantic', 'personas.persona'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
