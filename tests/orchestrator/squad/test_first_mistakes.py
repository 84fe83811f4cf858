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
            ("invalid-value", "'mytools' is not a Python file", 'python: "mytools.py:words"'),
        ),
        (
            "tools: {count: {python: shop.tools.words}}\n" + TASK.replace("REST", ""),
            ("invalid-value", "'shop.tools.words' is not a Python file", 'python: "shop/tools.py:words"'),
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
                "'ok' is not a keyword of JSON Schema, so this schema allows anything",
                "write {type: object, properties: {ok: {type: string}}}",
            ),
        ),
        (
            "tasks:\n  t:\n  agent: ann\n  description: Write.\n",
            (
                "wrong-type",
                "'agent' takes a mapping, not the text 'ann'",
                "indent it further: 'agent' is a field of a task",
            ),
        ),
        (
            "tasks:\n  t:\n  agent: ann\n  description: Write.\n",
            ("wrong-type", "'t' takes a mapping, not nothing", "its fields stand below it, indented further"),
        ),
        (
            "budget: 5\n" + TASK.replace("REST", ""),
            ("wrong-type", "'budget' takes a mapping, not the number 5", "write budget: {max_cost: 0.50}"),
        ),
        (
            "budget: {max_usd: 5}\n" + TASK.replace("REST", ""),
            ("unknown-field", "'max_usd' is not a field of a budget", "did you mean 'max_cost'?"),
        ),
        (
            "inputs: {n: {default: 3}}\n" + TASK.replace("REST", ""),
            ("wrong-type", "input 'n' is of type string", "write type: integer, or put the default in quotes"),
        ),
        (
            "inputs: {n: {required: true}}\n" + TASK.replace("REST", ""),
            (
                "unknown-field",
                "'required' is not a field of an input",
                "leave it out: an input without a default must be given",
            ),
        ),
        (
            TASK.replace("REST", ", output_schema: {type: object, properties: {ok: bool}}"),
            ("bad-schema", "no JSON Schema: 'bool' is not of type 'object', 'boolean'", "write ok: {type: boolean}"),
        ),
        (
            TASK.replace("REST", ", output_schema: {properties: {ok: {type: string, required: true}}}"),
            (
                "bad-schema",
                "no JSON Schema: True is not of type 'array'",
                "leave it out, and write required: [ok] next to properties",
            ),
        ),
        (
            TASK.replace("REST", ", output_schema: [title]"),
            (
                "wrong-type",
                "'output_schema' takes a mapping, not a list",
                "write output_schema: {type: object, required: [title], properties: {title: {type: string}}}",
            ),
        ),
        (
            "inputs: {topic: {default: tea}}\ntasks: {t: {agent: ann, description: 'On ${{ topic }}.'}}\n",
            ("unknown-name", "'topic' is not known here", "write inputs.topic"),
        ),
        (
            TASK.replace("REST", "") + "outputs: {text: '${{ t.output }}'}\n",
            ("unknown-name", "'t' is not known here", "write tasks.t.output"),
        ),
        (
            TASK.replace("REST", "") + "outputs: {text: tasks.t.output}\n",
            (
                "other-braces",
                "'tasks.t.output' is not an expression, so it stays unchanged",
                "write ${{ tasks.t.output }}",
            ),
        ),
        (
            TASK.replace("REST", "") + "outputs: {text: t}\n",
            ("other-braces", "'t' is not an expression, so it stays unchanged", "write ${{ tasks.t.output }}"),
        ),
        (
            TASK.replace("REST", "") + "  u: {agent: bob, needs: [t], description: 'Check ${{ needs.t.output }}.'}\n",
            (
                "other-braces",
                "'${{ needs.t.output }}' reads nothing of this squad, so it stays unchanged",
                "write ${{ tasks.t.output }}",
            ),
        ),
        (
            TASK.replace("REST", ", needs: [x]") + "  u: {agent: bob, description: Go on.}\n",
            ("unknown-task", "no task is called 'x'", "known here: u"),
        ),
        (
            TASK.replace("REST", ", if: '${{ true && false }}'"),
            ("bad-expression", "unexpected char '&' at 6 in ${{ true && false }}", "write and, or, not"),
        ),
        (
            "inputs: {x: {default: tea}}\n" + TASK.replace("REST", ", for_each: '${{ inputs.x }}', key: '${{ item }}'"),
            ("wrong-type", "'for_each' takes a list; input 'x' is of type string", "declare it as type: list"),
        ),
        (
            "tasks: {t: {agent: ann, description: ' '}}\n",
            ("out-of-range", "'description' is empty", ""),
        ),
        (
            "conversations: {c: {pattern: swarm, participants: [ann, bob]}}\ntasks: {t: {conversation: c}}\n",
            (
                "invalid-value",
                "'pattern' is one of round_robin, party, selector, handoff, debate, hierarchical; not the text 'swarm'",
                "write handoff",
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


def test_what_stands_under_another_name_is_not_told_to_be_wrong_besides() -> None:
    switch = "tasks:\n  t: {switch: {value: '${{ inputs.k }}', branches: {default: {agent: ann, description: Do.}}}}\n"
    assert [one for one in told("inputs: {k: {default: a}}\n" + switch) if not one[0].startswith("unused")] == [
        ("unknown-field", "'value' is not a field of a switch", "did you mean 'on'?"),
        ("unknown-field", "'branches' is not a field of a switch", "did you mean 'cases'?"),
    ]
    steps = "tasks:\n  t: {steps: [{name: a, agent: ann, description: Do.}, {name: b, agent: bob, description: Do.}]}\n"
    assert {message for _, message, _ in told(steps)} == {"'name' is not a field of a step"}
