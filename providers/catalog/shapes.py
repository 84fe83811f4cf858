"""How a provider's row is written in a file: its fields, their types, and what several of them must be together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from providers.catalog.model import Metric
from providers.catalog.quirks import Feature, JsonMode, ToolIds
from providers.catalog.refusals import Meaning, Until
from providers.documents.fields import PositiveDuration, Word
from providers.documents.models import StrictModel

Dialect = Literal["openai-chat", "anthropic-messages", "gemini", "scripted"]

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIKE_A_KEY = re.compile(r"(?=.*[a-z])(?=.*[0-9]).{20,}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _day(text: str) -> str:
    if not _DAY.fullmatch(text):
        raise ValueError("is not a date: write 2026-11-21")
    return text


def _variables(value: Any) -> Any:
    """Return the names as a list. None of them is repeated in a message: it may be a key that was put there."""
    if value is None:
        return None
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and _ENV_NAME.fullmatch(name) for name in names):
        raise ValueError("is not the name of a variable, nor a list of such names: write GROQ_API_KEY")
    if any(map(_LIKE_A_KEY.fullmatch, names)):
        raise ValueError("looks like a key; a key belongs in the environment or in .env; name its variable here")
    if len(set(names)) < len(names):
        raise ValueError("names a variable twice")
    return names


_VARIABLE = {"type": "string", "pattern": f"^{_ENV_NAME.pattern}$", "title": "variable"}
_VARIABLES_SHOWN = WithJsonSchema(
    {"anyOf": [_VARIABLE, {"type": "array", "items": _VARIABLE, "minItems": 1, "uniqueItems": True}, {"type": "null"}]}
)
Day = Annotated[
    str, AfterValidator(_day), WithJsonSchema({"type": "string", "pattern": f"^({_DAY.pattern})?$", "title": "date"})
]
"""An ISO date."""
ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""As a schema says it. Who reads a row tells of a wrong name itself."""


class QuirksShape(StrictModel):
    """Where a server departs from its dialect. What is left out stays as the catalog has it."""

    noun: ClassVar[str] = "quirks"
    max_tokens_field: Word = Field(
        default="max_completion_tokens", description="The field that caps the answer's tokens.", examples=["max_tokens"]
    )
    seed_field: Word = Field(default="seed", description="The field of the seed.", examples=["random_seed"])
    stream_options: bool = Field(default=True, description="Whether `stream_options` may be sent.", examples=[False])
    system_role: Literal["system", "developer"] = Field(
        default="system", description="The role of the system prompt.", examples=["developer"]
    )
    tool_ids: ToolIds = Field(default="opaque", description="What ids of tool calls it takes.", examples=["opaque"])
    json_mode: JsonMode = Field(
        default="schema",
        description="How a schema of the answer is asked for: in its own field, as any JSON object, or in words alone.",
        examples=["object"],
    )
    sampling: bool = Field(default=True, description="Whether a temperature may be sent.", examples=[False])
    default_max_tokens: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="The cap that is sent where a request has none.", examples=[4096]
    )
    extra_headers: dict[str, str] = Field(
        default_factory=dict,
        description="Headers of each request. No key belongs here.",
        examples=[{"HTTP-Referer": "https://example.com"}],
    )
    key_header: Word | None = Field(
        default=None,
        description="The header that holds the key, bare. Default: that of the dialect.",
        examples=["api-key"],
    )
    tool_call_extra: dict[str, Any] = Field(
        default_factory=dict, description="Merged into each tool call of the history.", examples=[{"type": "function"}]
    )
    null_content: bool = Field(
        default=True,
        description="Whether the text of a message with tool calls may be null.",
        examples=[False],
    )
    reasoning_field: Word | None = Field(
        default=None,
        description="The field in which reasoning goes back to the model. Default: it is left out.",
        examples=["reasoning_details"],
    )
    effort_field: Word | None = Field(
        default="reasoning_effort",
        description="The field of the reasoning effort; null: it is not sent.",
        examples=["reasoning"],
    )
    gives_way: dict[Feature, list[Feature]] = Field(
        default_factory=dict,
        description="What is not sent together with any of the others: for servers that refuse both together.",
        examples=[{"effort": ["tools"]}],
    )
    max_tools: Annotated[int, Field(gt=0)] | None = Field(
        default=128, description="The most tools of one request; null: not known.", examples=[64]
    )
    description_limit: Annotated[int, Field(gt=0)] | None = Field(
        default=1024,
        description="Characters of a tool's description, longer ones are cut; null: not known.",
        examples=[512],
    )
    any_root: bool = Field(
        default=False, description="Whether an answer to a schema may be other than an object.", examples=[True]
    )
    effort_off: Word | None = Field(default=None, description="The effort that says not to think.", examples=["none"])
    strict_turns: bool = Field(default=False, description="Whether roles must alternate strictly.", examples=[True])
    parallel_calls: bool = Field(
        default=True, description="False: the model is asked for one tool call at a time.", examples=[False]
    )
    cache_from: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="From so many tokens on, the transcript is marked for the prompt cache. Default: never.",
        examples=[4096],
    )
    stand_in_signature: Word | None = Field(
        default=None,
        description="Sent where the first tool call of a turn has no signature of this server.",
        examples=["skip"],
    )
    request_window: PositiveDuration | None = Field(
        default=None,
        description="Over how long the requests are counted that its rate limit headers speak of.",
        examples=["1m"],
    )
    base64_vectors: bool = Field(default=False, description="Whether vectors are asked for in base64.", examples=[True])


