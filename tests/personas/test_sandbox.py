"""What templates and expressions give, and that text stays text."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas import Sandbox, TemplateError
from personas.sandbox import TemplateLimits

SANDBOX = Sandbox()
VALUES = {
    "inputs": {"idea": "A list & <more>", "autopilot": True, "none": None},
    "tasks": {"stories": {"output": {"stories": [{"id": "S-1", "points": 3}, {"id": "S-2", "points": 5}]}}},
    "story": {"id": "S-1", "acceptance_criteria": ["ohne Netz", "läuft"]},
}

plain = st.text().filter(lambda text: "${{" not in text)


def value_of(source: str, values=VALUES):
    return SANDBOX.expression_text(source).render(values)


def error_of(source: str, values=VALUES) -> TemplateError:
    with pytest.raises(TemplateError) as failed:
        value_of(source, values)
    return failed.value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("${{ tasks.stories.output.stories }}", VALUES["tasks"]["stories"]["output"]["stories"]),
        ("${{ tasks.stories.output.stories | length }}", 2),
        ("${{ not inputs.autopilot }}", False),
        ("  ${{ inputs.autopilot }}\n", True),
        ("${{ inputs.none }}", None),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ {'a': {'b': 1}}.a.b}}", 1),
        ("${{ '}}' ~ \"${{\" }}", "}}${{"),
        ("${{ tasks['stories'].output.stories[1]['id'] }}", "S-2"),
        ("${{ tasks.stories.output.stories | map(attribute='id') | join(', ') }}", "S-1, S-2"),
        ("${{ tasks.stories.output.stories | sum(attribute='points') }}", 8),
        ("${{ tasks.stories.output.stories | selectattr('points', '>', 3) | map(attribute='id') | first }}", "S-2"),
        ("${{ tasks.stories.output.stories | rejectattr('points', 'gt', 3) | length }}", 1),
        (
            "${{ tasks.stories.output.stories | sort(attribute='points', reverse=true) | map(attribute='id') }}",
            ["S-2", "S-1"],
        ),
        ("${{ ['b', 'A', 'b'] | unique | sort }}", ["A", "b"]),
        ("${{ [3, 1, 2] | max - [3, 1, 2] | min }}", 2),
        ("${{ inputs.idea.upper().split(' ')[0] }}", "A"),
        ("${{ inputs.get('nothing', 'else') }}", "else"),
        ("${{ inputs.nothing | default('else') }}", "else"),
        ("${{ inputs.nothing is defined }}", False),
        ("${{ inputs.idea if inputs.autopilot else '' }}", "A list & <more>"),
        ("${{ 1 if false }}", None),
        ("${{ 'abcdef'[1:5:2] }}", "bd"),
        ("${{ 2 ** 10 + 7 // 2 - 7 % 4 }}", 1024),
        ("${{ 2.5 | round | int }}", 2),
        ("${{ 7.25 | round(1, 'ceil') }}", 7.3),
        ("${{ '12' | int + ('x' | int(default=5)) }}", 17),
        ("${{ 'one two' | wordcount }}", 2),
        ("${{ 'it is long' | truncate(8) }}", "it..."),
        ("${{ 'a\nb' | indent(2) }}", "a\n  b"),
        ("${{ 'aXbX' | replace('X', 'é') }}", "aébé"),
        ("${{ 'o' in 'word' and 3 in [1, 3] and 1 < 2 <= 2 }}", True),
        ("${{ inputs | items | first }}", ("idea", "A list & <more>")),
        ("${{ [1, 'é'] | tojson }}", '[1, "é"]'),
        ("${{ [0, 1, none, 'x'] | select | list }}", [1, "x"]),
        ("${{ -(3 | abs) }}", -3),
        ("${{ 'a;b\nx, y;2' | from_csv }}", [{"a": "x, y", "b": "2"}]),
        ('${{ \'a,b\nx y,"1"""\n\' | from_csv | to_csv }}', 'a,b\nx y,"1"""\n'),
        ("${{ ('a#b\n1#2' | from_csv('#'))[0].b }}", "2"),
    ],
)
def test_an_expression_alone_keeps_its_type(source, value):
    found = value_of(source)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Research ${{ inputs.idea }}.", "Research A list & <more>."),
        ("Check ${{ story.acceptance_criteria }}!", 'Check ["ohne Netz", "läuft"]!'),
        ("${{ inputs.autopilot }}${{ inputs.none }}${{ 1 }}", "true1"),
        ("{x} {{ inputs.idea }} {% if %} {# #} ${ y } $${{ 1 }}", "{x} {{ inputs.idea }} {% if %} {# #} ${ y } $1"),
        ("a ~ ${{ 'b' ~ 1 ~ none ~ true }}", "a ~ b1true"),
        ("line\r\n${{ 1 }}\r\n", "line\r\n1\r\n"),
    ],
)
def test_an_expression_in_text_becomes_text(source, text):
    assert value_of(source) == text


