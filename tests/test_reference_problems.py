"""The page of problems: each code has an example that prints it, and its corrected form prints nothing."""

from __future__ import annotations

import pytest

from docs.reference import generate_problems
from docs.reference.generate_problems import Example, printed, problems_in
from docs.reference.problem_messages import is_of, messages_in
from providers.documents.problems import CODES

EXAMPLES = [example for section in generate_problems.sections().values() for example in section]


def test_the_page_is_what_the_commands_print() -> None:
    hint = "run python docs/reference/generate_problems.py"
    assert generate_problems.PAGE.read_text("utf-8") == generate_problems.page(), hint


def test_each_code_has_an_example() -> None:
    assert sorted(example.code for example in EXAMPLES) == sorted(CODES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.code)
def test_an_example_prints_its_code_and_its_corrected_form_none(example: Example) -> None:
    assert [code for code, _ in problems_in(printed(example)[1])] == [*example.before, example.code]
    ended, told = printed(example, corrected=True)
    assert (ended, problems_in(told)) == (0, []), told


def test_messages_are_found_beside_their_codes(tmp_path) -> None:
    (tmp_path / "a.py").write_text(
        "def check(self, path, name):\n"
        "    message = f'{name} is one thing'\n"
        '    self.error(path, "bad-key", message)\n'
        "    message = 'it is too long' if name else f'it is too short: {name} of {path}{self}'\n"
        "    if path:\n"
        "        return \"bad-key\", message, 'a hint of ours'\n"
        '    self.error(path, "bad-key", name)\n'
        "    self.error(path, 'other', 'a message of another code')\n"
    )
    found = messages_in([tmp_path / "a.py"], {"bad-key"})
    assert list(found["bad-key"]) == ["... is one thing", "it is too long", "it is too short: ... of ..."]
    assert is_of("'...' is not a field of ...", "a.yaml:1:1: error[x]: 'agnt' is not a field of a task")
    assert not is_of("'...' is not a field of ...", "a.yaml:1:1: error[x]: 'agnt' is a field")
