"""What can go wrong while one agent works.

AgentError
├ TurnLimit        the work was not done within its turns
├ OutputInvalid    the answer broke its schema, and so did each attempt to correct it
│ ├ AnswerCut      the answer was cut off, twice: its JSON, or a tool call, is not whole
│ └ SchemaUnusable  whether it does cannot be found in bounded time
├ ToolFault        a tool cannot do its work, and the model cannot fix that
├ CallDenied       a hook denied a model call
├ HookFailed       a hook raised, or returned what it may not
├ PathEscapes      a path that leaves the folder it is bound to
└ PathRefused      a path inside that folder that may not be used
"""

from __future__ import annotations


class AgentError(Exception):
    """One agent's work failed, for a reason that is not a provider's."""


class TurnLimit(AgentError):
    """`agent` was still at work after `turns` model calls."""

    def __init__(self, agent: str, turns: int) -> None:
        super().__init__(f"{agent} gave no final answer within {turns} turns")
        self.agent, self.turns = agent, turns


class OutputInvalid(AgentError):
    """The answer is no JSON, or breaks its schema at `path` (a JSONPath); `excerpt` is the start of its text."""

    def __init__(self, path: str, message: str, excerpt: str, *, of: str = "the answer") -> None:
        super().__init__(f"{of} does not match its output_schema at {path}: {message}")
        self.path, self.message, self.excerpt = path, message, excerpt


class AnswerCut(OutputInvalid):
    """The answer was cut off at `tokens` (0: unknown), or by a filter, so that its JSON or a tool call is not whole."""

    def __init__(self, what: str, cause: str, tokens: int, excerpt: str = "") -> None:
        super().__init__("$", cut_off(what, cause, tokens), excerpt)
        self.args = (f"{cut_off(what, cause, tokens)}: {REMEDY[cause]}",)
        self.cause, self.tokens = cause, tokens


REMEDY = {
    "length": "raise max_output_tokens, or ask for less at once",
    "content_filter": "put the task in other words, or give it to another provider",
}
"""What helps against a text that is cut off, by its cause."""


def cut_off(what: str, cause: str, tokens: int) -> str:
    """Return in words that something was cut off: by a limit of length, with the tokens where known, or by a filter."""
    if cause == "content_filter":
        return f"{what} was cut off by the provider's content filter"
    return f"{what} was cut off at {f'{tokens:,} tokens' if tokens else 'the limit of its length'}"


class SchemaUnusable(OutputInvalid):
    """Whether the answer matches cannot be found in bounded time: the schema, mostly a pattern in it, is at fault."""

    def __init__(self, why: str, excerpt: str) -> None:
        super().__init__("$", f"the schema cannot be checked: {why}", excerpt)


class ToolFault(AgentError):
    """`tool` cannot do its work. A tool raises it to end the agent's work; the model reads any other error."""

    def __init__(self, tool: str, message: str) -> None:
        super().__init__(f"tool {tool}: {message}")
        self.tool, self.message = tool, message


class CallDenied(AgentError):
    """A hook denied a model call, or its answer."""


class HookFailed(AgentError):
    """A hook raised, or returned what it may not. The cause is chained."""

    def __init__(self, hook: str, why: str) -> None:
        super().__init__(f"the hook {hook} failed: {why}")
        self.hook = hook
        """The name of the hook."""


class PathEscapes(AgentError):
    """`path` does not stay inside its folder."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the path {path!r} leaves its folder: {reason}")
        self.path, self.reason = path, reason


SHOWN_CHARS = 120
"""Of a path, in a message."""


class PathRefused(AgentError):
    """`path` stays inside its folder, and may not be used all the same: `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        shown = path if len(path) <= SHOWN_CHARS else f"{path[:SHOWN_CHARS]}..."
        super().__init__(f"the path {shown!r} cannot be used: {reason}")
        self.path, self.reason = path, reason