class PriceShape(StrictModel):
    """USD per million tokens."""

    noun: ClassVar[str] = "a price"
    input: float = Field(ge=0, description="Of what the model reads.", examples=[0.15])
    output: float = Field(ge=0, description="Of what it writes.", examples=[0.6])
    cache_read: float | None = Field(
        default=None, ge=0, description="Of what is read from the prompt cache. Default: as `input`.", examples=[0.03]
    )
    cache_write: float | None = Field(
        default=None, ge=0, description="Of what is written to it. Default: as `input`.", examples=[0.18]
    )
    source: str = Field(
        default="", description="Where the price is published.", examples=["https://example.com/pricing"]
    )
    as_of: Day = Field(default="", description="When it was read there: an ISO date.", examples=["2026-11-21"])


class LimitShape(StrictModel):
    """An `amount` in a `window` or on a `calendar`, or a `spacing` between two."""

    noun: ClassVar[str] = "a limit"
    metric: Metric = Field(description="What is counted.", examples=["requests"])
    amount: float | None = Field(default=None, gt=0, description="How much.", examples=[1000.0])
    window: PositiveDuration | None = Field(default=None, description="In any time of this length.", examples=["1m"])
    fixed: bool = Field(
        default=False,
        description="Whether the window begins at whole multiples of its length, in place of sliding.",
        examples=[True],
    )
    calendar: Literal["day", "month"] | None = Field(
        default=None, description="Or in each day or month.", examples=["day"]
    )
    timezone: str = Field(
        default="UTC", description="Where that begins: a name of the IANA database.", examples=["America/Los_Angeles"]
    )
    spacing: PositiveDuration | None = Field(
        default=None, description="Or the least time between two.", examples=["500ms"]
    )
    burst: int = Field(
        default=1, ge=1, description="How many may come at once where there is a `spacing`.", examples=[5]
    )
    model: str | None = Field(
        default=None,
        description="Counts this model alone. Default: all of the provider.",
        examples=["openai/gpt-oss-20b"],
    )
    pool: list[Word] = Field(
        default_factory=list, description="Counts these models together.", examples=[["gpt-6-luna", "gpt-6.1-sol"]]
    )
    counts: Literal["sent", "answered"] | None = Field(
        default=None,
        description="Whether each call counts that was `sent`, or only one that was `answered`. Default: `sent`"
        " for requests, else `answered`.",
        examples=["answered"],
    )
    reserves: Literal["whole", "input"] = Field(
        default="whole",
        description="What a call holds of it before it is sent: `whole` with the longest answer, or its `input` alone.",
        examples=["input"],
    )
    says: Annotated[str, Field(max_length=200)] = Field(
        default="",
        description="Words of the provider's refusal by which it names this pool.",
        examples=["tokens per day"],
    )
    plan: str = Field(default="", description="Holds only where the provider's `plan` is this.", examples=["free"])
    source: str = Field(default="", description="Where it is published.", examples=["https://example.com/limits"])
    as_of: Day = Field(default="", description="When it was read there: an ISO date.", examples=["2026-11-21"])


