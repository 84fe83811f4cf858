"""Where a vendor departs from its dialect."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ToolIds = Literal["opaque", "alnum9", "template"]
"""The form of a call's id: any; nine letters or digits (Mistral's); what every model's chat template takes."""
JsonMode = Literal["schema", "object", "prompt"]
Feature = Literal["tools", "forced_tool", "schema", "effort", "prefill", "stream"]
"""What a request may have: tools, a demand that one be called, an output schema, a reasoning effort, an assistant's
message at its end that is to be continued, an answer in pieces."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a vendor departs from its dialect. The defaults are OpenAI's own habits."""

    max_tokens_field: str = "max_completion_tokens"
    seed_field: str = "seed"
    stream_options: bool = True
    system_role: Literal["system", "developer"] = "system"
    tool_ids: ToolIds = "opaque"
    json_mode: JsonMode = "schema"
    """`schema`: response_format json_schema; `object`: json_object, the schema in the prompt; `prompt`: words only."""
    sampling: bool = True
    """Whether temperature may be sent."""
    default_max_tokens: int | None = None
    """Sent where the request sets no cap: for vendors that reserve, or default to, something unreasonable."""
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    key_header: str | None = None
    """The header that holds the key, bare. None: that of the dialect, but `api-key` where the address is Azure's."""
    tool_call_extra: Mapping[str, Any] = field(default_factory=dict)
    """Merged into every tool call of the history: for vendors that demand more there than the dialect knows."""
    null_content: bool = True
    """Whether null may be the content beside tool calls without text. Where not, an empty string is."""
    reasoning_field: str | None = None
    """The assistant's field in which reasoning goes back to the model that made it. None: it is left out.

    `reasoning_details` takes what came in that field, unchanged; any other takes the text, and stands in every message
    of the assistant."""
    effort_field: str | None = "reasoning_effort"
    """Where the reasoning effort stands (Chat Completions only). `reasoning`: an object of that name holds it."""
    gives_way: Mapping[Feature, Collection[Feature]] = field(default_factory=dict)
    """Of what the vendor refuses together: what is not sent where any of the others is.

    A schema then goes into words; an effort is not sent, or as `effort_off`; a forced tool can't be left out, so the
    request is another candidate's."""
    max_tools: int | None = 128
    """The most tools in a request. None: not known."""
    description_limit: int | None = 1024
    """Characters of a tool's description, longer ones are cut (Chat Completions only). None: not known."""
    any_root: bool = False
    """Whether the answer to an output schema may be other than an object (Chat Completions only)."""
    effort_off: str | None = None
    """What says that the model is not to think, where the effort gives way and silence would mean that it does."""
    strict_turns: bool = False
    """Roles keep a strict order (see `openai_turns.in_strict_turns`): Mistral's, and that of most chat templates."""
    parallel_calls: bool = True
    """False: the model is asked for one tool call at a time (Messages only)."""
    cache_from: int | None = None
    """From so many tokens on (an estimate) the transcript is marked for the prompt cache (Messages only). None: never,
    for what is written there costs a quarter more than input."""
    stand_in_signature: str | None = None
    """Sent where a turn's first tool call has no signature of this endpoint: for vendors that refuse one without."""
    request_window: float | None = None
    """Seconds over which the requests are counted that a rate limit header speaks of. None: not known."""
    base64_vectors: bool = False
    """Whether vectors are asked for in base64, a third of what they take as decimals (Chat Completions only)."""
