"""How a provider's row is written in a file: its fields, their types, and what several of them must be together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

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


Day = Annotated[str, AfterValidator(_day)]
"""An ISO date."""


class QuirksShape(StrictModel):
    """`Quirks`, each field optional."""

    noun: ClassVar[str] = "quirks"
    max_tokens_field: Word = "max_completion_tokens"
    seed_field: Word = "seed"
    stream_options: bool = True
    system_role: Literal["system", "developer"] = "system"
    tool_ids: ToolIds = "opaque"
    json_mode: JsonMode = "schema"
    sampling: bool = True
    default_max_tokens: Annotated[int, Field(gt=0)] | None = None
    extra_headers: dict[str, str] = Field(default_factory=dict)
    key_header: Word | None = None
    tool_call_extra: dict[str, Any] = Field(default_factory=dict)
    null_content: bool = True
    reasoning_field: Word | None = None
    effort_field: Word | None = "reasoning_effort"
    gives_way: dict[Feature, list[Feature]] = Field(default_factory=dict)
    max_tools: Annotated[int, Field(gt=0)] | None = 128
    description_limit: Annotated[int, Field(gt=0)] | None = 1024
    any_root: bool = False
    effort_off: Word | None = None
    strict_turns: bool = False
    parallel_calls: bool = True
    cache_from: Annotated[int, Field(ge=0)] | None = None
    stand_in_signature: Word | None = None
    request_window: PositiveDuration | None = None
    base64_vectors: bool = False


class PriceShape(StrictModel):
    """USD per million tokens."""

    noun: ClassVar[str] = "a price"
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(None, ge=0)
    cache_write: float | None = Field(None, ge=0)
    source: str = ""
    as_of: Day = ""


class LimitShape(StrictModel):
    """An `amount` in a `window` or on a `calendar`, or a `spacing` between two."""

    noun: ClassVar[str] = "a limit"
    metric: Metric
    amount: float | None = Field(None, gt=0)
    window: PositiveDuration | None = None
    fixed: bool = False
    calendar: Literal["day", "month"] | None = None
    timezone: str = "UTC"
    spacing: PositiveDuration | None = None
    burst: int = Field(1, ge=1)
    model: str | None = None
    pool: list[Word] = Field(default_factory=list)
    counts: Literal["sent", "answered"] | None = None
    reserves: Literal["whole", "input"] = "whole"
    says: Annotated[str, Field(max_length=200)] = ""
    plan: str = ""
    source: str = ""
    as_of: Day = ""


class RefusalShape(StrictModel):
    """Words or a code by which a provider refuses, and what they mean."""

    noun: ClassVar[str] = "a refusal"
    means: Meaning
    says: Annotated[str, Field(max_length=200)] = ""
    code: Annotated[str, Field(max_length=100)] = ""
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    until: Until | None = None
    source: str = ""
    as_of: Day = ""


class ModelShape(StrictModel):
    """What a provider serves under one name."""

    noun: ClassVar[str] = "a model"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("context_window", "context_length", "max_context", "max_input_tokens", "n_ctx"), "context"),
        **dict.fromkeys(("max_tokens", "max_output_tokens", "max_completion_tokens", "output"), "max_output"),
        **dict.fromkeys(("cost", "pricing", "prices"), "price"),
        **dict.fromkeys(("function_calling", "tool_calling", "supports_tools"), "tools"),
    }
    context: int | None = Field(None, gt=0)
    max_output: int | None = Field(None, gt=0)
    price: PriceShape | None = None
    tools: bool = False
    json_schema: bool = False
    vision: bool = False
    reasoning: bool = False
    prefill: bool = False
    assumed: bool = False
    source: str = ""


class EmbeddingPriceShape(PriceShape):
    """USD per million tokens of what is read: a vector costs nothing besides."""

    output: float = Field(0.0, ge=0)


class EmbeddingShape(StrictModel):
    """A model that makes vectors of texts. `context`: tokens of one text; `request_tokens`: of all in one request."""

    noun: ClassVar[str] = "an embedding model"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("context_window", "context_length", "max_input_tokens", "max_tokens", "n_ctx"), "context"),
        **dict.fromkeys(("dimension", "size", "output_vector_size", "vector_size"), "dimensions"),
        **dict.fromkeys(("batch", "batch_size", "max_batch"), "inputs"),
        **dict.fromkeys(("cost", "pricing", "prices"), "price"),
    }
    context: int | None = Field(None, gt=0)
    request_tokens: int | None = Field(None, gt=0)
    inputs: Annotated[int, Field(gt=0, le=10_000)] = 64
    dimensions: Annotated[int, Field(gt=0, le=100_000)] | None = None
    resizable: bool = False
    purposes: bool = False
    price: EmbeddingPriceShape | None = None
    source: str = ""


class ProviderShape(StrictModel):
    """One provider; what a row leaves out stays as the row below it has it."""

    noun: ClassVar[str] = "a provider"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("url", "endpoint", "api_base", "base", "host", "address"), "base_url"),
        **dict.fromkeys(("type", "api", "kind", "api_type", "protocol"), "dialect"),
        **dict.fromkeys(("env", "key_env", "api_key_variable", "env_key"), "api_key_env"),
    }
    dialect: Dialect | None = None
    base_url: str | None = None
    api_key_env: Annotated[list[str] | None, BeforeValidator(_variables)] = None
    """Variables, one for each account; None: no key is needed."""
    keys_at: str = ""
    """The page on which a key is made."""
    hosted: bool = True
    opt_in: bool = False
    any_model: bool = False
    quirks: QuirksShape = QuirksShape()
    plan: str = ""
    limits: list[LimitShape] = Field(default_factory=list)
    refusals: list[RefusalShape] = Field(default_factory=list)
    models: dict[Word, ModelShape | None] = Field(default_factory=dict)
    embeddings: dict[Word, EmbeddingShape | None] = Field(default_factory=dict)
    source: str = ""
    as_of: Day = ""
