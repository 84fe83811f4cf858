"""Files are written without the fence that a model puts around the whole of them."""

from __future__ import annotations

import pytest

from agents.fences import without_fence

DOC = "# Title\n\nWords."
NESTED = "# Title\n\n```python\nprint(1)\n```\n\nWords."


@pytest.mark.parametrize(
    ("text", "path", "inner"),
    [
        (f"```markdown\n{DOC}\n```", "a.md", DOC),
        (f"```md\n{DOC}\n```\n", "a.md", DOC),
        (f"\n\n```\n{DOC}\n```\n\n", "docs/a.md", DOC),
        (f"~~~markdown\n{DOC}\n~~~", "a.md", DOC),
        (f"````markdown\n{NESTED}\n````", "a.md", NESTED),
        (f"```markdown\n{NESTED}\n```", "a.md", NESTED),
        (f"```\n{NESTED}\n```", "a.md", NESTED),
        ("```markdown\n# T\n\n```\ncode\n```\n\nmore\n```", "a.md", "# T\n\n```\ncode\n```\n\nmore"),
        ("```markdown\r\n# T\r\n\r\nx\r\n```\r\n", "a.md", "# T\r\n\r\nx"),
        ("```python\nprint(1)\n```", "a.py", "print(1)"),
        ("```\nprint(1)\n```", "src/a.py", "print(1)"),
        ('```json\n{"a": 1}\n```', "a.json", '{"a": 1}'),
        (f"```markdown\n{DOC}\n```", "a", DOC),
        ("```python\n```", "a.py", ""),
    ],
)
def test_a_fence_around_all_of_a_file_goes(text: str, path: str, inner: str) -> None:
    assert without_fence(text, path) == inner


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (DOC, "a.md"),
        (NESTED, "a.md"),
        ("```python\nprint(1)\n```", "a.md"),  # a document that shows a piece of code
        ("```sh\nls\n```\n\nThen:\n\n```sh\nrm x\n```", "a.md"),  # two pieces, not one
        ("```\nls\n```\n\nThen:\n\n```\nrm x\n```", "a.txt"),
        ("```markdown\nA\n```\n\nand\n\n```markdown\nB\n```", "a.md"),
        (f"Here it is:\n```markdown\n{DOC}\n```", "a.md"),
        (f"```markdown\n{DOC}", "a.md"),  # cut off
        ("```markdown\n# T\n```python\nprint(", "a.md"),
        (f"```markdown\n{DOC}\n~~~", "a.md"),
        (f"````markdown\n{DOC}\n```", "a.md"),
        ("```", "a.md"),
        ("", "a.md"),
    ],
)
def test_any_other_fence_stays(text: str, path: str) -> None:
    assert without_fence(text, path) == text