def test_frozen_mappings_are_as_good_as_dicts():
    values = {"inputs": MappingProxyType({"a": MappingProxyType({"b": 1})})}
    assert value_of("x ${{ inputs.a }} ${{ inputs.a.b }}", values) == 'x {"b": 1} 1'


def test_a_key_hides_the_method_of_the_same_name():
    assert value_of("${{ story.items }}", {"story": {"items": 1}}) == 1
    assert value_of("${{ story.items() }}", {"story": {"items": 1}}) == [("items", 1)]


@given(plain)
def test_text_without_an_expression_renders_to_itself(text):
    parsed = SANDBOX.expression_text(text)
    assert parsed.is_constant
    assert parsed.names == frozenset()
    assert parsed.render({}) == text


hostile_values = st.one_of(
    st.text(),
    st.sampled_from(["${{ inputs.secret }}", "{{ inputs.secret }}", "{% for x in y %}", "{# no #}", "}} ${{ 1 }}"]),
)


@given(before=plain.filter(lambda t: not t.endswith("$")), value=hostile_values)
def test_values_are_never_parsed(before, value):
    values = {"inputs": {"idea": value, "secret": "leaked"}}
    assert value_of(before + "|${{ inputs.idea }}|", values) == f"{before}|{value}|"
    assert value_of("${{ inputs.idea }}", values) == value
    assert SANDBOX.template("<{{ inputs.idea }}>").render(values) == f"<{value}>"


@given(st.text(max_size=60), st.text("${}[]()'\"|.~ _ainputsdeif%#\\0-9", max_size=60))
def test_any_source_parses_or_says_why(text, words):
    for source in (text, words, f"{text}${{{{ {words} }}}}"):
        for parse in (SANDBOX.expression_text, SANDBOX.template):
            try:
                parse(source).render(VALUES)
            except TemplateError as error:
                offset = error.offset or 0
            else:
                offset = 0
            assert 0 <= offset <= len(source)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("${{ inputs.idea }} ${{ story['id'] }}", {("inputs", "idea"), ("story", "id")}),
        ("${{ tasks.stories.output.stories[0].id }}", {("tasks", "stories", "output", "stories")}),
        ("${{ inputs[story.id] }}", {("inputs",), ("story", "id")}),
        ("${{ [a.b, {'k': c}] | join(d.e) }}", {("a", "b"), ("c",), ("d", "e")}),
        ("${{ a.b.strip().split(c)[0] }}", {("a", "b"), ("c",)}),
        ("${{ a if b.c is defined else d }}", {("a",), ("b", "c"), ("d",)}),
        ("${{ 1 + 2 }}", set()),
    ],
)
def test_the_names_that_expressions_read_are_known(source, names):
    assert SANDBOX.expression_text(source).names == names


def test_an_unknown_name_says_its_path_and_what_is_there():
    error = error_of("ab ${{ inputs.idae }}")
    assert error.name == ("inputs", "idae")
    assert error.available == ("idea", "autopilot", "none")
    assert error.offset == 3
    assert "'inputs.idae' is unknown in ${{ inputs.idae }}" in error.message


def test_an_unknown_name_inside_a_list_does_not_escape():
    assert error_of("${{ [1, [inputs.idae]] }}").name == ("inputs", "idae")


@pytest.mark.parametrize(
    ("source", "offset", "words"),
    [
        ("a ${{ 1 + }} ${{ 2 }}", 2, "unexpected"),
        ("a ${{ x", 2, "never closed"),
        ("a ${{ 'x }}", 2, "quote"),
        ("ab ${{   }}", 3, "no expression"),
        ("${{ a b }}", 0, "'b' is not expected"),
        ("${{ a | uper }}", 0, "did you mean 'upper'"),
        ("${{ a.uper() }}", 0, "did you mean 'upper'"),
        ("${{ a is defind }}", 0, "did you mean 'defined'"),
        ("${{ 1 }} ${{ 1 / 0 }}", 9, "division by zero in ${{ 1 / 0 }}"),
        ("${{ 'a' - 1 }}", 0, "'-' does not work on text and a number"),
        ("${{ [1] | map('upper') }}", 0, "the arguments do not fit: it takes 2 positional"),
        ("${{ [1e308 * 10] | tojson }}", 0, "not JSON compliant"),
        ("x ${{ [] | first }}", 2, "the list is empty"),
        ("${{ inputs.idea.id }}", 0, "'id' is unknown"),
        ("${{ 3 | join }}", 0, "is not a list"),
    ],
)
def test_a_bad_expression_is_placed(source, offset, words):
    error = error_of(source)
    assert error.offset == offset
    assert words in error.message