class RefusalShape(StrictModel):
    """Words or a code by which a provider refuses, and what they mean."""

    noun: ClassVar[str] = "a refusal"
    means: Meaning = Field(description="What it means.", examples=["no_money"])
    says: Annotated[str, Field(max_length=200)] = Field(
        default="",
        description="Words that its message holds; `*` is anything.",
        examples=["prepaid credits are used up"],
    )
    code: Annotated[str, Field(max_length=100)] = Field(
        default="", description="Or its code.", examples=["insufficient_quota"]
    )
    status: Annotated[int, Field(ge=400, le=599)] | None = Field(
        default=None, description="The HTTP status that it comes with. Default: any.", examples=[403]
    )
    until: Until | None = Field(default=None, description="When it is worth to ask again.", examples=["day"])
    source: str = Field(default="", description="Where it is published.", examples=["https://example.com/errors"])
    as_of: Day = Field(default="", description="When it was read there: an ISO date.", examples=["2026-11-21"])


class ModelShape(StrictModel):
    """What a provider serves under one name."""

    noun: ClassVar[str] = "a model"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("context_window", "context_length", "max_context", "max_input_tokens", "n_ctx"), "context"),
        **dict.fromkeys(("max_tokens", "max_output_tokens", "max_completion_tokens", "output"), "max_output"),
        **dict.fromkeys(("cost", "pricing", "prices"), "price"),
        **dict.fromkeys(("function_calling", "tool_calling", "supports_tools"), "tools"),
    }
    context: int | None = Field(
        default=None, gt=0, description="Tokens of the request and the answer together.", examples=[131072]
    )
    max_output: int | None = Field(default=None, gt=0, description="The most tokens of an answer.", examples=[32768])
    price: PriceShape | None = Field(
        default=None, description="What it costs. Default: unknown.", examples=[{"input": 0.15, "output": 0.6}]
    )
    tools: bool = Field(default=False, description="Whether it calls tools.", examples=[True])
    json_schema: bool = Field(default=False, description="Whether it obeys a JSON Schema.", examples=[True])
    vision: bool = Field(default=False, description="Whether it reads images.", examples=[True])
    reasoning: bool = Field(default=False, description="Whether it can be told how hard to think.", examples=[True])
    prefill: bool = Field(
        default=False,
        description="Whether it goes on with the beginning of an answer that it is sent.",
        examples=[True],
    )
    assumed: bool = Field(
        default=False, description="Whether all this is a guess, for a server that takes any model.", examples=[True]
    )
    source: str = Field(default="", description="Where it is published.", examples=["https://example.com/models"])


class EmbeddingPriceShape(PriceShape):
    """USD per million tokens of what is read: a vector costs nothing besides."""

    noun: ClassVar[str] = "an embedding price"
    output: float = Field(default=0.0, ge=0, description="Nothing is written.", examples=[0.0])


