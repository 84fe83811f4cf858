"""Where a YAML text nests too deep, whatever limit of its own the parser has.

To tell a key from a value, the scanner reads up to 1,024 characters before the parser tells of the first of them. So a
parser that refuses to nest deeper (PyYAML 6.0.4 at 1,000 brackets, earlier ones at 10,000 or not at all) may raise
before the events have come that pass a smaller limit of ours.
"""

from __future__ import annotations

from contextlib import suppress

import yaml

TOO_DEEP_HINT = "put fewer lists and mappings inside each other"


def too_deep(text: str, levels: int, error: yaml.YAMLError) -> yaml.CollectionStartEvent | None:
    """Return the first event of a list or mapping inside `levels` others that stands before what the parser refused.

    `error` is what it raised for `text`. None: it nests no deeper, so the error is what there is to tell.
    """
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    with suppress(yaml.YAMLError):  # the text ends in the middle
        for event in yaml.parse(text[: mark.index] if mark else text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > levels and isinstance(event, yaml.CollectionStartEvent):
                return event
    return None
