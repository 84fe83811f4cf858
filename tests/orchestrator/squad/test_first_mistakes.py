"""What people get wrong in their first squads, and what they are told to write."""

from __future__ import annotations

import pytest

from orchestrator import Squad
from providers.documents.problems import ProblemsFound

HEAD = "name: first\nagents: {ann: {persona: writer}, bob: {persona: editor}}\n"
TASK = "tasks:\n  t: {agent: ann, description: Write.REST}\n"


def told(text: str) -> list[tuple[str, str, str]]:
    try:
        return [(one.code, one.message, one.hint) for one in Squad.from_text(HEAD + text).warnings]
    except ProblemsFound as found:
        return [(one.code, one.message, one.hint) for one in found.problems]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            "tasks:\n  t: {if: ${{ true }}, agent: ann}\n",
            ("bad-yaml", "an expression inside the '{' of line 4 needs quotation marks", 'write "${{ true }}"'),
        ),
        (
            'tasks:\n  t: [${{ "a" }}, 1]\n',
            ("bad-yaml", "an expression inside the '[' of line 4 needs quotation marks", "put the value in quotes"),
        ),
        (
            "tasks:\n  t: {agent: ann, description: Answer this: hello}\n",
            ("bad-yaml", "a second ': ' in one value of the '{' of line 4", "put a value that holds ': ' in quotes"),
        ),
        (
            "conversations: {c: {type: debate, agents: [ann, bob], judge: ann}}\ntasks: {t: {conversation: c}}\n",
            ("unknown-field", "'type' is not a field of a conversation", "did you mean 'pattern'?"),
        ),
        (
            TASK.replace("REST", "") + "  ok: {needs: [t], approval: {prompt: Good?, choices: [approve, revise]}}\n",
            (
                "missing-field",
                "the choice 'revise' needs 'on_revise'",
                "on_revise: {rerun: [TASK], max_attempts: 3}",
            ),
        ),
        (
            "tools: {count: {python: mytools:words}}\n" + TASK.replace("REST", ""),
            ("invalid-value", "'mytools' is no Python file", 'python: "mytools.py:words"'),
        ),
        (
            "tools: {count: {python: shop.tools.words}}\n" + TASK.replace("REST", ""),
            ("invalid-value", "'shop.tools.words' is no Python file", 'python: "shop/tools.py:words"'),
        ),
        (
            "inputs: {people: {type: csv}}\n" + TASK.replace("REST", ""),
            (
                "invalid-value",
                "'type' is one of string, integer, number, boolean, list, object, file, image; not the text 'csv'",
                "write list: -i NAME=@FILE.csv then gives its rows",
            ),
        ),
        (
            TASK.replace("REST", ", repeat: {max_attempts: 3}"),
            ("missing-field", "a repeat needs 'until'", 'write until: "${{ output.ok }}"'),
        ),
        (
            TASK.replace("REST", ", approval: {prompt: Good?}"),
            (
                "one-of",
                (
                    "a task has exactly one of agent, conversation, approval, steps, switch, squad; "
                    "this one has agent and approval"
                ),
                "make the approval a task of its own: needs: [t]",
            ),
        ),
        (
            'tasks:\n  t: {switch: {on: "${{ true }}", cases: {default: ann}}}\n',
            ("wrong-type", "'default' takes a mapping, not the text 'ann'", 'write default: {agent: "ann"}'),
        ),
        (
            TASK.replace("REST", ", output_schema: {ok: bool, notes: str}"),
            (
                "empty-schema",
                "'ok' is no keyword of JSON Schema, so this schema allows anything",
                "write {type: object, properties: {ok: {type: string}}}",
            ),
        ),
    ],
)
def test_a_first_mistake_is_told_with_what_to_write(text: str, mistake: tuple[str, str, str]) -> None:
    found = told(text)
    assert mistake in found
    assert not [message for _, message, _ in found if "'?'" in message]


@pytest.mark.parametrize("schema", ["{}", "{title: Any}", "{type: string}", "{$ref: '#/$defs/a', $defs: {a: {}}}"])
def test_a_schema_that_allows_anything_on_purpose_is_sound(schema: str) -> None:
    assert not [code for code, *_ in told(TASK.replace("REST", f", output_schema: {schema}")) if "schema" in code]