class EmbeddingShape(StrictModel):
    """A model that makes vectors of texts. `context`: tokens of one text; `request_tokens`: of all in one request."""

    noun: ClassVar[str] = "an embedding model"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("context_window", "context_length", "max_input_tokens", "max_tokens", "n_ctx"), "context"),
        **dict.fromkeys(("dimension", "size", "output_vector_size", "vector_size"), "dimensions"),
        **dict.fromkeys(("batch", "batch_size", "max_batch"), "inputs"),
        **dict.fromkeys(("cost", "pricing", "prices"), "price"),
    }
    context: int | None = Field(default=None, gt=0, description="Tokens of one text.", examples=[8192])
    request_tokens: int | None = Field(
        default=None, gt=0, description="Tokens of all texts of one request.", examples=[300000]
    )
    inputs: Annotated[int, Field(gt=0, le=10_000)] = Field(
        default=64, description="Texts of one request.", examples=[64]
    )
    dimensions: Annotated[int, Field(gt=0, le=100_000)] | None = Field(
        default=None, description="Numbers of a vector.", examples=[1536]
    )
    resizable: bool = Field(default=False, description="Whether fewer dimensions may be asked for.", examples=[True])
    purposes: bool = Field(
        default=False, description="Whether it is told if a text is a query or a document.", examples=[True]
    )
    price: EmbeddingPriceShape | None = Field(
        default=None, description="What it costs. Default: unknown.", examples=[{"input": 0.02}]
    )
    source: str = Field(default="", description="Where it is published.", examples=["https://example.com/models"])


class ProviderShape(StrictModel):
    """One provider; what a row leaves out stays as the row below it has it."""

    noun: ClassVar[str] = "a provider"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("url", "endpoint", "api_base", "base", "host", "address"), "base_url"),
        **dict.fromkeys(("type", "api", "kind", "api_type", "protocol"), "dialect"),
        **dict.fromkeys(("env", "key_env", "api_key_variable", "env_key"), "api_key_env"),
    }
    dialect: Dialect | None = Field(
        default=None, description="The API that it speaks. A new provider needs it.", examples=["openai-chat"]
    )
    base_url: str | None = Field(
        default=None,
        description="Its address. A new provider needs it; `{NAME}` in it is filled from the environment.",
        examples=["http://127.0.0.1:8080/v1"],
    )
    api_key_env: Annotated[list[str] | None, BeforeValidator(_variables), _VARIABLES_SHOWN] = Field(
        default=None,
        description="The variable that holds its key, or a list of them: an account each; null: no key is needed.",
        examples=[["TEAM_KEY", "MY_KEY"]],
    )
    keys_at: str = Field(
        default="", description="The page on which a key is made.", examples=["https://example.com/keys"]
    )
    hosted: bool = Field(
        default=True, description="Whether it is elsewhere, in place of on your machines.", examples=[False]
    )
    opt_in: bool = Field(
        default=False, description="Whether it is used only where its address is set.", examples=[True]
    )
    any_model: bool = Field(
        default=False, description="Whether any name of a model may be asked for, known or not.", examples=[True]
    )
    quirks: QuirksShape = Field(
        default=QuirksShape(), description="Where it departs from its dialect.", examples=[{"json_mode": "object"}]
    )
    plan: str = Field(
        default="", description="The plan that its account is on: limits of that name hold then.", examples=["free"]
    )
    limits: list[LimitShape] = Field(
        default_factory=list,
        description="How much may be asked of it, beside the limits that the catalog has for its `plan`.",
        examples=[[{"metric": "requests", "amount": 1000.0, "window": "1d"}]],
    )
    refusals: list[RefusalShape] = Field(
        default_factory=list,
        description="Refusals that it words in its own way.",
        examples=[[{"means": "no_money", "code": "insufficient_quota"}]],
    )
    models: dict[Word, ModelShape | None] = Field(
        default_factory=dict,
        description="Its models by name; null takes one of the catalog's as it is.",
        examples=[{"default": {"context": 16384, "max_output": 4096}}],
    )
    embeddings: dict[Word, EmbeddingShape | None] = Field(
        default_factory=dict,
        description="Its models for vectors of texts, by name.",
        examples=[{"text-embedding-3-small": {"dimensions": 1536}}],
    )
    source: str = Field(default="", description="Where all this is published.", examples=["https://example.com/docs"])
    as_of: Day = Field(default="", description="When it was read there: an ISO date.", examples=["2026-11-21"])
