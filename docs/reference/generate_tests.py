"""Writes `test-file.md` beside it from the models that read test files: `python docs/reference/generate_tests.py`.

A test compares the page with what this makes.
"""

from __future__ import annotations

from pathlib import Path

from docs.reference.tables import Section, rendered
from orchestrator.evals.spec import json_schema

PAGE = Path(__file__).with_name("test-file.md")
HEAD = """# Test file

A test file, `squad.test.yaml` beside `squad.yaml`, says how runs of a squad must end. `orchestrator test` checks
that from recordings of real runs, at no cost, or live. How to use it: [Testing squads](../guides/testing-squads.md).
`orchestrator schema tests` prints its JSON Schema for [editors](editors.md). This page is made from the code by
`docs/reference/generate_tests.py`.

Figures are expected as a number or a range: `5`, `<= 5`, `> 5`, `3..8`, `3..` or `..8`; times as `<= 90s`, shares as
`80%`.

```yaml
version: 1
squad: squad.yaml
recording: recordings
defaults: {timeout: 5m, max_cost: 0.50}
cases:
  - name: writes a short report
    inputs: {topic: tea}
    expect:
      run: {cost: <= 0.40, turns: <= 10}
      tasks: {report: {output: {contains: tea, words: 50..400}}}
      files: {report.md: {exists: true}}
      secrets: none
```
"""
SECTIONS = [
    Section("Top level", "", "These are the fields at the top level."),
    Section("Defaults", "CaseDefaults"),
    Section("Cases", "SuiteCase"),
    Section("What surrounds a case", "With"),
    Section("An answer with a comment", "CommentedAnswer", level=3),
    Section("A scripted tool", "ScriptedTool", level=3),
    Section("A remembered record", "GivenRecord", level=3),
    Section("What is expected", "Expect"),
    Section("Of the run", "RunExpect", level=3),
    Section("Of a task", "TaskExpect", level=3),
    Section("Of a text or another value", "ValueExpect", level=3),
    Section("Of turns, in any order", "AnyOrder", level=3),
    Section("Of turns, exactly", "Exactly", level=3),
    Section("Of tools", "ToolExpect", level=3),
    Section("Of a conversation", "ConversationExpect", level=3),
    Section("Of a file", "FileExpect", level=3),
    Section("By a judge", "JudgeExpect", level=3),
    Section("Judge", "JudgeSpec"),
    Section("Baseline", "BaselineSpec"),
    Section("When a figure is worse", "FailWhen", level=3),
]


def page() -> str:
    """Return the whole page."""
    return f"{HEAD}\n{rendered(json_schema(), SECTIONS)}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
