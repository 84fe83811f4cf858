"""What the offline stub writes, by persona: data for `scripted.py`, meant to be read and edited.

`$task` is what was asked, `$topic` its subject, `$a` `$b` `$c` its key words in quotes, `$basis` the earlier documents
that were handed over. `$each` is any key word in quotes, `$name` the same without quotes, `$n` its number. A line that
has one of them is written once for each key word; where a paragraph's heading has one, the whole paragraph is. `$p`,
`$i` and `$score` are a probability, an impact and their product; such lines come worst first.
"""

from __future__ import annotations

from collections.abc import Mapping

LABEL = "[offline stub: no model was asked]"

DOCUMENTS: Mapping[str, str] = {
    "analyst": """\
# Brief: $topic

> $task

Basis: $basis.

## Problem

People get by with workarounds today. The cost shows where $a meets $b: work is done twice, and nobody can tell\
 which version counts.

## Users

- **Primary:** those who live with $a every day and notice each delay.
- **Secondary:** those who depend on the result of $a without touching it.
- **Not a user:** whoever only reports on $b; serving them now would blur the product.

## Findings

| # | finding | evidence | confidence |
|---|---|---|---|
| $n | $each decides whether the idea is used a second time | to collect: watch $each in five interviews | low |

No finding above was measured: the stub has read the task and nothing else.

## Risks

- **R-$n, $each:** the need may be rarer than it looks. Test: ask for a commitment, not for an opinion.

## Open questions

1. Who pays, in time or money, when $a fails?
2. What do people use in place of $b, and what would make them leave it?
3. Which single observation about $c would stop the project?
""",
    "pm": """\
# PRD: $topic

> $task

Basis: $basis.

## Goals

1. A first-time user gets value from $a within five minutes.
2. $b keeps working in the worst conditions that the brief names.
3. We learn within two weeks whether $c matters enough to continue.

## Non-goals

- Replacing every tool around "$topic".
- Administration, billing and reports: nothing in them tests the riskiest assumption.
- Any platform beyond the first one.

## Requirements

### R-$n: $name
The user can complete the work on $each without help, and sees at once whether it succeeded.
- Priority: must for the first release if it touches $a, should otherwise.
- Accepted when: the outcome survives a restart and a lost connection.

## Success measures

| measure | target | read from |
|---|---|---|
| second use within a week | 40 % of first users | usage events |
| time to first result on $a | under 5 minutes | observed sessions |
| lost or doubled entries in $b | 0 | consistency check |

## Riskiest assumption

That $a is painful enough to change a habit. The smallest thing that tests it: $a alone, by hand where needed, with\
 ten real users.
""",
    "architect": """\
# Architecture: $topic

> $task

Basis: $basis.

## Shape

One deployable part, three modules with one direction: interface -> domain ($a, $b) -> storage. The domain is pure, so\
 it runs under test without network or clock.

## Decisions

### ADR-$n: $name
- **Context:** $each changes often and must stay right when a call is lost or repeated.
- **Decision:** append what happened, derive the current view, and make every write idempotent by its key.
- **Trade-off:** reads pay for a derived view and storage grows; in return nothing is lost and every state is explained.
- **Rejected:** updating rows in place. Simpler, but a lost update on $each cannot be seen afterwards.
- **Revisit when:** the derived view takes longer than 50 ms to build.

## Qualities

| quality | target | how it is checked |
|---|---|---|
| works without a network | every action on $a | test with the connection cut |
| recovery | no accepted write lost | process killed between write and answer |
| latency | 100 ms at the 95th percentile | load test on the smallest machine |

## Failure modes

- **Two writers change $b at once:** both are kept, and the merge rule is written down and tested.
- **Storage is full:** writes are refused with a reason, reads go on.
- **An old client meets new data on $c:** unknown fields are kept, not dropped.
""",
    "dev": """\
# Change: $topic

> $task

Basis: $basis.

## Plan

1. Write the failing test for $a.
2. Make it pass with the least code.
3. Cover the edges of $b, then tidy the names.

## Test first

```python
def test_${ident}_keeps_what_was_accepted(store):
    store.apply(Change(key="k1", value="first"))
    store.apply(Change(key="k1", value="first"))  # the same change, sent twice

    assert store.view() == {"k1": "first"}


def test_${ident}_refuses_an_empty_value(store):
    with pytest.raises(ValueError, match="value"):
        store.apply(Change(key="k1", value=""))
```

## Code

```python
@dataclass(frozen=True, slots=True)
class Change:
    key: str
    value: str


class ${class_name}:
    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def apply(self, change: Change) -> None:
        if not change.value:
            raise ValueError("value is empty")
        self._seen[change.key] = change.value

    def view(self) -> dict[str, str]:
        return dict(self._seen)
```

## Edges looked at

- $each: empty, repeated, very long, and in a script that is written from right to left.

## Left open

Nothing was run: this is a sketch. Concurrency on $b needs a decision by the architect.
""",
    "sm": """\
# Stories: $topic

> $task

Basis: $basis.

## Order

The story on $a comes first, because the others wait for it; the rest may run side by side.

### S-$n: $name
As a user of the product I want $each, so that I can rely on it without thinking about it.
- Given a new user, when they use $each for the first time, then they finish without help.
- Given a lost connection, when it returns, then nothing of $each is lost or doubled.
- Given wrong input, when it is sent, then the message says what to change.
- Size: two days. Ready: the design is seen, the tests are named, nothing is open.

## Definition of done

- Tests were written first and are green; the documentation says what changed.
- The tester has agreed on the risk, and the change can be taken back in one step.

## Impediments

| what | who clears it | by |
|---|---|---|
| the open point on $b | architect | before the second story |
| test data for $c | tester | before the first review |
""",
    "tea": """\
# Test design: $topic

> $task

Basis: $basis.

## Risks, worst first

| risk | probability (1-5) | impact (1-5) | score | answer |
|---|---|---|---|---|
| $each gives a wrong or lost result | $p | $i | $score | test at the lowest level that can show it |

Scores of 12 and above block the release until their test is green; from 6 on they need an owner.

## Tests that decide the release

1. **$a, end to end:** one path through the real parts, with the process killed halfway.
2. **$b, property:** any order of the same changes gives the same state.
3. **$c, contract:** recorded traffic of the other side, replayed without a network.

## Levels

| level | share | what it proves |
|---|---|---|
| unit | most | each rule of $a, with its edges |
| integration | some | storage and interface agree on $b |
| end to end | few | a user reaches the goal |

## Not tested, and why

- Performance under ten times the load: no target has been set.
- What only looks different: a person reviews it.

## Verdict

Nothing was executed. As designed, the plan is fit for approval once the tests above are green.
""",
    "tech-writer": """\
# Guide: $topic

> $task

Basis: $basis.

## What it does

It gives you $a, together with $b, and says so when something went wrong. It does not try to do more.

## Before you start

You need the released version and five minutes. No account and no network are needed to try it.

## First steps

1. Open the product and choose **New**.
2. Enter what you know about $a. You can change it later.
3. Check the result; it is saved at once.

## How to

### $name
Open $each, make the change, and leave. If the connection is lost, go on working: the change is sent when it\
 returns.

## When something goes wrong

| you see | it means | do this |
|---|---|---|
| "Not saved" | $a could not be written | keep the page open and try again |
| two versions | two people changed $b at once | choose one; the other stays in the history |

## Release notes

- **New:** $a and $b.
- **Known limits:** $c is a first version.
""",
    "ux-designer": """\
# Flows and states: $topic

> $task

Basis: $basis.

## Main flow

1. **Arrive.** The screen shows $a at once, without a question first.
2. **Act.** One primary action per screen; $b is one step away.
3. **Know.** The result is visible where the eye already is, and can be undone.

## States

| view | empty | loading | error | offline | done |
|---|---|---|---|---|---|
| $each | what belongs here | old content stays | cause and way out | works, marked unsent | in place, undo |

## Accessibility

- Every action on $a works by keyboard, in reading order, with a visible focus.
- Contrast is 4.5:1 or better; no state is told by colour alone.
- Changes of $b are announced politely to screen readers; nothing moves under the pointer.
- Layout mirrors for scripts that run from right to left; text may grow to 200 %.

## Words

Labels are verbs that users say themselves. An error names $c, the cause and the next step; it never blames.

## To test with people

Five users, one task each: do they find $a without being told, and do they trust that it was saved?
""",
}
"""The document that each persona of a product team writes; everybody else's form is in `general_texts.py`."""

MEETING: Mapping[str, str] = {
    "analyst": "What evidence do we have on $a? Without it, $b is a guess; I would ask five users before we commit.",
    "pm": "Scope: $a is in, $b only as far as it tests the riskiest assumption, $c waits.",
    "architect": "$a and $b share state, so their order matters: $a first, behind an interface that $c can join later.",
    "dev": "I can start with $a, test first. $b needs a decision on conflicts first; two days, else a spike.",
    "sm": "Order as I hear it: $a, then $b and $c side by side. One open point each, with an owner, before we close.",
    "tea": "The worst risk is a lost or doubled result in $a. I need a test that kills the process halfway, before $b.",
    "tech-writer": "Users will call it $a, so screens and guide should too. $b needs one sentence, not a chapter.",
    "ux-designer": "Empty, loading, error and offline states of $a are missing; $b must be usable by keyboard.",
}
"""What each of them says among others."""

ANSWER_TO_PEER = "To $peer: I heard you; my own view follows."

CLOSING = """\
What we agreed on "$topic":

$n. $each, with one owner and a test that shows it is done.

Open points have owners; nothing blocks the start."""
"""What a moderator says before the words that end the conversation."""