def test_what_is_no_data_is_not_written_as_text():
    assert "cannot be written as text" in error_of("a ${{ x }}", {"x": object()}).message
    assert "cannot be written as JSON" in error_of("a ${{ x }}", {"x": [object()]}).message


def test_a_template_has_loops_and_branches():
    source = "{% for p in ps %}\n{{ loop.index }}/{{ loop.length }} {{ p }}\n{% else %}none{% endfor %}"
    source += "{% set n = 1 %}{{ n }}"
    template = SANDBOX.template(source)
    assert template.render({"ps": ["a", "b"]}) == "1/2 a\n2/2 b\n1"
    assert template.render({"ps": []}) == "none1"


def test_a_templates_syntax_error_names_its_line():
    with pytest.raises(TemplateError) as failed:
        SANDBOX.template("one\ntwo {{ x y }}\n")
    assert failed.value.offset == 4


def test_the_output_of_many_expressions_is_capped_together():
    sandbox = Sandbox(TemplateLimits(output_chars=10))
    text = sandbox.expression_text("${{ a }}-${{ a }}")
    assert text.render({"a": "1234"}) == "1234-1234"
    with pytest.raises(TemplateError, match="writes more than 10"):
        text.render({"a": "12345"})


class Named(str):
    """A text with fields that a template may read, and one that it may not."""

    __slots__ = ()
    template_fields = ("name",)
    name = "a.md"
    secret = "s"


def test_a_text_has_the_fields_that_its_class_names():
    values = {"x": Named("words")}
    assert Sandbox().template("{{ x.name }}: {{ x | upper }} {{ x['name'] }}").render(values) == "a.md: WORDS a.md"
    for source in ("{{ x.secret }}", "{{ x.template_fields }}", "{{ x.__class__ }}"):
        with pytest.raises(TemplateError):
            Sandbox().template(source).render(values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("89,50", "'89,50' is not a number: a number has a decimal point and no commas"),
        ("seit 2020", "'seit 2020' is not a number"),
        ("", "'' is not a number"),
        ("nan", "'nan' is not a number"),
        ("x" * 1_000, f"'{'x' * 60}...' is not a number"),
        (None, "none is not a number"),
    ],
)
@pytest.mark.parametrize("name", ["int", "float"])
def test_a_text_that_is_no_number_is_an_error_or_the_default(name, text, said):
    values = {"cell": text}
    message = error_of(f"${{{{ cell | {name} > 50 }}}}", values).message
    assert said in message
    assert f"{name}(0) takes 0 in its place" in message
    assert value_of(f"${{{{ cell | {name}(0) }}}}", values) == 0
    assert value_of(f"${{{{ cell | {name}(default=-1) }}}}", values) == -1


def test_a_large_table_is_charged_before_it_is_written():
    sparse = {"rows": [{f"c{number}": 1} for number in range(3_000)]}
    assert "characters on its way" in error_of("${{ rows | to_csv | length }}", sparse).message
    assert "row 1 is text" in error_of("${{ ['a'] | to_csv }}").message
    assert "'inputs.nothing'" in error_of("${{ inputs.nothing | to_csv }}").message


def test_a_table_is_charged_for_what_it_is_and_what_it_makes():
    assert "2 columns are called 'a'" in error_of("${{ 'a,a' | from_csv }}").message
    assert "is not text" in error_of("${{ inputs | from_csv }}").message
    for text in ("a" * 4_000_001, "a\n" + "x\n" * 99_999 + "y" * 100, "a,b\n" + "\n".join(["x," * 1] * 95_000)):
        with pytest.raises(TemplateError, match="characters on its way"):
            value_of("${{ inputs | from_csv | length }}", {"inputs": text})


def test_a_field_of_what_has_none_is_told_with_what_it_is():
    assert error_of("${{ inputs.idea.name }}").message.endswith("'inputs.idea' is text, which has no fields")
