"""What the offline stub writes for everybody who is on no product team: data for `scripted.py`, as `texts.py` is.

These forms say less: what a text of this kind consists of, with the words of the request in it, and of nothing that it
was found, decided or done. A placeholder stands only for words that the request has.
"""

from __future__ import annotations

from collections.abc import Mapping

GENERAL_DOCUMENTS: Mapping[str, str] = {
    "code-reviewer": """\
# Review: $topic

> $task

No verdict: offline nobody read the code. A review would look at

- $name: what goes wrong here, for which input, and what would mend it

and ask what could not be decided from what was shown.
""",
    "critic": """\
# Critique: $topic

> $task

Basis: $basis.

No verdict. The strongest case comes first, then what holds, then objections by weight:

$n. On $name: which statement does its source not carry?
""",
    "data-analyst": """\
# Analysis: $topic

> $task

Offline no table was read, so there is no figure here. An analysis would give

| of | what changed | by how much | how it was computed |
|---|---|---|---|
| $name | not read | not read | not computed |

and then what the data cannot tell.
""",
    "editor": """\
# Edited: $topic

> $task

Basis: $basis.

Nothing was changed. An editor would look at the words for $a, query what the text itself does not carry, and return\
 the whole.
""",
    "judge": """\
# Verdict: $topic

> $task

No decision: offline nobody weighed the sides. A verdict would name

- of $name: what each side said, and how well it carried

and the one reason that decided it.
""",
    "planner": """\
# Plan: $topic

> $task

Basis: $basis.

| step | what is there when it is done | needs | owner |
|---|---|---|---|
| $n | $name | what came before it | to be named |

What could break it, and the sign to watch for, would stand here.
""",
    "researcher": """\
# Findings: $topic

> $task

Offline no source was read, so nothing was found. Findings would give the answer first, and then

| statement | source | how sure |
|---|---|---|
| on $name | not looked up | not sure |

and what was looked for in vain.
""",
    "security-reviewer": """\
# Security: $topic

> $task

No finding: offline nobody read it. A review would ask, worst first,

- of $name: who could misuse it, how, and what stops them

and how each remedy can be checked.
""",
    "summariser": """\
# Summary: $topic

> $task

Basis: $basis.

What carries it, each with its figures and names:

- $name
""",
    "support-agent": """\
# Reply: $topic

> $task

Hello,

thank you for your message. Offline nobody looked at your case, so this is the form of an answer and none itself:

- what we understood: $topic
- what we would look at: $a
- who decides about money, safety and contracts: a person

Nothing was promised.
""",
    "translator": """\
# Translation: $topic

> $task

Offline nothing was translated. The whole text would stand here in its own form, and after it a note on each word that\
 has no equal in the other language: $a.
""",
    "writer": """\
# Draft: $topic

> $task

Basis: $basis.

The text would stand here, for its reader and in its final form. It would speak of

- $name

and of no fact that it was not given.
""",
    "": """\
# Answer: $topic

> $task

Basis: $basis.

No model was asked, so this says only what an answer would be about:

- $name
""",
}
"""The form of each persona; "" is that of everyone else."""

GENERAL_WORDS: Mapping[str, str] = {
    "code-reviewer": "I would read the lines on $a once more: for which input do they go wrong?",
    "critic": "Before we go on: what would have to be true for $a, and who has checked it?",
    "data-analyst": "I have no figure for $a yet, so I would not build on it.",
    "editor": "We use more than one word for $a; let us keep to one.",
    "judge": "I have heard what was said on $a, and would first hear what speaks against it.",
    "planner": "First $a, then what depends on it; each with somebody who does it.",
    "researcher": "I know of no source for $a yet; I would look for one that speaks against it, too.",
    "security-reviewer": "Who gains if $a is misused? I would begin there.",
    "summariser": "So far it is about $a; nothing was decided.",
    "support-agent": "What happened, as I read it: $topic. I would ask since when, and who can decide about it.",
    "translator": "I would keep $a as it is, and note it.",
    "writer": "I would begin with $a, as that is what the reader came for.",
    "": "What matters here is $a. I would settle that first, and then look at the rest.",
}
"""What each says among others."""

GENERAL_CLOSINGS: Mapping[str, str] = {
    "judge": """\
Verdict on "$topic": none. Offline nobody weighed what the sides said. It would be decided on

- $name""",
    "": """\
On "$topic" these points came up:

- $name

No model was asked, so nothing was decided.""",
}
"""What each says at the end of a conversation that it moderates."""
